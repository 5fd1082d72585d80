"""The family ``sequential``: a card lists the layers, the file holds their tensors."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from preimage.adapters.official_settings import official_settings
from preimage.adapters.sequential.filling import Slot, fill
from preimage.adapters.sequential.layers import Shape, made
from preimage.harness.cards import Config, ImageSpec
from preimage.harness.checkpoints import held_in
from preimage.harness.converted import read_converted
from preimage.harness.errors import CardError, GeneratorError, WeightsError
from preimage.harness.generator import Generator, LatentSpace
from preimage.harness.priors import Prior, SphereUniform, StandardNormal, TruncatedNormal, Uniform

PRIORS: Mapping[str, type[Prior]] = {
    "normal": StandardNormal,
    "sphere": SphereUniform,
    "truncated-normal": TruncatedNormal,
    "uniform": Uniform,
}
SETTINGS = ("dim", "prior", "label", "layers", "range", "prefix", "ignore")
JOINS = ("after", "before", "multiply")


class Stack(Generator):
    """Codes [n, dim], with a class embedding or one-hot vector where there are classes, through plain layers.

    What the layers give is brought from ``[low, high]`` to [0, 1].
    """

    def __init__(
        self, space: LatentSpace, image: ImageSpec, layers: nn.Sequential, between: tuple[float, float]
    ) -> None:
        super().__init__()
        self.spaces = {space.name: space}
        self.image, self.num_classes = image, 0
        self.layers = layers
        self.low, self.high = between
        self.classes: nn.Embedding | None = None
        self.join = "after"

    def decode(self, code: Tensor, label: Tensor | None = None, *, space: str = "z") -> Tensor:
        self.space(space)
        images = self.layers(self._input(code, label))
        return cast(Tensor, (images - self.low) / (self.high - self.low))

    def _input(self, code: Tensor, label: Tensor | None) -> Tensor:
        if self.classes is None:
            return code
        if label is None:
            raise GeneratorError(f"this model has {self.num_classes} classes: give decode a label per code, [n] int64")
        vector: Tensor = self.classes(label)
        if self.join == "multiply":
            return code * vector
        return torch.cat([code, vector] if self.join == "after" else [vector, code], dim=1)


def build(config: Config, weights: Mapping[str, Tensor]) -> Stack:
    """The generator of a card's layers, filled, frozen and in eval mode.

    Raises CardError for settings or layers that cannot be, WeightsError that lists the tensors that do not fit.
    """
    settings = official_settings(config, SETTINGS, "sequential")
    space = _space(settings)
    slots: list[Slot] = []
    classes, join = _classes(settings, space.dim, weights, slots)
    extra = classes.embedding_dim if classes is not None and join != "multiply" else 0
    layers, shape = _stack(settings.get("layers"), (space.dim + extra,), slots)
    if len(shape) != 3:
        raise CardError(f"`layers`: the last one gives {list(shape)}, no image. End with [channels, height, width]")
    fill(slots, weights, _text(settings, "prefix"), _texts(settings, "ignore"))
    stack = Stack(space, ImageSpec(*shape), layers, _range(settings))
    if classes is not None:
        stack.classes, stack.join, stack.num_classes = classes, join, classes.num_embeddings
    return stack.eval().requires_grad_(False)


def read(path: Path) -> tuple[Config, Mapping[str, Tensor]]:
    """Settings and weights of a file: a state dict of torch, or of Keras (.h5), whose layers are often in the file.

    Tables within tables get dotted names (``netG_state_dict.main.0.weight``).
    """
    if path.suffix in (".h5", ".hdf5", ".keras"):
        from preimage.adapters.sequential.keras_files import read_keras

        return read_keras(path)
    if path.suffix == ".safetensors":
        return read_converted(path)
    tensors = dict(_flat(held_in(path), ""))
    if not tensors:
        raise WeightsError(f"the weights {str(path)!r} hold no table of tensors. Save a module's state_dict()")
    return {}, tensors


def _flat(held: object, prefix: str) -> list[tuple[str, Tensor]]:
    if isinstance(held, Tensor):
        return [(prefix, held)]
    if not isinstance(held, Mapping):
        return []
    return [pair for name, value in held.items() for pair in _flat(value, f"{prefix}.{name}" if prefix else str(name))]


def _space(settings: Mapping[str, object]) -> LatentSpace:
    dim, said = settings.get("dim"), settings.get("prior", "normal")
    if not isinstance(dim, int) or isinstance(dim, bool) or dim < 1:
        raise CardError(f"family 'sequential': `dim` is {dim!r}; write the length of a code, e.g. dim: 64")
    name, options = (said, {}) if isinstance(said, str) else _single(said, "prior")
    if name not in PRIORS:
        raise CardError(f"family 'sequential': `prior` is {name!r}; write one of {', '.join(PRIORS)}")
    try:
        return LatentSpace("z", dim, PRIORS[name](**{str(k): float(v) for k, v in dict(options or {}).items()}))
    except (TypeError, ValueError) as error:
        raise CardError(f"family 'sequential': `prior` {said!r}: {error}") from error


def _single(said: object, where: str) -> tuple[str, dict[str, float]]:
    if not isinstance(said, Mapping) or len(said) != 1:
        raise CardError(f"`{where}` is {said!r}; write a name, or a name with its settings, e.g. uniform: {{low: 0}}")
    (name, options), *_ = said.items()
    if not isinstance(options, (Mapping, type(None))):
        raise CardError(f"`{where}`: {name} is {options!r}; write a table of its settings")
    return str(name), dict(options or {})


def _classes(
    settings: Mapping[str, object], dim: int, weights: Mapping[str, Tensor], slots: list[Slot]
) -> tuple[nn.Embedding | None, str]:
    """The vectors of the classes and how they join the code: an embedding of the file, or one-hot vectors."""
    said = settings.get("label")
    if said is None:
        return None, "after"
    if not isinstance(said, Mapping) or said.get("as") not in ("embedding", "one_hot"):
        raise CardError(f"`label` is {said!r}; write e.g. {{as: one_hot, classes: 10}} or {{as: embedding, ...}}")
    _known(said, ("as", "classes", "size", "join", "from"), "label")
    classes, join = said.get("classes"), said.get("join", "after")
    if not isinstance(classes, int) or isinstance(classes, bool) or classes < 1:
        raise CardError(f"`label`: `classes` is {classes!r}; write how many classes there are")
    if join not in JOINS:
        raise CardError(f"`label`: `join` is {join!r}; write one of {', '.join(JOINS)} (the code)")
    if said["as"] == "one_hot":
        if "size" in said or "from" in said:
            raise CardError("`label`: one-hot vectors have no `size` and no tensors: leave out `size` and `from`")
        vectors = nn.Embedding(classes, classes, _weight=torch.eye(classes))
    else:
        size = said.get("size", dim if join == "multiply" else None)
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise CardError(f"`label`: `size` is {size!r}; write the length of an embedding")
        vectors = nn.Embedding(classes, size)
        slots.append(Slot(vectors, "label", _source(said.get("from"), "label")))
    if join == "multiply" and vectors.embedding_dim != dim:
        raise CardError(f"`label`: vectors of {vectors.embedding_dim} values cannot multiply a code of {dim}")
    return vectors, str(join)


def _stack(said: object, shape: Shape, slots: list[Slot]) -> tuple[nn.Sequential, Shape]:
    if not isinstance(said, list) or not said:
        raise CardError(
            f"family 'sequential': `layers` is {said!r}; list the layers, e.g. layers: [linear: 256, relu, ...]"
        )
    layers: list[nn.Module] = []
    for number, entry in enumerate(said):
        kind, options, source = _entry(entry, number)
        where = f"layers[{number}] ({kind})"
        layer, shape = made(kind, options, shape, where)
        parts = list(layer) if isinstance(layer, nn.Sequential) else [layer]
        layers += parts
        for part in parts:
            if part.state_dict():
                slots.append(Slot(part, where, source, _optional(options)))
            elif source is not None and len(parts) == 1:
                raise CardError(f"{where}: it has no tensors, and `from` says {source!r}")
    return nn.Sequential(*layers), shape


def _entry(entry: object, number: int) -> tuple[str, object, str | None]:
    """The kind of a layer, what is said of it, and where its tensors come from."""
    if isinstance(entry, str):
        return entry, None, None
    if not isinstance(entry, Mapping) or len(entry) != 1:
        raise CardError(f"layers[{number}] is {entry!r}; write a layer's name, or its name with its settings")
    ((kind, options),) = entry.items()
    if not isinstance(options, Mapping):
        return str(kind), options, None
    source = _source(options.get("from"), f"layers[{number}] ({kind})")
    return str(kind), {name: value for name, value in options.items() if name != "from"}, source


def _optional(options: object) -> tuple[str, ...]:
    """The tensors that a batch norm without scale or shift does not have."""
    if not isinstance(options, Mapping):
        return ()
    absent = {"scale": "weight", "shift": "bias"}
    return tuple(tensor for setting, tensor in absent.items() if options.get(setting) is False)


def _source(value: object, where: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise CardError(f"{where}: `from` is {value!r}; write the name of the tensors up to the last dot")
    return value


def _range(settings: Mapping[str, object]) -> tuple[float, float]:
    said = settings.get("range", [0, 1])
    listed = said if isinstance(said, list) else []
    numbers = [value for value in listed if isinstance(value, (int, float)) and not isinstance(value, bool)]
    if len(numbers) != 2 or not numbers[0] < numbers[1]:
        raise CardError(f"`range` is {said!r}; write what black and white are to the last layer, e.g. [-1, 1]")
    return float(numbers[0]), float(numbers[1])


def _text(settings: Mapping[str, object], name: str) -> str:
    value = settings.get(name, "")
    if not isinstance(value, str):
        raise CardError(f"`{name}` is {value!r}; write a text")
    return value


def _texts(settings: Mapping[str, object], name: str) -> list[str]:
    value = settings.get(name, [])
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        raise CardError(f"`{name}` is {value!r}; write a list of names or globs")
    return listed


def _known(said: Mapping[str, object], known: Collection[str], where: str) -> None:
    for name in said:
        if name not in known:
            close = difflib.get_close_matches(str(name), known, n=1)
            guess = f" (did you mean `{close[0]}`?)" if close else ""
            raise CardError(f"`{where}`: unknown setting `{name}`{guess}. Known are: {', '.join(known)}")
