"""Settings of the prior path in the model's metric; the chains are in ``prior_annealing.py``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from preimage.harness.samplers.moves import Moves
from preimage.harness.samplers.ranges import chain_cost

if TYPE_CHECKING:
    from preimage.harness.samplers.curvature import Curvature
    from preimage.harness.samplers.interface import Estimate, Exact
    from preimage.harness.samplers.likelihood import Likelihood
    from preimage.harness.streams import Streams


@dataclass(frozen=True)
class PriorPath(Moves):
    """From the prior, at temperatures evenly spaced in the model's curvature, which is the mass matrix too.

    The momentum persists; steps by temperature are tuned once per model on pilot chains, then frozen.
    """

    name: ClassVar[str] = "prior-path"

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
