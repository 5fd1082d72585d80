"""The three ways to anneal: as published, along the prior path, and from a tempered Laplace start (METHODS 9, 13)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from preimage.harness.errors import UsageError
from preimage.harness.samplers.anneal import Run, anneal, anneal_back, check_alive, intervals_for
from preimage.harness.samplers.bounds import effective_chains, lower_bound, mixed, upper_bound
from preimage.harness.samplers.curvature import Curvature, blended, image_curvature
from preimage.harness.samplers.hmc import LONGEST, Hmc
from preimage.harness.samplers.laplace import DAMPINGS, best_position, laplace_path, polish
from preimage.harness.samplers.likelihood import Likelihood
from preimage.harness.samplers.path import Path
from preimage.harness.samplers.schedules import sigmoid_schedule, spectral_schedule
from preimage.harness.samplers.stepping import AdaptedSteps, FrozenSteps, Stepping, TunedSteps
from preimage.harness.settings import option
from preimage.harness.streams import Streams


class Estimate(NamedTuple):
    """log p(x) of each image. lower: [n]; upper: [n], where the exact codes were given. ess: over forward chains [n].

    runs: by name (``forward``, ``back``, ``pilot``, ``pilot back``). evaluations: what the lower bound alone cost, per
    image over all chains, everything counted.
    """

    lower: Tensor
    upper: Tensor | None
    ess: Tensor
    runs: dict[str, Run]
    evaluations: Tensor


class Exact(NamedTuple):
    """Where simulated images came from, for their upper bounds: coordinates u [n, dim], and the reverse chains' own
    streams, so that lower bounds are the same with and without."""

    u: Tensor
    streams: Streams


class Tuned(NamedTuple):
    """What is fixed for a model before anything is measured: its mean curvature, and steps along its prior path."""

    curve: Curvature
    steps: FrozenSteps


@dataclass(frozen=True)
class Published:
    """Wu et al., ICLR 2017: sigmoid schedule from the prior, 10 leapfrogs, step adapted per image."""

    evaluations: int = option(4991, "gradient evaluations per chain; 4,991 are 500 temperatures")
    chains: int = option(4, "chains per image")
    leapfrogs: int = option(10, "leapfrog steps per transition")
    rad: float = option(4.0, "range of the sigmoid that spaces the temperatures")
    adapt: AdaptedSteps = field(default_factory=AdaptedSteps)

    def estimate(self, likelihood: Likelihood, streams: Streams, exact: Exact | None = None) -> Estimate:
        """Lower bounds, and upper ones where the exact codes are given."""
        check_chains(self.chains)
        sampler = Hmc(self.leapfrogs, 0.0)
        schedule = sigmoid_schedule(intervals_for(self.evaluations, self.leapfrogs), self.rad)
        path = Path(likelihood, schedule, torch.zeros(likelihood.space.dim, dtype=torch.float64))
        return _estimate(path, sampler, self.adapt, streams, self.chains, exact)


@dataclass(frozen=True)
class PriorPath:
    """From the prior at spectral temperatures, in the model's metric, with persistent momentum and frozen steps."""

    evaluations: int = option(2500, "gradient evaluations per chain")
    chains: int = option(4, "chains per image")
    sampler: Hmc = field(default_factory=Hmc)

    def path(self, likelihood: Likelihood, curve: Curvature, evaluations: int | None = None) -> Path:
        """The path of these images for a number of gradient evaluations per chain."""
        count = intervals_for(evaluations or self.evaluations, self.sampler.leapfrogs)
        temperatures = spectral_schedule(count, curve.eigenvalues)
        return Path(likelihood.rotated(curve.rotation), temperatures, curve.eigenvalues)

    def tune(
        self, likelihood: Likelihood, curve: Curvature, streams: Streams, tuning: TunedSteps | None = None
    ) -> FrozenSteps:
        """Steps by temperature, from pilot chains on images simulated for this alone, with their own streams."""
        tuning = tuning or TunedSteps(most=LONGEST / self.sampler.leapfrogs)
        run = check_alive(anneal(self.path(likelihood, curve), self.sampler, tuning, streams, self.chains))
        return Tuned(curve, FrozenSteps(smoothed(run.steps[0]), self.sampler))

    def estimate(
        self,
        likelihood: Likelihood,
        tuned: Tuned,
        streams: Streams,
        exact: Exact | None = None,
    ) -> Estimate:
        """Lower bounds, and upper ones where the exact codes are given."""
        check_chains(self.chains)
        return _estimate(self.path(likelihood, tuned.curve), self.sampler, tuned.steps, streams, self.chains, exact)


