"""The layers that a card can list, each made for the shape that the layers before it give."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from preimage.harness.errors import CardError

Shape: TypeAlias = tuple[int, ...]
"""Of what one code becomes: (features,) or (channels, height, width)."""


class Settings(NamedTuple):
    """What a card says of one layer, by name; ``where`` names the layer in errors."""

    values: Mapping[str, object]
    where: str

    def number(self, name: str) -> int:
        """A whole number from 0 up. Raises CardError."""
        value = self.values[name]
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise CardError(f"{self.where}: `{name}` is {value!r}; write a whole number from 0 up")
        return value

    def real(self, name: str) -> float:
        value = self.values[name]
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
            raise CardError(f"{self.where}: `{name}` is {value!r}; write a finite number")
        return float(value)

    def yes(self, name: str) -> bool:
        value = self.values[name]
        if not isinstance(value, bool):
            raise CardError(f"{self.where}: `{name}` is {value!r}; write true or false")
        return value

    def one_of(self, name: str, known: Sequence[str]) -> str:
        value = self.values[name]
        if value not in known:
            raise CardError(f"{self.where}: `{name}` is {value!r}; write one of {', '.join(known)}")
        return str(value)

    def numbers(self, name: str, count: int | None = None) -> list[int]:
        """Whole numbers, so many if told; one stands for all of them. Raises CardError."""
        value = self.values[name]
        listed = [value] * (count or 1) if isinstance(value, int) else value
        good = isinstance(listed, (list, tuple)) and all(isinstance(v, int) and not isinstance(v, bool) for v in listed)
        if not good or (count is not None and len(listed) != count):  # type: ignore[arg-type]  # a list if good
            many = "a list of" if count is None else f"one or {count}"
            raise CardError(f"{self.where}: `{name}` is {value!r}; write {many} whole numbers")
        return list(listed)  # type: ignore[call-overload, no-any-return]  # as above


@dataclass(frozen=True)
class Kind:
    """A kind of layer: its settings with their defaults (None: must be given), which of them stands alone, its maker.

    needs: the number of dimensions that what comes before must have; None for any.
    """

    make: Callable[[Settings, Shape], nn.Module]
    settings: Mapping[str, object]
    main: str | None = None
    needs: tuple[int, ...] | None = None


def made(kind: str, said: object, shape: Shape, where: str) -> tuple[nn.Module, Shape]:
    """The layer of a kind with what the card says of it, and the shape it gives. Raises CardError that names it."""
    if kind not in KINDS:
        close = difflib.get_close_matches(kind, KINDS, n=1)
        guess = f" (did you mean `{close[0]}`?)" if close else ""
        raise CardError(f"{where}: unknown layer `{kind}`{guess}. Known are: {', '.join(sorted(KINDS))}")
    found = KINDS[kind]
    settings = Settings(_settled(found, said, where), where)
    if found.needs is not None and len(shape) not in found.needs:
        form = "an image [channels, height, width]" if found.needs == (3,) else "a vector"
        raise CardError(
            f"{where}: it takes {form}, and what comes before it gives {list(shape)}. Put `reshape` between"
        )
    layer = found.make(settings, shape).eval()
    try:
        with torch.no_grad():
            after = tuple(layer(torch.zeros(1, *shape)).shape[1:])
    except RuntimeError as error:
        raise CardError(f"{where}: it cannot take {list(shape)}: {str(error).splitlines()[0]}") from error
    return layer, after


def _settled(kind: Kind, said: object, where: str) -> dict[str, object]:
    given = said if isinstance(said, Mapping) else {} if said is None else {kind.main: said}
    if None in given:
        raise CardError(f"{where}: it takes no value, and {said!r} is given")
    if unknown := [name for name in given if name not in kind.settings]:
        close = difflib.get_close_matches(str(unknown[0]), kind.settings, n=1)
        guess = f" (did you mean `{close[0]}`?)" if close else ""
        known = ", ".join(kind.settings) or "none"
        raise CardError(f"{where}: unknown setting `{unknown[0]}`{guess}. Its settings are: {known}")
    settled = {**kind.settings, **{str(name): value for name, value in given.items()}}
    if missing := [name for name, value in settled.items() if value is None]:
        raise CardError(f"{where}: `{missing[0]}` is missing")
    return settled


class View(nn.Module):
    """Vectors as images [channels, height, width]; ``last``: their values are in the order height, width, channels."""

    def __init__(self, shape: Shape, last: bool) -> None:
        super().__init__()
        self.shape, self.last = shape, last

    def forward(self, x: Tensor) -> Tensor:
        if self.last:
            return x.reshape(len(x), *self.shape).movedim(-1, 1)
        return x.reshape(len(x), *self.shape)


class Flat(nn.Module):
    """Images as vectors; ``last``: in the order height, width, channels."""

    def __init__(self, last: bool) -> None:
        super().__init__()
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        return (x.movedim(1, -1) if self.last and x.ndim == 4 else x).flatten(1)


class Crop(nn.Module):
    """Cut (or, where negative, pad with zeros) so many pixels off: left, right, top, bottom."""

    def __init__(self, sides: Sequence[int]) -> None:
        super().__init__()
        self.sides = tuple(sides)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.pad(x, tuple(-side for side in self.sides))


def _linear(said: Settings, shape: Shape) -> nn.Module:
    return nn.Linear(shape[0], said.number("out"), bias=said.yes("bias"))


def _conv(said: Settings, shape: Shape) -> nn.Module:
    """A convolution; ``padding: same`` as Keras pads: ``ceil(size / stride)`` pixels out, the odd one at the end."""
    kernel, stride = said.numbers("kernel", 2), said.numbers("stride", 2)
    layer = nn.Conv2d(shape[0], said.number("out"), _pair(kernel), _pair(stride), bias=said.yes("bias"))
    if said.values["padding"] != "same":
        layer.padding = _pair(said.numbers("padding", 2))
        return layer
    missing = [max((math.ceil(n / s) - 1) * s + k - n, 0) for n, k, s in zip(shape[1:], kernel, stride, strict=True)]
    layer.padding = _pair([m // 2 for m in missing])
    bottom, right = (m % 2 for m in missing)
    return nn.Sequential(Crop((0, -right, 0, -bottom)), layer) if right or bottom else layer


def _conv_transpose(said: Settings, shape: Shape) -> nn.Module:
    """A transposed convolution; ``padding: same`` as Keras crops: ``size * stride`` pixels out."""
    kernel, stride, extra = said.numbers("kernel", 2), said.numbers("stride", 2), said.numbers("output_padding", 2)
    layer = nn.ConvTranspose2d(
        shape[0], said.number("out"), _pair(kernel), _pair(stride), output_padding=_pair(extra), bias=said.yes("bias")
    )
    if said.values["padding"] != "same":
        layer.padding = _pair(said.numbers("padding", 2))
        return layer
    excess = [k - s for k, s in zip(kernel, stride, strict=True)]
    layer.padding = _pair([max(e, 0) // 2 for e in excess])
    layer.output_padding = _pair([max(-e, 0) for e in excess])  # a kernel smaller than its stride leaves a margin
    bottom, right = (max(e, 0) % 2 for e in excess)
    return nn.Sequential(layer, Crop((0, right, 0, bottom))) if right or bottom else layer


def _pair(numbers: Sequence[int]) -> tuple[int, int]:
    return numbers[0], numbers[1]


def _batch_norm(said: Settings, shape: Shape) -> nn.Module:
    """With its running statistics; a missing ``scale`` is 1, a missing ``shift`` 0."""
    return (nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d)(shape[0], said.real("eps"))


def _upsample(said: Settings, shape: Shape) -> nn.Module:
    mode = said.one_of("mode", ("nearest", "bilinear"))
    return nn.Upsample(scale_factor=said.number("scale"), mode=mode)


def _reshape(said: Settings, shape: Shape) -> nn.Module:
    to = said.numbers("to")
    if math.prod(to) != math.prod(shape) or len(to) not in (1, 3):
        raise CardError(
            f"{said.where}: `to` is {to} ({math.prod(to)} values); what comes before gives {list(shape)} "
            f"({math.prod(shape)} values). Write [channels, height, width]"
        )
    return View(tuple(to), _last(said))


def _last(said: Settings) -> bool:
    return said.one_of("order", ("channels_first", "channels_last")) == "channels_last"


def _plain(layer: Callable[[], nn.Module]) -> Kind:
    return Kind(lambda said, shape: layer(), {})


ORDER: Mapping[str, object] = {"order": "channels_first"}
KINDS: Mapping[str, Kind] = {
    "linear": Kind(_linear, {"out": None, "bias": True}, "out", (1,)),
    "conv": Kind(_conv, {"out": None, "kernel": None, "stride": 1, "padding": 0, "bias": True}, None, (3,)),
    "conv_transpose": Kind(
        _conv_transpose,
        {"out": None, "kernel": None, "stride": 1, "padding": 0, "output_padding": 0, "bias": True},
        None,
        (3,),
    ),
    "batch_norm": Kind(_batch_norm, {"eps": 1e-5, "scale": True, "shift": True}),
    "upsample": Kind(_upsample, {"scale": 2, "mode": "nearest"}, "scale", (3,)),
    "pixel_shuffle": Kind(lambda said, shape: nn.PixelShuffle(said.number("scale")), {"scale": 2}, "scale", (3,)),
    "crop": Kind(lambda said, shape: Crop(said.numbers("sides", 4)), {"sides": None}, "sides", (3,)),
    "reshape": Kind(_reshape, {"to": None, **ORDER}, "to"),
    "flatten": Kind(lambda said, shape: Flat(_last(said)), dict(ORDER)),
    "relu": _plain(nn.ReLU),
    "leaky_relu": Kind(lambda said, shape: nn.LeakyReLU(said.real("slope")), {"slope": 0.01}, "slope"),
    "elu": Kind(lambda said, shape: nn.ELU(said.real("alpha")), {"alpha": 1.0}, "alpha"),
    "selu": _plain(nn.SELU),
    "gelu": Kind(
        lambda said, shape: nn.GELU(said.one_of("approximate", ("none", "tanh"))),
        {"approximate": "none"},
        "approximate",
    ),
    "silu": _plain(nn.SiLU),
    "softplus": _plain(nn.Softplus),
    "tanh": _plain(nn.Tanh),
    "sigmoid": _plain(nn.Sigmoid),
}
