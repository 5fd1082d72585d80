"""Operators phi: what is done to images before they are compared (METHODS 1; Webster et al., CVPR 2019, 2.2 and 4.1).

An operator that acts on both sides is applied to the target and to every generated image, ``phi(G(z))`` against
``phi(x)``: errors are then those of phi's images. The others change the target alone. Settings import no torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

from preimage.harness.cards import ImageSpec
from preimage.harness.errors import Refused, UnknownName, UsageError
from preimage.harness.settings import option

if TYPE_CHECKING:
    from torch import Tensor

    from preimage.harness.streams import Streams


class Operator(Protocol):
    """An operator: a frozen dataclass whose fields are its settings.

    ``streams`` has one random stream per image; an operator that acts on both sides draws nothing from it, since it
    must do the same to the target and to each generated image.
    """

    name: ClassVar[str]
    both_sides: ClassVar[bool]

    def check(self, image: ImageSpec) -> None:
        """Raises Refused where it cannot be applied to images of this shape."""
        ...

    def __call__(self, images: Tensor, streams: Streams) -> Tensor:
        """The operated images of [n, c, h, w], not clamped. Differentiable where it acts on both sides."""
        ...


class _Always:
    """An operator for images of any shape."""

    def check(self, image: ImageSpec) -> None:
        """Any shape will do."""


@dataclass(frozen=True)
class Identity(_Always):
    """Images as they are."""

    name: ClassVar[str] = "identity"
    both_sides: ClassVar[bool] = False

    def __call__(self, images: Tensor, streams: Streams) -> Tensor:
        """The images themselves."""
        return images


@dataclass(frozen=True)
class Warp(_Always):
    """The target bent along a smooth random field, ``x(p + V(p))``, ``V = g * N(0, sigma^2)``, one field per image.

    Bilinear; what comes from outside the image repeats its edge. g is a Gaussian of unit sum, cut at four standard
    deviations; with the defaults a pixel moves by 1.4 pixels (root mean square) in each direction, as in Simard et al.,
    ICDAR 2003. Webster et al. state neither number.
    """

    name: ClassVar[str] = "warp"
    both_sides: ClassVar[bool] = False

    sigma: float = option(20.0, "standard deviation of the field before it is smoothed, pixels")
    smoothness: float = option(4.0, "standard deviation of the Gaussian that smooths the field, pixels")

    def __post_init__(self) -> None:
        _not_negative(self, "sigma", "smoothness")

    def __call__(self, images: Tensor, streams: Streams) -> Tensor:
        """The warped images, [n, c, h, w]."""
        return warped(images, self.field(streams, *images.shape[2:]))

    def field(self, streams: Streams, height: int, width: int) -> Tensor:
        """V, [n, 2, height, width]: how far down and how far to the right each pixel's value is fetched, in pixels."""
        reach = math.ceil(4 * self.smoothness)
        field = self.sigma * streams.normal(2, height + 2 * reach, width + 2 * reach)
        return _smoothed(_smoothed(field, self.smoothness, reach).mT, self.smoothness, reach).mT


@dataclass(frozen=True)
class Translation(_Always):
    """The target moved by whole pixels; what comes from outside the image repeats its edge."""

    name: ClassVar[str] = "translation"
    both_sides: ClassVar[bool] = False

    down: int = option(2, "pixels that the image moves down; negative: up")
    right: int = option(2, "pixels that the image moves to the right; negative: to the left")

    def check(self, image: ImageSpec) -> None:
        """Raises Refused where nothing of the image would be left."""
        if abs(self.down) >= image.height or abs(self.right) >= image.width:
            raise Refused(f"a translation by {self.down} and {self.right} pixels leaves nothing of an image of {image}")

    def __call__(self, images: Tensor, streams: Streams) -> Tensor:
        """The moved images, [n, c, h, w]."""
        import torch

        height, width = images.shape[2:]
        rows = (torch.arange(height, device=images.device) - self.down).clamp(0, height - 1)
        columns = (torch.arange(width, device=images.device) - self.right).clamp(0, width - 1)
        return images[:, :, rows][:, :, :, columns]


@dataclass(frozen=True)
class Noise(_Always):
    """The target with Gaussian noise added to every value, ``x + N(0, sigma^2)``, not clamped."""

    name: ClassVar[str] = "noise"
    both_sides: ClassVar[bool] = False

    sigma: float = option(0.1, "standard deviation of the noise, pixels in [0, 1]")

    def __post_init__(self) -> None:
        _not_negative(self, "sigma")

    def __call__(self, images: Tensor, streams: Streams) -> Tensor:
        """The noisy images, [n, c, h, w]."""
        return images + self.sigma * streams.normal(*images.shape[1:])


@dataclass(frozen=True)
class Patches:
    """Square patches of the target replaced by Gaussian noise, drawn once per image and fixed; not clamped.

    Places are uniform and may overlap.
    """

    name: ClassVar[str] = "patches"
    both_sides: ClassVar[bool] = False

    count: int = option(4, "patches per image")
    side: int = option(7, "of a patch, pixels")
    mean: float = option(0.5, "of the noise, pixels in [0, 1]")
    sigma: float = option(0.25, "standard deviation of the noise, pixels in [0, 1]")

    def __post_init__(self) -> None:
        _not_negative(self, "sigma")
        _positive(self, "count", "side")

    def check(self, image: ImageSpec) -> None:
        """Raises Refused where a patch is larger than the image."""
        if self.side > min(image.height, image.width):
            raise Refused(f"a patch of {self.side} pixels a side does not fit into an image of {image}")

    def __call__(self, images: Tensor, streams: Streams) -> Tensor:
        """The images with their patches, [n, c, h, w]."""
        import torch

        height, width = images.shape[2:]
        noise = self.mean + self.sigma * streams.normal(*images.shape[1:])
        result = images
        for _ in range(self.count):
            top, left = streams.integers(height - self.side + 1), streams.integers(width - self.side + 1)
            rows = _between(top, self.side, height)[:, None, :, None]
            result = torch.where(rows & _between(left, self.side, width)[:, None, None, :], noise, result)
        return result


