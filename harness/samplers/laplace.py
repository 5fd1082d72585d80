"""Settings of the tempered Laplace start; the chains are in ``laplace_annealing.py``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from preimage.harness.errors import UsageError
from preimage.harness.samplers.moves import Moves
from preimage.harness.samplers.prior_path import PriorPath
from preimage.harness.samplers.ranges import chain_cost, check_evaluations, check_share
from preimage.harness.settings import option

if TYPE_CHECKING:
    from preimage.harness.samplers.curvature import Curvature
    from preimage.harness.samplers.interface import Estimate, Exact
    from preimage.harness.samplers.likelihood import Likelihood
    from preimage.harness.streams import Streams


class Budget(NamedTuple):
    """What the evaluations of a chain go to: pilot and measured chains, each per chain; the search for the best code
    and the Jacobian there, per image."""

    pilot: int
    measured: int
    search: int


@dataclass(frozen=True)
class Laplace(Moves):
    """L-BFGS from the ends of a prior-path pilot, and from the nearest of some prior draws under more noise first,
    finds u*; measured chains start from the tempered Laplace law there, in the image's own curvature. The bounds are
    those of a fixed mixture of both runs' weights.
    """

    name: ClassVar[str] = "laplace"

    pilot: float = option(0.25, "share of the evaluations for the pilot")
    pilot_least: int = option(300, "evaluations per chain of the pilot, at least")
    b0: tuple[float, ...] = option((0.02, 0.1, 0.5), "temperatures of the start that tuning chooses from, per model")
    share: tuple[float, ...] = option((0.9, 0.99), "of the start in the mixture of weights, chosen likewise")
    blend: float = option(0.2, "share of the model's mean curvature in each image's own")
    search: float = option(0.16, "share of the evaluations for descents to the best code")
    draws: int = option(64, "draws of the prior among which descents find a start")
    starts: int = option(8, "the nearest draws, from which descents under more noise start")
    heat: float = option(30.0, "noise variance over sigma2 of those descents")
    kept: int = option(2, "the best of them, and of the pilot's chains, from which descents go down to the end")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share("pilot", self.pilot)
        check_share("search", self.search)
        check_evaluations(self.pilot_least, self.leapfrogs)
        for name, choices, example in (("b0", self.b0, 0.1), ("share", self.share, 0.9)):
            for value in choices:
                check_share(name, value)
            if not choices:
                raise UsageError(f"{name} is empty; tuning needs a value to choose from, e.g. {name}=[{example}]")
        if not 0 <= self.blend <= 1:
            raise UsageError(f"blend is {self.blend}; a share lies between 0 and 1")
        if not 0 < self.heat < math.inf:
            raise UsageError(f"heat is {self.heat}; it multiplies sigma2, e.g. heat=30")
        if not 1 <= self.kept <= self.starts <= self.draws or self.kept > self.chains:
            raise UsageError(
                f"draws, starts and kept are {self.draws}, {self.starts} and {self.kept}; each is at most the one "
                f"before it, kept at least 1 and at most chains ({self.chains}), e.g. draws=64 starts=8 kept=2"
            )

    def pilot_sampler(self) -> PriorPath:
        """The pilot as a sampler of its own."""
        spent = max(self.pilot_least, round(self.pilot * self.evaluations))
        return self.prior_path(spent)

    def prior_path(self, evaluations: int) -> PriorPath:
        """A prior path of so many evaluations whose chains move as these do, and go apart: what starts a search should
        have seen several modes."""
        return PriorPath(
            evaluations, self.chains, self.leapfrogs, self.persistence, self.shift, self.acceptance, resamplings=0
        )

    @property
    def descent(self) -> int:
        """Evaluations of one of the first descents; those that go down to the end have twice as many."""
        total = round(self.search * self.evaluations * self.chains) - self.draws
        return max(1, total // (self.starts + 4 * self.kept))

    def budget(self, dim: int) -> Budget:
        """How the evaluations are shared out. Raises UsageError where too few are left for the measured chains."""
        pilot = self.pilot_sampler().evaluations
        descents = self.descent * (self.starts + 4 * self.kept)
        search = self.draws + descents + self.starts + 2 * self.kept + dim  # each descent's end is judged once
        left = self.evaluations - pilot - -(-search // self.chains)
        if left < 1 + self.leapfrogs:
            raise UsageError(
                f"{self.evaluations} evaluations per chain leave {left} after the pilot ({pilot}) and the search for "
                f"the best code ({search} per image). Raise evaluations, or take the sampler prior-path"
            )
        return Budget(pilot, left, search)

    def cost(self, dim: int, upper: bool = False) -> int:
        """Exact generator evaluations of one image, all chains; of both bounds where ``upper``."""
        budget = self.budget(dim)
        chains = self.pilot_sampler().cost(dim) + self.chains * chain_cost(budget.measured, self.leapfrogs)
        return budget.search + chains * (2 if upper else 1)

    def tuning_cost(self, dim: int, images: int) -> int:
        """Steps of the prior path; the starts with both bounds of their pilot; three runs for each ``b0``."""
        budget, steps = self.budget(dim), chain_cost(self.evaluations, self.leapfrogs)
        measured = self.chains * chain_cost(budget.measured, self.leapfrogs)
        start = self.pilot_sampler().cost(dim, upper=True) + budget.search
        return images * (self.chains * steps + start + 3 * len(self.b0) * measured)

    def tune(self, likelihood: Likelihood, curve: Curvature | None, streams: Streams, exact: Exact) -> dict[str, float]:
        """``prior_step_00`` ..., ``b0``, ``share`` and ``laplace_step_00`` ...: those with the least mean gap."""
        from preimage.harness.samplers.laplace_annealing import tune_laplace

        return tune_laplace(self, likelihood, curve, streams, exact)

    def estimate(
        self,
        likelihood: Likelihood,
        curve: Curvature | None,
        tuned: Mapping[str, float],
        streams: Streams,
        exact: Exact | None = None,
    ) -> Estimate:
        """Lower bounds, and upper ones where the exact codes are given."""
        from preimage.harness.samplers.laplace_annealing import laplace_estimate

        return laplace_estimate(self, likelihood, curve, tuned, streams, exact)
