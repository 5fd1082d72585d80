"""Step sizes of the transitions along a path, in white units: adapted on the way, or frozen beforehand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from preimage.harness.errors import UsageError
from preimage.harness.samplers.hmc import LONGEST, Hmc
from preimage.harness.settings import option


class Steps(NamedTuple):
    """Where an adaptation stands: step and moving average of acceptance, [n] each float64."""

    size: Tensor
    average: Tensor


class Stepping(Protocol):
    """The rule for step sizes. ``share``: the place on the path, index of the temperature over their number."""

    def init(self, images: int) -> Steps: ...

    def size(self, steps: Steps, share: float) -> Tensor:
        """The step of each image there, [n] float64."""
        ...

    def update(self, steps: Steps, chance: Tensor) -> Steps:
        """What a transition's chances of acceptance [n, chains] make of it."""
        ...


@dataclass(frozen=True)
class AdaptedSteps:
    """One step per image, shared by its chains: longer where the average acceptance is above the target, else shorter.

    It looks at the measured chains, so the bound is one in the limit of slow adaptation only.
    Wu et al., ICLR 2017, whose released code has one step for all images.
    """

    first: float = option(0.05, "step at the start, code units")
    target: float = option(0.65, "acceptance to aim at")
    up: float = option(1.02, "factor per transition above the target")
    down: float = option(0.98, "factor per transition below the target")
    memory: float = option(0.9, "decay of the moving average of acceptance per transition")
    least: float = option(1e-4, "shortest step, code units")
    most: float = option(0.5, "longest step, code units")

    def init(self, images: int) -> Steps:
        first = torch.full((images,), self.first, dtype=torch.float64)
        return Steps(first, torch.full_like(first, self.target))

    def size(self, steps: Steps, share: float) -> Tensor:
        return steps.size

    def update(self, steps: Steps, chance: Tensor) -> Steps:
        average = self.memory * steps.average + (1 - self.memory) * chance.mean(dim=1)
        factor = torch.where(average > self.target, self.up, self.down)
        return Steps((steps.size * factor).clamp(self.least, self.most), average)


@dataclass(frozen=True)
class TunedSteps:
    """One step for all images of a pilot, which follows the acceptance along the path; what it was is then frozen."""

    first: float = option(0.6, "step at the start, white units")
    target: float = option(0.8, "acceptance to aim at")
    rate: float = option(0.2, "change of log step per transition and unit of acceptance missed")
    most: float = option(0.9, "longest step, white units")

    def init(self, images: int) -> Steps:
        first = torch.full((images,), min(self.first, self.most), dtype=torch.float64)
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

    def __init__(self, table: Tensor, sampler: Hmc) -> None:
        self.table = table.double()
        longest = float(self.table.max()) * sampler.leapfrogs
        if not float(self.table.min()) > 0 or longest > LONGEST:
            raise UsageError(
                f"steps of {float(self.table.min()):.3g} to {float(self.table.max()):.3g} white units with "
                f"{sampler.leapfrogs} leapfrogs; steps must be above 0 and leapfrogs x step at most {LONGEST} "
                f"(it is {longest:.3g}): near pi every proposal is accepted and nothing mixes. Take fewer leapfrogs"
            )

    def init(self, images: int) -> Steps:
        return Steps(torch.zeros(images, dtype=torch.float64), torch.zeros(images, dtype=torch.float64))

    def size(self, steps: Steps, share: float) -> Tensor:
        place = share * (len(self.table) - 1)
        low = min(int(place), len(self.table) - 1)
        high = min(low + 1, len(self.table) - 1)
        return (self.table[low] + (place - low) * (self.table[high] - self.table[low])).expand_as(steps.size)

    def update(self, steps: Steps, chance: Tensor) -> Steps:
        return steps
