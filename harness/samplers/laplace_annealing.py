"""Annealing from the tempered Laplace law around each image's best code, mixed with the pilot that found it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from preimage.harness.samplers.anneal import anneal, check_alive
from preimage.harness.samplers.bounds import mixed
from preimage.harness.samplers.curvature import Curvature, blended, image_curvature
from preimage.harness.samplers.descent import Descents, best_mode, highest
from preimage.harness.samplers.estimating import Both, both_ways, in_shares, rule_of, transition
from preimage.harness.samplers.interface import Estimate, Exact
from preimage.harness.samplers.laplace import Laplace
from preimage.harness.samplers.laplace_start import laplace_path
from preimage.harness.samplers.likelihood import Likelihood
from preimage.harness.samplers.prior_annealing import prior_runs, required, tune_prior
from preimage.harness.samplers.ranges import LONGEST, intervals_for
from preimage.harness.samplers.stepping import FrozenSteps, TunedSteps, named, number, smoothed
from preimage.harness.streams import Streams


class Start(NamedTuple):
    """Where the measured chains start: u* [n, dim], A_x there (blended with the model's), and the pilot's chains."""

    u: Tensor
    curve: Curvature
    pilot: Both


def tune_laplace(
    settings: Laplace, likelihood: Likelihood, curve: Curvature | None, streams: Streams, exact: Exact
) -> dict[str, float]:
    """The temperature of the start and the steps with the least mean gap on images simulated for this alone."""
    tuned = tune_prior(settings.prior_path(settings.evaluations), likelihood, curve, streams)
    start = start_of(settings, likelihood, curve, tuned, streams, exact)
    choices = []
    for b0 in settings.b0:
        rule = TunedSteps(target=settings.acceptance, most=LONGEST / settings.leapfrogs)
        path = laplace_path(likelihood, start.u, start.curve, b0, intervals(settings, likelihood))
        run = check_alive(anneal(path, transition(settings), rule, streams, settings.chains))
        choice = {"b0": b0} | named("laplace_step", smoothed(run.steps[0]))
        runs = measured(settings, likelihood, start, choice, streams, exact)
        for share in settings.share:
            lower, upper = bounds(runs, start.pilot, share)
            gap = math.inf if upper is None else float((upper - lower).mean())
            choices.append((gap if math.isfinite(gap) else math.inf, choice | {"share": share}))
    return tuned | min(choices, key=lambda choice: choice[0])[1]


def laplace_estimate(
    settings: Laplace,
    likelihood: Likelihood,
    curve: Curvature | None,
    tuned: Mapping[str, float],
    streams: Streams,
    exact: Exact | None = None,
) -> Estimate:
    """The bounds of the mixture; acceptance, steps and chains are those of the measured run."""
    before = likelihood.evaluations.clone()
    start = start_of(settings, likelihood, curve, tuned, streams, exact)
    runs = measured(settings, likelihood, start, tuned, streams, exact)
    (lower, upper), run = bounds(runs, start.pilot, number("share", tuned)), runs.forward
    (u, joint), (pilot_u, pilot_joint) = runs.last(), start.pilot.last()
    best = torch.cat([joint, pilot_joint], dim=1).argmax(dim=1)
    return Estimate(
        lower=lower,
        upper=upper,
        ess=run.ess,
        acceptance=run.chance,
        profile=in_shares(run.acceptance),
        step=run.steps.mean(dim=1),
        non_finite=run.non_finite,
        dead=run.dead.sum(dim=1),
        log_weight=run.log_weight,
        pilot_log_weight=start.pilot.forward.log_weight,
        code=likelihood.chart.code(torch.cat([u, pilot_u], dim=1)[torch.arange(len(u)), best]).detach(),
        evaluations=likelihood.evaluations - before,
        borrowed=start.curve.borrowed,
    )


def start_of(
    settings: Laplace,
    likelihood: Likelihood,
    curve: Curvature | None,
    tuned: Mapping[str, float],
    streams: Streams,
    exact: Exact | None,
) -> Start:
    """The pilot's chains both ways, and from its forward ones alone where the measured chains start."""
    settings.budget(likelihood.space.dim)  # refused before anything is spent
    model = required(curve, settings.name)
    pilot = prior_runs(settings.pilot_sampler(), likelihood, model, tuned, streams, exact)
    check_alive(pilot.forward)
    dim = likelihood.space.dim
    fresh = likelihood.chart.draw(streams, settings.draws, dim)
    descents = Descents(settings.descent, settings.starts, settings.kept, settings.heat)
    u = best_mode(likelihood, model, highest(*pilot.last(), settings.kept), fresh, descents)
    return Start(u, blended(image_curvature(likelihood, u, model), model, settings.blend), pilot)


def measured(
    settings: Laplace,
    likelihood: Likelihood,
    start: Start,
    tuned: Mapping[str, float],
    streams: Streams,
    exact: Exact | None,
) -> Both:
    """The chains from the tempered Laplace law, both ways."""
    path = laplace_path(likelihood, start.u, start.curve, number("b0", tuned), intervals(settings, likelihood))
    steps = FrozenSteps.of("laplace_step", tuned, settings.leapfrogs)
    return both_ways(path, rule_of(settings, path, steps), streams, exact)


def bounds(runs: Both, pilot: Both, share: float) -> tuple[Tensor, Tensor | None]:
    """The bounds of the mixture of the weights of two runs on the same images."""
    upper = None if runs.upper is None or pilot.upper is None else -mixed(-runs.upper, -pilot.upper, share)
    return mixed(runs.lower, pilot.lower, share), upper


def intervals(settings: Laplace, likelihood: Likelihood) -> int:
    """Temperatures above 0 of the measured chains."""
    return intervals_for(settings.budget(likelihood.space.dim).measured, settings.leapfrogs)
