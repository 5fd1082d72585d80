"""Settings of annealed importance sampling as it was published; the chains are in ``prior_annealing.py``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from preimage.harness.samplers.ranges import chain_cost, check_chains, check_evaluations, check_transition
from preimage.harness.settings import option

if TYPE_CHECKING:
    from preimage.harness.samplers.curvature import Curvature
    from preimage.harness.samplers.interface import Estimate, Exact
    from preimage.harness.samplers.likelihood import Likelihood
    from preimage.harness.streams import Streams


@dataclass(frozen=True)
class Published:
    """A sigmoid schedule from the prior, 10 leapfrogs, no metric, the step adapted on the way.

    Wu et al., ICLR 2017, whose released code has one step for all images; here each image has its own, shared by its
    chains. Adapting while measuring makes the bound one in the limit of slow adaptation only.
    """

    name: ClassVar[str] = "published"

    evaluations: int = option(2500, "gradient evaluations per chain; published: 4,991, that are 500 temperatures")
    chains: int = option(4, "chains per image")
    leapfrogs: int = option(10, "leapfrog steps per transition")
    rad: float = option(4.0, "range of the sigmoid that spaces the temperatures")
    step: float = option(0.05, "step at the start, code units")
    target: float = option(0.65, "acceptance to aim at")
    up: float = option(1.02, "factor on the step per transition above the target")
    down: float = option(0.98, "factor on the step per transition below the target")
    memory: float = option(0.9, "decay of the moving average of acceptance per transition")
    shortest: float = option(1e-4, "shortest step, code units")
    longest: float = option(0.5, "longest step, code units")

    def __post_init__(self) -> None:
        check_chains(self.chains)
        check_transition(self.leapfrogs, persistence=0.0, shift=1.0)
        check_evaluations(self.evaluations, self.leapfrogs)

    @property
    def needs_curvature(self) -> bool:
        """No: its coordinates are the codes'."""
        return False

    @property
    def needs_tuning(self) -> bool:
        """No: it adapts while it measures."""
        return False

    def cost(self, dim: int, upper: bool = False) -> int:
        """Exact generator evaluations of one image, all chains; of both bounds where ``upper``."""
        return self.chains * chain_cost(self.evaluations, self.leapfrogs) * (2 if upper else 1)

    def tuning_cost(self, dim: int, images: int) -> int:
        """Nothing."""
        return 0

    def tune(self, likelihood: Likelihood, curve: Curvature | None, streams: Streams, exact: Exact) -> dict[str, float]:
        """Nothing."""
        return {}

    def estimate(
        self,
        likelihood: Likelihood,
        curve: Curvature | None,
        tuned: Mapping[str, float],
        streams: Streams,
        exact: Exact | None = None,
    ) -> Estimate:
        """Lower bounds, and upper ones where the exact codes are given."""
        from preimage.harness.samplers.prior_annealing import published_estimate

        return published_estimate(self, likelihood, streams, exact)
