"""Step sizes of the transitions along a path, in white units: adapted on the way, or frozen beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
from torch import Tensor

from preimage.harness.errors import UsageError
from preimage.harness.samplers.ranges import LONGEST

if TYPE_CHECKING:
    from preimage.harness.samplers.published import Published

ENTRIES = 33
"""Numbers that a table of steps is stored as."""


class Steps(NamedTuple):
    """Where an adaptation stands: step and moving average of acceptance, [n] each float64."""

    size: Tensor
    average: Tensor


class Stepping(Protocol):
    """The rule for step sizes. ``share``: the place on the path, index of the temperature over their number."""

    def init(self, images: int, device: torch.device | str = "cpu") -> Steps: ...

    def size(self, steps: Steps, share: float) -> Tensor:
        """The step of each image there, [n] float64."""
        ...

    def update(self, steps: Steps, chance: Tensor) -> Steps:
        """What a transition's chances of acceptance [n, chains] make of it."""
        ...


@dataclass(frozen=True)
class AdaptedSteps:
    """One step per image, shared by its chains: longer where the average acceptance is above the target, else shorter.

    It looks at the measured chains, so the bound is one in the limit of slow adaptation only. Units are the codes'.
    """

    first: float = 0.05
    target: float = 0.65
    up: float = 1.02
    down: float = 0.98
    memory: float = 0.9
    least: float = 1e-4
    most: float = 0.5

    @classmethod
    def of(cls, settings: Published) -> AdaptedSteps:
        """The rule that the settings describe."""
        s = settings
        return cls(s.step, s.target, s.up, s.down, s.memory, s.shortest, s.longest)

    def init(self, images: int, device: torch.device | str = "cpu") -> Steps:
        first = torch.full((images,), self.first, dtype=torch.float64, device=device)
        return Steps(first, torch.full_like(first, self.target))

    def size(self, steps: Steps, share: float) -> Tensor:
        return steps.size

    def update(self, steps: Steps, chance: Tensor) -> Steps:
        average = self.memory * steps.average + (1 - self.memory) * chance.mean(dim=1)
        factor = torch.where(average > self.target, self.up, self.down)
        return Steps((steps.size * factor).clamp(self.least, self.most), average)


@dataclass(frozen=True)
class TunedSteps:
    """One step for all images of a pilot, which follows the acceptance along the path; what it was is then frozen.

    first, most: white units. rate: change of log step per transition and unit of acceptance missed.
    """

    first: float = 0.6
    target: float = 0.8
    rate: float = 0.2
    most: float = 0.9

    def init(self, images: int, device: torch.device | str = "cpu") -> Steps:
        first = torch.full((images,), min(self.first, self.most), dtype=torch.float64, device=device)
        return Steps(first, torch.full_like(first, self.target))

    def size(self, steps: Steps, share: float) -> Tensor:
        return steps.size

    def update(self, steps: Steps, chance: Tensor) -> Steps:
        average = chance.mean().expand_as(steps.average)
        factor = (self.rate * (average - self.target)).exp()
        return Steps((steps.size * factor).clamp(1e-3, self.most), average)


class FrozenSteps:
    """Steps fixed before any measured chain runs: a table along the path, straight lines between its entries.

    table: [m] at shares 0, 1/(m - 1), ..., 1 of the path; one entry: the same step everywhere.
    Raises UsageError where the longest trajectory passes ``LONGEST``.
    """

    def __init__(self, table: Tensor, leapfrogs: int) -> None:
        self.table = table.double()
        longest = float(self.table.max()) * leapfrogs
        if not float(self.table.min()) > 0 or longest > LONGEST:
            raise UsageError(
                f"steps of {float(self.table.min()):.3g} to {float(self.table.max()):.3g} white units with "
                f"{leapfrogs} leapfrogs; steps must be above 0 and leapfrogs x step at most {LONGEST} "
                f"(it is {longest:.3g}): near pi every proposal is accepted and nothing mixes. Take fewer leapfrogs"
            )

    @classmethod
    def of(cls, name: str, tuned: Mapping[str, float], leapfrogs: int) -> FrozenSteps:
        """The table that ``named`` has written into tuned numbers."""
        table = [number(f"{name}_{i:02d}", tuned) for i in range(ENTRIES)]
        return cls(torch.tensor(table, dtype=torch.float64), leapfrogs)

    def init(self, images: int, device: torch.device | str = "cpu") -> Steps:
        nothing = torch.zeros(images, dtype=torch.float64, device=device)
        return Steps(nothing, nothing)

    def size(self, steps: Steps, share: float) -> Tensor:
        place = share * (len(self.table) - 1)
        low = min(int(place), len(self.table) - 1)
        high = min(low + 1, len(self.table) - 1)
        between = self.table[low] + (place - low) * (self.table[high] - self.table[low])
        return torch.full_like(steps.size, float(between))

    def update(self, steps: Steps, chance: Tensor) -> Steps:
        return steps


def smoothed(steps: Tensor, width: int = 25) -> Tensor:
    """Steps by temperature [T - 1] as a table along the path: running geometric means, [``ENTRIES``]."""
    logs = steps.log()
    half = max(1, min(width, len(logs) // 8))
    centres = torch.linspace(0, len(logs) - 1, ENTRIES).round().long().tolist()
    means = torch.stack([logs[max(0, c - half) : c + half + 1].mean() for c in centres]).exp()
    return means.clamp(steps.min(), steps.max())  # exp of log may round up over the longest step


def named(name: str, table: Tensor) -> dict[str, float]:
    """A table of steps as numbers by name, in the order of the path."""
    return {f"{name}_{i:02d}": float(step) for i, step in enumerate(table)}


def number(name: str, tuned: Mapping[str, float]) -> float:
    """One tuned number. Raises UsageError where it is missing."""
    if name not in tuned:
        raise UsageError(
            f"the tuned numbers lack {name!r} (there are {len(tuned)}); tune the sampler on this model first"
        )
    return tuned[name]