@dataclass(frozen=True)
class Mask(_Always):
    """A rectangle in the middle of both images is hidden: its values are 0 on both sides (inpainting).

    Errors are still means over all D values, the hidden ones adding nothing.
    """

    name: ClassVar[str] = "mask"
    both_sides: ClassVar[bool] = True

    share: float = option(0.5, "of the height and of the width that is hidden, rounded to whole pixels")

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise UsageError(f"`share` of the operator 'mask' is {self.share}; it must be from 0 to below 1")

    def __call__(self, images: Tensor, streams: Streams) -> Tensor:
        """The images with their middle hidden, [n, c, h, w]."""
        import torch

        height, width = images.shape[2:]
        seen = torch.ones(height, width, device=images.device)
        tall, wide = round(self.share * height), round(self.share * width)
        top, left = (height - tall) // 2, (width - wide) // 2
        seen[top : top + tall, left : left + wide] = 0
        return images * seen


@dataclass(frozen=True)
class Pooling:
    """Both images averaged over squares (super-resolution). Errors are those of the small images.

    Webster et al. pool 1024 x 1024 pixels by 64, to 16 x 16; the default here takes 28 x 28 to 7 x 7.
    """

    name: ClassVar[str] = "pooling"
    both_sides: ClassVar[bool] = True

    factor: int = option(4, "side of the squares, pixels; divides the height and the width")

    def __post_init__(self) -> None:
        _positive(self, "factor")

    def check(self, image: ImageSpec) -> None:
        """Raises Refused where the squares do not tile the image."""
        if image.height % self.factor or image.width % self.factor:
            raise Refused(
                f"pooling by {self.factor} does not divide images of {image}. Give another --set operator.factor=..."
            )

    def __call__(self, images: Tensor, streams: Streams) -> Tensor:
        """The pooled images, [n, c, h / factor, w / factor]."""
        count, channels, height, width = images.shape
        squares = (count, channels, height // self.factor, self.factor, width // self.factor, self.factor)
        return images.reshape(squares).mean(dim=(3, 5))


OPERATORS: dict[str, type[Operator]] = {
    kind.name: kind for kind in (Identity, Mask, Noise, Patches, Pooling, Translation, Warp)
}
"""Every operator by name."""


def operator_named(name: str) -> type[Operator]:
    """The settings of that name. Raises UnknownName."""
    if name not in OPERATORS:
        raise UnknownName("operator", name, OPERATORS)
    return OPERATORS[name]


def on_generated(operator: Operator) -> Callable[[Tensor], Tensor]:
    """What is done to generated images before they are compared: nothing, if the operator changes the target alone."""
    if not operator.both_sides:
        return lambda images: images
    from preimage.harness.streams import Streams

    return lambda images: operator(images, Streams([]))


def warped(images: Tensor, field: Tensor) -> Tensor:
    """``x(p + V(p))`` for images [n, c, h, w] and fields [n, 2, h, w] in pixels: bilinear, the edge repeated."""
    import torch

    height, width = images.shape[2:]
    down = torch.arange(height, device=images.device).unsqueeze(1) + field[:, 0]
    right = torch.arange(width, device=images.device) + field[:, 1]
    grid = torch.stack([right * (2 / max(width - 1, 1)) - 1, down * (2 / max(height - 1, 1)) - 1], dim=-1)
    result: Tensor = torch.nn.functional.grid_sample(
        images, grid, mode="bilinear", padding_mode="border", align_corners=True
    )
    return result


def _smoothed(field: Tensor, deviation: float, reach: int) -> Tensor:
    """The field [..., w + 2 reach] smoothed along its last axis by a Gaussian of unit sum, [..., w]."""
    import torch

    offsets = torch.arange(-reach, reach + 1, device=field.device, dtype=torch.float64)
    kernel = torch.exp(-0.5 * (offsets / max(deviation, 1e-6)).square())
    windows = field.unfold(-1, len(kernel), 1)
    return windows @ (kernel / kernel.sum()).float()


def _between(start: Tensor, length: int, size: int) -> Tensor:
    """Which of ``size`` places lie in [start, start + length), [n, size] bool."""
    import torch

    places = torch.arange(size, device=start.device)
    return (places >= start.unsqueeze(1)) & (places < start.unsqueeze(1) + length)


def _not_negative(operator: Operator, *names: str) -> None:
    for name in names:
        if getattr(operator, name) < 0:
            raise UsageError(
                f"`{name}` of the operator {operator.name!r} is {getattr(operator, name)}; it is not below 0"
            )


def _positive(operator: Operator, *names: str) -> None:
    for name in names:
        if getattr(operator, name) < 1:
            raise UsageError(
                f"`{name}` of the operator {operator.name!r} is {getattr(operator, name)}; it must be at least 1"
            )
