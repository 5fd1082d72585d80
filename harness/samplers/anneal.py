"""Annealed importance sampling, forward from q0 and back from an exact code."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from preimage.harness.errors import GeneratorError
from preimage.harness.samplers.bounds import effective_chains
from preimage.harness.samplers.hmc import Hmc, Rung, State, noises
from preimage.harness.samplers.path import Path
from preimage.harness.samplers.resampling import Trace, continued, resample, trace_back
from preimage.harness.samplers.stepping import Stepping
from preimage.harness.streams import Streams


class Run(NamedTuple):
    """What a run over all temperatures has given, images first.

    log_weight: [n, chains] float64, -inf for a chain that started where the likelihood is not finite; since chains
    were resampled, of all that were then. ess: effective number of chains, the least before any resampling or at the
    end, [n] float64. position: the last ones in the path's frame [n, chains, dim], log_joint: ``log p(u) p(x | u)``
    there, [n, chains].
    acceptance: mean chance over chains, [n, T - 1], by temperature (coldest last); chance: over temperatures,
    [n, chains]. steps: white units, [n, T - 1].
    non_finite: rejected for it, [n] int64. dead: chains that never had a finite likelihood or proposal, [n, chains].
    evaluations: gradient evaluations over all chains, [n] int64.
    """

    log_weight: Tensor
    ess: Tensor
    position: Tensor
    log_joint: Tensor
    acceptance: Tensor
    chance: Tensor
    steps: Tensor
    non_finite: Tensor
    dead: Tensor
    evaluations: Tensor


def anneal(
    path: Path,
    sampler: Hmc,
    stepping: Stepping,
    streams: Streams,
    chains: int,
    points: frozenset[int] = frozenset(),
) -> Run:
    """``w = prod_t Q_t(u_{t-1}) / Q_{t-1}(u_{t-1})`` along t = 1 ... T, u_0 from q0, u_t from a transition at Q_t.

    ``E[w] = p(x)``: the log of the mean of w over chains is below log p(x) on average, also where chains are resampled
    after the transitions ``points``. T temperatures above 0 take T - 1 transitions (none at t = T).
    Neal, Statistics and Computing 11 (2001); resampled: Del Moral, Doucet and Jasra, JRSS B 68 (2006).
    """
    state = sampler.init(path, path.draw(streams, chains), streams)
    order = range(1, len(path.temperatures) - 1)
    return _run(path, sampler, stepping, streams, state, order, forward=True, points=points)


def anneal_beside(
    path: Path,
    sampler: Hmc,
    stepping: Stepping,
    streams: Streams,
    position: Tensor,
    chains: int,
    points: frozenset[int],
) -> Run:
    """Chains that are resampled, one of which was traced back from an exact draw of the posterior [n, 1, dim].

    Such a set of chains has its weight as a density against the forward ones, so ``E[1 / mean w] = 1 / p(x)``: the log
    of the mean of w is above log p(x) on average. ``log_weight`` has the traced chain first; the rest is said of the
    others. As many evaluations as ``chains`` forward ones. Grosse, Ghahramani and Adams, arXiv:1511.02543 (2015).
    """
    trace = trace_back(path, sampler, stepping, streams, position, points)
    state = sampler.init(path, path.draw(streams, chains - 1), streams)
    order = range(1, len(path.temperatures) - 1)
    return _run(path, sampler, stepping, streams, state, order, forward=True, points=points, trace=trace)


def anneal_back(path: Path, sampler: Hmc, stepping: Stepping, streams: Streams, position: Tensor) -> Run:
    """The same chains in reverse, from positions [n, chains, dim] that are exact draws of the posterior.

    ``E[1 / w] = 1 / p(x)``, so minus the log of the mean of 1 / w is above log p(x) on average. A transition is
    refresh, leapfrog, accept or negate; run backwards the leapfrog comes before the refresh, and as the momentum
    starts as an exact draw too, refreshing it before the first leapfrog changes nothing: ``step`` serves both.
    Grosse, Ancha and Roy, NeurIPS 2016 (BDMC).
    """
    state = sampler.init(path, position, streams)
    return _run(path, sampler, stepping, streams, state, range(len(path.temperatures) - 2, 0, -1), forward=False)


def check_alive(run: Run) -> Run:
    """The run, if each image has a chain that lived. Raises GeneratorError that lists the images without one."""
    names = run.dead.all(dim=1).nonzero().squeeze(1).tolist()
    if names:
        raise GeneratorError(
            f"every chain died on {len(names)} of {len(run.dead)} images (indices {names[:10]}): the likelihood or its "
            "gradient was not finite wherever the chains went. Run `preimage check` on the model"
        )
    return run


def _run(
    path: Path,
    sampler: Hmc,
    stepping: Stepping,
    streams: Streams,
    state: State,
    order: range,
    *,
    forward: bool,
    points: frozenset[int] = frozenset(),
    trace: Trace | None = None,
) -> Run:
    n, chains, dim = state.position.shape
    last = len(path.temperatures) - 1
    t = path.temperatures if path.temperatures.dim() == 2 else path.temperatures.unsqueeze(1)
    widths = (t[1:] - t[:-1]).unsqueeze(2)  # [T, 1 or n, 1]
    ratio = torch.where(torch.isfinite(state.value.ratio), state.value.ratio, -torch.inf)
    state = state._replace(value=state.value._replace(ratio=ratio))
    finite = torch.isfinite(ratio)
    log_weight = widths[0 if forward else last - 1] * _beside(trace, 0, ratio)
    device = state.position.device
    ess = torch.full((n,), torch.inf, dtype=torch.float64, device=device)
    steps = stepping.init(n, device)
    acceptance = torch.full((last - 1, n), torch.nan, dtype=torch.float64, device=device)
    sizes = torch.full_like(acceptance, torch.nan)
    non_finite = torch.zeros(n, dtype=torch.int64, device=device)
    moved = torch.full((n, chains), last == 1, device=device)
    chance = torch.zeros(n, chains, dtype=torch.float64, device=device)
    for k, noise in zip(order, noises(streams, chains, dim, len(order)), strict=True):
        size = stepping.size(steps, k / last)
        state, info = sampler.step(path, state, Rung(k, size.reshape(-1, 1, 1)), noise)
        steps = stepping.update(steps, info.chance)
        log_weight = log_weight + widths[k if forward else k - 1] * _beside(trace, k, state.value.ratio)
        acceptance[k - 1], sizes[k - 1] = info.chance.mean(dim=1), size
        chance += info.chance
        non_finite += info.non_finite.sum(dim=1)
        moved |= ~info.non_finite
        if k in points:
            ess = torch.fmin(ess, effective_chains(log_weight))
            state, log_weight, ancestor = resample(state, log_weight, streams, trace and trace.states[k])
            finite, moved = (_continued_flags(flags, ancestor, trace) for flags in (finite, moved))
    dead = ~(finite & moved)
    joint = state.value.start + state.value.ratio
    spent = (chains + (trace is not None)) * (1 + sampler.leapfrogs * (last - 1))
    chance /= max(1, last - 1)
    count = torch.full((n,), spent)
    ess = torch.fmin(ess, effective_chains(log_weight))
    return Run(log_weight, ess, state.position, joint, acceptance.T, chance, sizes.T, non_finite, dead, count)


def _beside(trace: Trace | None, k: int, ratio: Tensor) -> Tensor:
    """What the chains are weighed by after transition k, the traced one first."""
    return ratio if trace is None else torch.cat([trace.ratio[k], ratio], dim=1)


def _continued_flags(flags: Tensor, ancestor: Tensor, trace: Trace | None) -> Tensor:
    """Flags [n, chains] of the chains that are continued; a traced one has them all."""
    every = flags if trace is None else torch.cat([torch.ones_like(flags[:, :1]), flags], dim=1)
    return continued(every, ancestor)
