"""Annealing from the prior: as published, and in the model's metric at spectral temperatures (METHODS 9 and 13.1)."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from preimage.harness.errors import UsageError
from preimage.harness.samplers.anneal import anneal, check_alive
from preimage.harness.samplers.curvature import Curvature
from preimage.harness.samplers.estimating import Both, Rule, both_ways, estimate_of, rule_of, transition
from preimage.harness.samplers.hmc import Hmc
from preimage.harness.samplers.interface import Estimate, Exact
from preimage.harness.samplers.likelihood import Likelihood
from preimage.harness.samplers.path import Path
from preimage.harness.samplers.prior_path import PriorPath
from preimage.harness.samplers.published import Published
from preimage.harness.samplers.ranges import LONGEST, intervals_for
from preimage.harness.samplers.schedules import sigmoid_schedule, spectral_schedules
from preimage.harness.samplers.stepping import AdaptedSteps, FrozenSteps, TunedSteps, named, smoothed
from preimage.harness.streams import Streams


def published_estimate(
    settings: Published, likelihood: Likelihood, streams: Streams, exact: Exact | None = None
) -> Estimate:
    """Bounds by the published recipe."""
    before = likelihood.evaluations.clone()
    device = likelihood.target.device
    schedule = sigmoid_schedule(intervals_for(settings.evaluations, settings.leapfrogs), settings.rad).to(device)
    path = Path(likelihood, schedule, torch.zeros(likelihood.space.dim, dtype=torch.float64, device=device))
    rule = Rule(Hmc(settings.leapfrogs, 0.0), AdaptedSteps.of(settings), settings.chains)
    return estimate_of(both_ways(path, rule, streams, exact), before)


def prior_path(settings: PriorPath, likelihood: Likelihood, curve: Curvature) -> Path:
    """The path of these images: temperatures and masses by the curvature of each."""
    count = intervals_for(settings.evaluations, settings.leapfrogs)
    temperatures = spectral_schedules(count, curve.eigenvalues)
    return Path(likelihood.rotated(curve.rotation), temperatures, curve.eigenvalues)


def tune_prior(
    settings: PriorPath, likelihood: Likelihood, curve: Curvature | None, streams: Streams
) -> dict[str, float]:
    """Steps by temperature, from pilot chains on images simulated for this alone, with their own streams."""
    rule = TunedSteps(target=settings.acceptance, most=LONGEST / settings.leapfrogs)
    path = prior_path(settings, likelihood, required(curve, settings.name))
    run = check_alive(anneal(path, transition(settings), rule, streams, settings.chains))
    return named("prior_step", smoothed(run.steps[0]))


def prior_runs(
    settings: PriorPath,
    likelihood: Likelihood,
    curve: Curvature | None,
    tuned: Mapping[str, float],
    streams: Streams,
    exact: Exact | None,
) -> Both:
    """The chains of the prior path, both ways."""
    steps = FrozenSteps.of("prior_step", tuned, settings.leapfrogs)
    path = prior_path(settings, likelihood, required(curve, settings.name))
    return both_ways(path, rule_of(settings, path, steps), streams, exact)


def prior_estimate(
    settings: PriorPath,
    likelihood: Likelihood,
    curve: Curvature | None,
    tuned: Mapping[str, float],
    streams: Streams,
    exact: Exact | None = None,
) -> Estimate:
    """Bounds by the prior path."""
    before = likelihood.evaluations.clone()
    return estimate_of(prior_runs(settings, likelihood, curve, tuned, streams, exact), before)


def required(curve: Curvature | None, who: str) -> Curvature:
    """The curvature. Raises UsageError where it is missing."""
    if curve is None:
        raise UsageError(
            f"the sampler {who} works in the model's curvature, and none was given. Measure it first, or take "
            "the sampler published"
        )
    return curve
