"""What a released network says of itself, as plain settings: the third form of ``settings.py``.

A superresolution network was built from the path of its stem, which is private, so its constructor's settings rebuild
nothing; its layers' attributes do. Stale ones of the stem (``num_layers``, ``sampling_rates``) are left alone.
"""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from preimage.adapters.stylegan_xl.layer_table import InputSpec, LayerSpec
from preimage.harness.errors import WeightsError
from preimage.harness.reading.networks import NetworkRecord

CLASSES = ("Generator", "SuperresGenerator")


def described(network: NetworkRecord, where: str) -> dict[str, object]:
    """The settings of a network of a snapshot. Raises WeightsError that says what it is, where it is none of these."""
    children = network.children
    mapping, synthesis = children.get("mapping"), children.get("synthesis")
    if network.class_name not in CLASSES or mapping is None or synthesis is None:
        raise _other(network, where, f"a {network.class_name} of {', '.join(children) or 'nothing'}")
    if "layer_names" not in synthesis.attributes or "input" not in synthesis.children:
        raise _other(network, where, "a generator without Fourier features, as those of StyleGAN2")
    embedding = mapping.children.get("embed")
    if embedding is None or embedding.class_name != "Embedding":
        raise _other(network, where, "a generator without embeddings of classes, as those of StyleGAN3")
    first = mapping.children.get("fc0")
    names = [str(name) for name in _sequence(synthesis.attributes["layer_names"])]
    layers = [synthesis.children[name] for name in names if name in synthesis.children]
    if first is None or not layers or len(layers) != len(names):
        raise _other(network, where, f"a generator that lacks some of its layers: fc0, {', '.join(names)}")
    return {
        **_table(mapping, ("z_dim", "c_dim", "w_dim"), where),
        "mapping_kwargs": {
            **_table(mapping, ("num_layers",), where),
            "lr_multiplier": _table(first, ("bias_gain",), where)["bias_gain"],
        },
        **_table(synthesis, ("img_resolution", "img_channels", "num_ws", "output_scale"), where),
        "input": _table(synthesis.children["input"], [field.name for field in fields(InputSpec)], where),
        "layers": [
            {"name": name} | _table(layer, [field.name for field in fields(LayerSpec) if field.name != "name"], where)
            for name, layer in zip(names, layers, strict=True)
        ],
    }


def _table(network: NetworkRecord, names: list[str] | tuple[str, ...], where: str) -> dict[str, object]:
    attributes = network.attributes
    if missing := [name for name in names if name not in attributes]:
        raise _other(network, where, f"a {network.class_name} without {', '.join(missing)}")
    return {name: _plain(attributes[name]) for name in names}


def _plain(value: object) -> object:
    """The value as plain data, which survives JSON: numbers of NumPy as Python's, arrays as lists."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value


def _sequence(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else []


def _other(network: NetworkRecord, where: str, what: str) -> WeightsError:
    return WeightsError(
        f"{where!r} holds {what}; this family reads the networks of StyleGAN-XL. `preimage list families` shows others"
    )
