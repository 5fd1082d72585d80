"""Both directions of a path, and the estimate that they make."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from preimage.harness.samplers.anneal import Run, anneal, anneal_back, anneal_beside, check_alive
from preimage.harness.samplers.bounds import log_mean, lower_bound, upper_bound
from preimage.harness.samplers.hmc import Hmc
from preimage.harness.samplers.interface import SHARES, Estimate, Exact
from preimage.harness.samplers.moves import Moves
from preimage.harness.samplers.path import Path
from preimage.harness.samplers.resampling import resampling_points
from preimage.harness.samplers.stepping import Stepping
from preimage.harness.streams import Streams


class Both(NamedTuple):
    """The forward chains of a path, and the upper bound [n] float64 where the exact codes were known."""

    path: Path
    forward: Run
    upper: Tensor | None

    @property
    def lower(self) -> Tensor:
        """The lower bound, [n] float64."""
        return lower_bound(self.forward.log_weight)

    def last(self) -> tuple[Tensor, Tensor]:
        """Where the forward chains ended, in the chart's coordinates [n, chains, dim], and their log joint density
        [n, chains], -inf where it is not finite."""
        joint = self.forward.log_joint
        return self.path.likelihood.to_chart(self.forward.position), torch.where(joint.isfinite(), joint, -torch.inf)


class Rule(NamedTuple):
    """How chains move: the transition, its step sizes, how many chains per image, after which transitions they are
    resampled."""

    sampler: Hmc
    stepping: Stepping
    chains: int
    points: frozenset[int] = frozenset()


def transition(settings: Moves) -> Hmc:
    """The transition that the settings ask for."""
    return Hmc(settings.leapfrogs, settings.persistence, settings.shift)


def rule_of(settings: Moves, path: Path, stepping: Stepping) -> Rule:
    """How chains that are measured move along the path."""
    points = resampling_points(len(path.temperatures), settings.resamplings, settings.resampled_after)
    return Rule(transition(settings), stepping, settings.chains, points)


def both_ways(path: Path, rule: Rule, streams: Streams, exact: Exact | None) -> Both:
    """Forward chains, and the upper bound where the exact coordinates are given: from independent reverse chains, or
    from one of them beside chains that are resampled."""
    sampler, stepping, chains, points = rule
    forward = anneal(path, sampler, stepping, streams, chains, points)
    if exact is None:
        return Both(path, forward, None)
    start = path.likelihood.to_frame(exact.u.unsqueeze(1))
    if points:
        beside = check_alive(anneal_beside(path, sampler, stepping, exact.streams, start, chains, points))
        return Both(path, forward, log_mean(beside.log_weight))
    back = check_alive(anneal_back(path, sampler, stepping, exact.streams, start.expand(-1, chains, -1)))
    return Both(path, forward, upper_bound(back.log_weight))


def best_code(runs: Both) -> Tensor:
    """For each image the last code of the chain with the highest joint density, in the chart's coordinates [n, dim]."""
    u, joint = runs.last()
    return u[torch.arange(len(u)), joint.argmax(dim=1)]


def estimate_of(runs: Both, before: Tensor) -> Estimate:
    """The estimate of a path that was annealed both ways. before: evaluations counted until then, [n].

    Raises GeneratorError where every chain of an image died.
    """
    run, like = check_alive(runs.forward), runs.path.likelihood
    return Estimate(
        lower=runs.lower,
        upper=runs.upper,
        ess=run.ess,
        acceptance=run.chance,
        profile=in_shares(run.acceptance),
        step=run.steps.mean(dim=1),
        non_finite=run.non_finite,
        dead=run.dead.sum(dim=1),
        log_weight=run.log_weight,
        pilot_log_weight=None,
        code=like.chart.code(best_code(runs)).detach(),
        evaluations=like.evaluations - before,
        borrowed=torch.zeros(len(like), dtype=torch.bool),
    )


def in_shares(along: Tensor, shares: int = SHARES) -> Tensor:
    """Means over equal shares of the path, [n, transitions] -> [n, shares]; a transition may belong to several."""
    means: Tensor = torch.nn.functional.adaptive_avg_pool1d(along, shares)
    return means
