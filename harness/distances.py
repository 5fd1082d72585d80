"""Distances between images: differentiable, per image, on unclamped images."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

from preimage.harness.errors import PluginError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from preimage.harness.backbones import Backbone


@runtime_checkable
class Distance(Protocol):
    """``distance(x, y) -> [n]`` for images [n, c, h, w]; of a recovery, x is the generated image and y the target.

    Where the distance is Euclidean in an embedding e, ``embed(x)`` gives e(x), [n, k]; the distance is then
    ``||e(x) - e(y)||^2`` if ``squared`` and ``||e(x) - e(y)||`` if not. Elsewhere ``embed`` gives None.

    A distance that is more than its formula (it has weights, or resizes images) also has ``identity``, the hash of all
    that its numbers depend on: it becomes part of every request. ``rule``, one line of text, says what it does to
    images first.
    """

    name: str
    squared: bool

    def __call__(self, x: Tensor, y: Tensor) -> Tensor: ...

    def embed(self, x: Tensor) -> Tensor | None: ...


Backbones: TypeAlias = "Callable[[str], Backbone]"
"""The backbone of a name, its weights found, verified and loaded once per process."""


@dataclass(frozen=True)
class DistanceCard:
    """A distance that can be named without loading its weights; ``open`` is given the backbones when it is needed.

    backbones: the names of those that it looks through. description: one line.
    """

    name: str
    open: Callable[[Backbones], Distance]
    backbones: tuple[str, ...] = ()
    description: str = ""
    squared: bool = True


def identity_of(distance: Distance) -> str:
    """The hash of what the distance's numbers depend on beside its name; empty where that is nothing."""
    return str(getattr(distance, "identity", ""))


def embedded(distance: Distance, images: Tensor) -> Tensor | None:
    """What ``embed`` gives, unchecked; None where the distance has no such method."""
    embed: Callable[[Tensor], Tensor | None] | None = getattr(distance, "embed", None)
    return None if embed is None else embed(images)


def embedding_of(distance: Distance, images: Tensor) -> Tensor | None:
    """The images' embedding, [n, k]; None where the distance has none. Raises PluginError for anything else, or one
    that is not finite though the images are.
    """
    found = embedded(distance, images)
    if found is None:
        return None
    if found.ndim != 2 or len(found) != len(images):
        raise PluginError(
            f"distance {distance.name!r} embeds {len(images)} images as {list(found.shape)}; it must be one row per "
            f"image, [{len(images)}, k]. Correct its embed"
        )
    if images.isfinite().all() and not found.isfinite().all():
        raise PluginError(f"distance {distance.name!r} embeds images as numbers that are not finite. Correct its embed")
    return found


class SquaredL2:
    """The mean squared difference over the D values of an image (METHODS 1): ``l2`` squared, over D."""

    name = "squared-l2"
    squared = True

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        return (x - y).square().flatten(1).mean(dim=1)

    def embed(self, x: Tensor) -> Tensor | None:
        flat = x.flatten(1)
        scaled: Tensor = flat * float(flat.shape[1]) ** -0.5
        return scaled


class L2:
    """The Euclidean norm of the difference over all D values of an image; its gradient is 0 where the difference is."""

    name = "l2"
    squared = False

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        import torch

        squares = (x - y).square().flatten(1).sum(dim=1)
        apart = squares > 0
        return torch.where(
            apart, torch.where(apart, squares, torch.ones_like(squares)).sqrt(), torch.zeros_like(squares)
        )

    def embed(self, x: Tensor) -> Tensor | None:
        return x.flatten(1)


class CrossEntropy:
    """The mean over D values of ``-(y log x + (1 - y) log(1 - x))``, for images in [0, 1] (Creswell and Bharath, 2018).

    Not symmetric: y is the target, clamped to [0, 1], and the least value, at x = y, is its own entropy, not 0. Outside
    [EDGE, 1 - EDGE] each logarithm goes on along its tangent, so that pixels of x outside [0, 1] have a finite value
    and a gradient that leads back.
    """

    name = "cross-entropy"
    squared = False
    EDGE = 1e-6

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        target = y.clamp(0, 1)
        terms = target * self._log(x) + (1 - target) * self._log(1 - x)
        return -terms.flatten(1).mean(dim=1)

    def embed(self, x: Tensor) -> Tensor | None:
        return None

    def _log(self, x: Tensor) -> Tensor:
        import torch

        tangent = math.log(self.EDGE) + (x - self.EDGE) / self.EDGE
        return torch.where(x < self.EDGE, tangent, x.clamp_min(self.EDGE).log())


class WeightedSum:
    """``sum of w_i distance_i(x, y)``, written ``squared-l2+0.1*lpips-alex``; embedded where every part is, squared."""

    squared = True

    def __init__(self, name: str, parts: Sequence[tuple[float, Distance]]) -> None:
        self.name, self.parts = name, tuple(parts)
        said = [f"{weight!r}*{part.name}#{identity_of(part)}" for weight, part in parts]
        identities = [identity_of(part) for _, part in parts]
        self.identity = hashlib.sha256("+".join(said).encode()).hexdigest() if any(identities) else ""
        self.rule = "; ".join(f"{part.name}: {part.rule}" for _, part in parts if hasattr(part, "rule"))

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        import torch

        return torch.stack([weight * part(x, y) for weight, part in self.parts]).sum(dim=0)

    def embed(self, x: Tensor) -> Tensor | None:
        import torch

        if not all(part.squared for _, part in self.parts):
            return None
        found = [(weight, embedded(part, x)) for weight, part in self.parts]
        scaled = [weight**0.5 * e for weight, e in found if e is not None]
        return torch.cat(scaled, dim=1) if len(scaled) == len(found) else None


def terms(name: str) -> list[tuple[float, str]]:
    """The weights and names that a sum's name says: ``squared-l2+0.1*lpips-alex``; one term for any other name.

    Raises UsageError for a weight that is not a positive number, and for an empty part.
    """
    found = []
    for term in name.split("+"):
        weight, star, part = term.strip().rpartition("*")
        try:
            factor = float(weight) if star else 1.0
        except ValueError:
            factor = 0.0
        if not part.strip() and "+" in name:
            raise UsageError(
                f"distance {name!r}: a part of the sum is empty. Write it as e.g. squared-l2+0.1*lpips-alex"
            )
        if not 0 < factor < float("inf"):
            raise UsageError(
                f"distance {name!r}: the weight {weight!r} is not a positive number. "
                "Write a sum as e.g. squared-l2+0.1*lpips-alex"
            )
        found.append((factor, part.strip()))
    return found


def distance(name: str) -> Distance:
    """The distance of that name, ready to use, e.g. ``distance("lpips-alex")``; a sum is written ``a+0.1*b``.

    Weights are loaded once per process. Raises UnknownName, and WeightsError where its weights cannot be had.
    """
    from preimage.harness.plugins import installed

    return installed().distance(name)
