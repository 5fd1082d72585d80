"""Settings of the prior path in the model's metric; the chains are in ``prior_annealing.py``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from preimage.harness.samplers.ranges import (
    chain_cost,
    check_chains,
    check_evaluations,
    check_resampling,
    check_share,
    check_transition,
)
from preimage.harness.settings import option

if TYPE_CHECKING:
    from preimage.harness.samplers.curvature import Curvature
    from preimage.harness.samplers.interface import Estimate, Exact
    from preimage.harness.samplers.likelihood import Likelihood
    from preimage.harness.streams import Streams


@dataclass(frozen=True)
class PriorPath:
    """From the prior, at temperatures evenly spaced in the model's curvature, which is the mass matrix too.

    The momentum persists; steps by temperature are tuned once per model on pilot chains, then frozen.
    """

    name: ClassVar[str] = "prior-path"

    evaluations: int = option(2500, "gradient evaluations per chain")
    chains: int = option(4, "chains per image")
    leapfrogs: int = option(2, "leapfrog steps per transition")
    persistence: float = option(0.8, "share of the momentum that the next transition keeps, 0 to below 1")
    shift: float = option(0.1, "how far the level moves that a transition must pass to be taken; 1: drawn anew")
    acceptance: float = option(0.85, "acceptance that tuning of the steps aims at")
    resamplings: int = option(50, "times on the whole path that chains are resampled by their weights; 0: never")
    resampled_after: float = option(0.5, "share of the path before which they are not: chains find modes apart there")

    def __post_init__(self) -> None:
        check_chains(self.chains)
        check_transition(self.leapfrogs, self.persistence, self.shift)
        check_evaluations(self.evaluations, self.leapfrogs)
        check_share("acceptance", self.acceptance)
        check_resampling(self.resamplings, self.resampled_after)

    @property
    def needs_curvature(self) -> bool:
        """It does: for temperatures and masses."""
        return True

    @property
    def needs_tuning(self) -> bool:
        """It does: for its steps."""
        return True

    def cost(self, dim: int, upper: bool = False) -> int:
        """Exact generator evaluations of one image, all chains; of both bounds where ``upper``."""
        return self.chains * chain_cost(self.evaluations, self.leapfrogs) * (2 if upper else 1)

    def tuning_cost(self, dim: int, images: int) -> int:
        """One forward run."""
        return images * self.cost(dim)

    def tune(self, likelihood: Likelihood, curve: Curvature | None, streams: Streams, exact: Exact) -> dict[str, float]:
        """``prior_step_00`` ... along the path, from pilot chains."""
        from preimage.harness.samplers.prior_annealing import tune_prior

        return tune_prior(self, likelihood, curve, streams)

    def estimate(
        self,
        likelihood: Likelihood,
        curve: Curvature | None,
        tuned: Mapping[str, float],
        streams: Streams,
        exact: Exact | None = None,
    ) -> Estimate:
        """Lower bounds, and upper ones where the exact codes are given."""
        from preimage.harness.samplers.prior_annealing import prior_estimate

        return prior_estimate(self, likelihood, curve, tuned, streams, exact)
