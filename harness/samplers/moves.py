"""What every sampler in the model's metric is told of its chains: how many there are, how they move, when they meet."""

from __future__ import annotations

from dataclasses import dataclass

from preimage.harness.samplers.ranges import (
    check_chains,
    check_evaluations,
    check_resampling,
    check_share,
    check_transition,
)
from preimage.harness.settings import option


@dataclass(frozen=True)
class Moves:
    """Settings of chains whose steps are tuned once per model, then frozen (see ``PriorPath``, ``Laplace``).

    Raises UsageError where no chain could have them.
    """

    evaluations: int = option(2500, "gradient evaluations per chain, in which all that a lower bound takes is counted")
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
        """They do: for temperatures and masses."""
        return True

    @property
    def needs_tuning(self) -> bool:
        """They do: for their steps."""
        return True
