"""Keras' .h5 files as data: the layers that they describe, and their tensors in torch's layout. No Keras is needed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from preimage.harness.cards import Config
from preimage.harness.errors import WeightsError

MOST_BYTES = 2**31
NAMES = {
    "kernel": "weight",
    "embeddings": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
ACTIVATIONS = {"swish": "silu"}  # by another name than ours
SAME = ("relu", "elu", "selu", "gelu", "silu", "softplus", "tanh", "sigmoid")
ASIDE = ("InputLayer", "Dropout", "SpatialDropout2D", "GaussianNoise", "GaussianDropout", "ActivityRegularization")


def read_keras(path: Path) -> tuple[Config, dict[str, Tensor]]:
    """The settings of family ``sequential`` that the file describes, and its tensors, ``layer.weight`` by name.

    A file of weights alone describes nothing: the card then lists the layers. Kernels [h, w, in, out] and
    [h, w, out, in] become torch's [out, in, h, w] and [in, out, h, w], dense ones [out, in]; a transposed convolution
    is the gradient of a convolution in both, so nothing is flipped.
    Raises WeightsError without h5py, for a file that is no Keras file, and for layers that are no plain stack.
    """
    try:
        import h5py
    except ImportError as error:
        raise WeightsError(
            f"{str(path)!r}: .h5 files need the package h5py. Type pip install 'preimage[keras]'"
        ) from error
    try:
        with h5py.File(path, "r") as file:
            said = file.attrs.get("model_config")
            group = file.get("model_weights", file)
            if "layer_names" not in group.attrs:
                raise WeightsError(f"{str(path)!r} is an HDF5 file, but none that Keras has saved as .h5")
            tensors = dict(_tensors(group))
    except OSError as error:
        raise WeightsError(
            f"cannot read {str(path)!r} as HDF5: {error}. Give a .h5 file that Keras has saved"
        ) from error
    return ({} if said is None else _described(json.loads(_text(said)), path)), tensors


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _tensors(group: Any) -> list[tuple[str, Tensor]]:
    found = []
    for layer in map(_text, group.attrs["layer_names"]):
        for name in map(_text, _own(group, layer).attrs.get("weight_names", ())):
            kind = name.rpartition("/")[2].partition(":")[0]
            values = _values(_own(group, f"{layer}/{name}"))
            found.append((f"{layer}.{NAMES.get(kind, kind)}", _in_torch_layout(values) if kind == "kernel" else values))
    return found


def _own(group: Any, name: str) -> Any:
    """What lies under a name in this very file: a link into another file, or a loop, is refused."""
    import h5py

    here = group
    for part in name.split("/"):
        link = here.get(part, getlink=True) if isinstance(here, h5py.Group) else None
        if not isinstance(link, h5py.HardLink):
            what = "is missing" if link is None else "is a link, maybe into another file"
            raise WeightsError(
                f"the Keras file {group.file.filename!r}: {name!r} {what}. Save the model anew with Keras"
            )
        here = here[part]
    return here


def _values(dataset: Any) -> Tensor:
    """float32 values of a data set that lies in the file itself, and is no larger than files of weights are."""
    import h5py

    where = f"the Keras file {dataset.file.filename!r}: {dataset.name!r}"
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind not in "fiu":
        raise WeightsError(f"{where} is no array of numbers")
    if dataset.is_virtual or dataset.external:
        raise WeightsError(f"{where} keeps its values in another file. Save the model anew with Keras")
    if dataset.size * 4 > MOST_BYTES:
        raise WeightsError(f"{where} would take {dataset.size * 4:,} bytes, more than the {MOST_BYTES:,} of a layer")
    return torch.from_numpy(np.asarray(dataset, dtype=np.float32))


def _in_torch_layout(kernel: Tensor) -> Tensor:
    return kernel.permute(3, 2, 0, 1).contiguous() if kernel.ndim == 4 else kernel.T.contiguous()


def _described(model: Mapping[str, Any], path: Path) -> Config:
    """What the file says of its layers, as a card would say it."""
    if model.get("class_name") != "Sequential":
        return {}  # a graph: the card says which layers are meant
    config = model["config"]
    entries = config["layers"] if isinstance(config, Mapping) else config  # a bare list before Keras 2.2.3
    layers: list[object] = []
    dim = None
    for entry in entries:
        settings = entry["config"]
        if dim is None and (shape := settings.get("batch_input_shape") or settings.get("batch_shape")):
            dim = int(np.prod([side for side in shape[1:] if side is not None]))
        if entry["class_name"] in ASIDE:
            continue
        if entry["class_name"] not in LAYERS:
            raise WeightsError(
                f"{str(path)!r} has the layer {entry['class_name']} ({settings.get('name')}), which family "
                f"'sequential' does not know. It knows {', '.join(sorted(LAYERS))}"
            )
        layers += LAYERS[entry["class_name"]](settings)
    return {"layers": layers, **({} if dim is None else {"dim": dim})}


def _activated(settings: Mapping[str, Any], *layers: object) -> list[object]:
    said = settings.get("activation", "linear")
    if said == "linear" or said is None:
        return list(layers)
    name = ACTIVATIONS.get(said, said)
    if name == "leaky_relu":
        return [*layers, {"leaky_relu": 0.2}]  # Keras' function of that name
    if name not in SAME:
        raise WeightsError(f"the layer {settings.get('name')} has the activation {said!r}; known are {', '.join(SAME)}")
    return [*layers, name]


def _first(settings: Mapping[str, Any]) -> None:
    if settings.get("data_format", "channels_last") != "channels_last":
        raise WeightsError(f"the layer {settings.get('name')} has its channels first; write its layers on the card")


def _dense(settings: Mapping[str, Any]) -> list[object]:
    said = {"out": settings["units"], "bias": settings["use_bias"], "from": settings["name"]}
    return _activated(settings, {"linear": said})


def _conv(kind: str) -> Callable[[Mapping[str, Any]], list[object]]:
    def layers(settings: Mapping[str, Any]) -> list[object]:
        _first(settings)
        if set(settings.get("dilation_rate", [1])) != {1} or settings.get("groups", 1) != 1:
            raise WeightsError(f"the layer {settings['name']} is dilated or grouped, which family 'sequential' is not")
        said = {
            "out": settings["filters"],
            "kernel": list(settings["kernel_size"]),
            "stride": list(settings["strides"]),
            "padding": {"valid": 0, "same": "same"}[settings["padding"]],
            "bias": settings["use_bias"],
            "from": settings["name"],
        }
        if settings.get("output_padding") is not None:
            raise WeightsError(f"the layer {settings['name']} has an output padding; write its layers on the card")
        return _activated(settings, {kind: said})

    return layers


def _batch_norm(settings: Mapping[str, Any]) -> list[object]:
    axis = settings["axis"]
    if (list(axis) if isinstance(axis, (list, tuple)) else [axis]) not in ([-1], [3], [1]):
        raise WeightsError(f"the layer {settings['name']} normalises axis {axis}; the last is meant")
    said = {name: settings[theirs] for name, theirs in (("scale", "scale"), ("shift", "center"))}
    return [{"batch_norm": {"eps": settings["epsilon"], **said, "from": settings["name"]}}]


def _reshape(settings: Mapping[str, Any]) -> list[object]:
    return [{"reshape": {"to": list(settings["target_shape"]), "order": "channels_last"}}]


def _upsample(settings: Mapping[str, Any]) -> list[object]:
    _first(settings)
    sizes = set(settings["size"])
    if len(sizes) != 1:
        raise WeightsError(f"the layer {settings['name']} scales its sides by {settings['size']}; write one factor")
    return [{"upsample": {"scale": sizes.pop(), "mode": settings.get("interpolation", "nearest")}}]


def _leaky(settings: Mapping[str, Any]) -> list[object]:
    return [{"leaky_relu": float(settings.get("alpha", settings.get("negative_slope", 0.3)))}]


def _crop(sign: int, key: str) -> Callable[[Mapping[str, Any]], list[object]]:
    def layers(settings: Mapping[str, Any]) -> list[object]:
        _first(settings)
        (top, bottom), (left, right) = settings[key]
        return [{"crop": [sign * side for side in (left, right, top, bottom)]}]

    return layers


LAYERS: Mapping[str, Callable[[Mapping[str, Any]], list[object]]] = {
    "Dense": _dense,
    "Conv2D": _conv("conv"),
    "Conv2DTranspose": _conv("conv_transpose"),
    "BatchNormalization": _batch_norm,
    "Reshape": _reshape,
    "Flatten": lambda settings: [{"flatten": {"order": "channels_last"}}],
    "UpSampling2D": _upsample,
    "Cropping2D": _crop(1, "cropping"),
    "ZeroPadding2D": _crop(-1, "padding"),
    "Activation": lambda settings: _activated(settings),
    "ReLU": lambda settings: ["relu"],
    "LeakyReLU": _leaky,
    "ELU": lambda settings: [{"elu": float(settings.get("alpha", 1.0))}],
}