@dataclass(frozen=True)
class Laplace:
    """A prior-path pilot finds u*, Levenberg-Marquardt polishes it; measured chains start from the tempered Laplace law
    there. The bounds are those of the fixed mixture of both runs' weights."""

    evaluations: int = option(2500, "gradient evaluations per chain, pilot and Jacobians included")
    chains: int = option(4, "chains per image")
    sampler: Hmc = field(default_factory=Hmc)
    pilot: float = option(0.25, "share of the evaluations for the pilot")
    pilot_least: int = option(300, "evaluations per chain of the pilot, at least")
    b0: tuple[float, ...] = option((0.01, 0.1, 0.5), "temperatures of the Laplace law to choose from, per model")
    blend: float = option(0.2, "share of the model's mean curvature in each image's own")
    polish: int = option(3, "Levenberg-Marquardt steps")

    def tune(self, likelihood: Likelihood, tuned: Tuned, streams: Streams, exact: Exact) -> LaplaceTuned:
        """The temperature of the start and the steps with the least gap on images simulated for this alone."""
        starts = self._start(likelihood, tuned, streams, exact)
        choices = []
        for b0 in self.b0:
            path = laplace_path(likelihood, starts.u, starts.curve, b0, starts.intervals)
            rule = TunedSteps(most=LONGEST / self.sampler.leapfrogs)
            run = check_alive(anneal(path, self.sampler, rule, streams, self.chains))
            steps = FrozenSteps(smoothed(run.steps[0]), self.sampler)
            found = _mixture(_estimate(path, self.sampler, steps, streams, self.chains, exact), starts.pilot)
            gap = math.inf if found.upper is None else float((found.upper - found.lower).mean())
            choices.append((gap, LaplaceTuned(tuned, b0, steps)))
        return min(choices, key=lambda choice: choice[0])[1]

    def estimate(
        self, likelihood: Likelihood, tuned: LaplaceTuned, streams: Streams, exact: Exact | None = None
    ) -> Estimate:
        """Lower bounds, and upper ones where the exact codes are given."""
        starts = self._start(likelihood, tuned.prior, streams, exact)
        path = laplace_path(likelihood, starts.u, starts.curve, tuned.b0, starts.intervals)
        main = _estimate(path, self.sampler, tuned.steps, streams, self.chains, exact)
        found = _mixture(main, starts.pilot)
        return found._replace(evaluations=found.evaluations + starts.jacobians)

    def _start(self, likelihood: Likelihood, tuned: Tuned, streams: Streams, exact: Exact | None) -> Start:
        """The pilot's estimate, and from its forward chains alone where the measured chains start."""
        check_chains(self.chains)
        spent = max(self.pilot_least, round(self.pilot * self.evaluations))
        jacobians = (self.polish + 1) * likelihood.space.dim + self.polish * (1 + len(DAMPINGS))
        left = self.evaluations - spent - -(-jacobians // self.chains)
        if left < 2 * self.sampler.leapfrogs:
            raise UsageError(
                f"{self.evaluations} evaluations per chain leave {left} after the pilot ({spent}) and the "
                f"Jacobians ({jacobians} per image). Raise evaluations, or take the sampler prior-path"
            )
        pilot = PriorPath(spent, self.chains, self.sampler).estimate(likelihood, tuned, streams, exact)
        framed = likelihood.rotated(tuned.curve.rotation)
        u = polish(likelihood, best_position(pilot.runs["forward"], framed), self.polish)
        curve = blended(image_curvature(likelihood, u), tuned.curve, self.blend)
        return Start(pilot, u, curve, intervals_for(left, self.sampler.leapfrogs), jacobians)


class LaplaceTuned(NamedTuple):
    """What is fixed for a model before anything is measured: its prior path, b0 and the steps from there."""

    prior: Tuned
    b0: float
    steps: FrozenSteps


class Start(NamedTuple):
    """Where Laplace chains start: the pilot, u* [n, dim], A_x there, temperatures left, evaluations for Jacobians.

    curve: A_x, blended with the model's.
    """

    pilot: Estimate
    u: Tensor
    curve: Curvature
    intervals: int
    jacobians: int


def _mixture(main: Estimate, pilot: Estimate) -> Estimate:
    """The fixed mixture of the weights of two runs on the same images."""
    upper = None if main.upper is None or pilot.upper is None else -mixed(-main.upper, -pilot.upper)
    runs = main.runs | {f"pilot {name}": run for name, run in pilot.runs.items()}
    return Estimate(mixed(main.lower, pilot.lower), upper, main.ess, runs, main.evaluations + pilot.evaluations)


def check_chains(chains: int) -> None:
    """Raises UsageError for fewer than 2 chains: no effective sample size, no spread."""
    if chains < 2:
        raise UsageError(f"chains is {chains}; at least 2 are needed to see how far chains disagree, e.g. chains=4")


def smoothed(steps: Tensor, entries: int = 33, width: int = 25) -> Tensor:
    """Steps by temperature [T - 1] as a table of ``entries`` along the path: running geometric means."""
    logs = steps.log()
    half = max(1, min(width, len(logs) // 8))
    centres = torch.linspace(0, len(logs) - 1, entries).round().long().tolist()
    return torch.stack([logs[max(0, c - half) : c + half + 1].mean() for c in centres]).exp()


def _estimate(
    path: Path, sampler: Hmc, stepping: Stepping, streams: Streams, chains: int, exact: Exact | None
) -> Estimate:
    """Forward chains, and reverse ones where the exact coordinates [n, dim] are known."""
    forward = check_alive(anneal(path, sampler, stepping, streams, chains))
    runs, upper = {"forward": forward}, None
    if exact is not None:
        start = path.likelihood.to_frame(exact.u.unsqueeze(1)).expand(-1, chains, -1)
        runs["back"] = check_alive(anneal_back(path, sampler, stepping, exact.streams, start))
        upper = upper_bound(runs["back"].log_weight)
    return Estimate(
        lower_bound(forward.log_weight), upper, effective_chains(forward.log_weight), runs, forward.evaluations
    )
