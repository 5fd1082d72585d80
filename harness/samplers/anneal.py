"""Annealed importance sampling, forward from q0 and back from an exact code."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from preimage.harness.errors import GeneratorError
from preimage.harness.samplers.hmc import Hmc, Rung, State, noises
from preimage.harness.samplers.path import Path
from preimage.harness.samplers.stepping import Stepping
from preimage.harness.streams import Streams


class Run(NamedTuple):
    """What a run over all temperatures has given, images first.

    log_weight: [n, chains] float64, -inf for a chain that started where the likelihood is not finite. position: the
    last ones in the path's frame [n, chains, dim], log_joint: ``log p(u) p(x | u)`` there, [n, chains].
    acceptance: mean chance over chains, [n, T - 1], by temperature (coldest last); chance: over temperatures,
    [n, chains]. steps: white units, [n, T - 1].
    non_finite: rejected for it, [n] int64. dead: chains that never had a finite likelihood or proposal, [n, chains].
    evaluations: gradient evaluations over all chains, [n] int64.
    """

    log_weight: Tensor
    position: Tensor
    log_joint: Tensor
    acceptance: Tensor
    chance: Tensor
    steps: Tensor
    non_finite: Tensor
    dead: Tensor
    evaluations: Tensor


def anneal(path: Path, sampler: Hmc, stepping: Stepping, streams: Streams, chains: int) -> Run:
    """``w = prod_t Q_t(u_{t-1}) / Q_{t-1}(u_{t-1})`` along t = 1 ... T, u_0 from q0, u_t from a transition at Q_t.

    ``E[w] = p(x)``: the log of the mean of w over chains is below log p(x) on average. T temperatures above 0 take
    T - 1 transitions (none at t = T). Neal, Statistics and Computing 11 (2001).
    """
    state = sampler.init(path, path.draw(streams, chains), streams)
    return _run(path, sampler, stepping, streams, state, range(1, len(path.temperatures) - 1), forward=True)


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
    path: Path, sampler: Hmc, stepping: Stepping, streams: Streams, state: State, order: range, *, forward: bool
) -> Run:
    n, chains, dim = state.position.shape
    last = len(path.temperatures) - 1
    t = path.temperatures if path.temperatures.dim() == 2 else path.temperatures.unsqueeze(1)
    widths = (t[1:] - t[:-1]).unsqueeze(2)  # [T, 1 or n, 1]
    ratio = torch.where(torch.isfinite(state.value.ratio), state.value.ratio, -torch.inf)
    state = state._replace(value=state.value._replace(ratio=ratio))
    log_weight = widths[0 if forward else last - 1] * ratio
    device = state.position.device
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
        log_weight = log_weight + widths[k if forward else k - 1] * state.value.ratio
        acceptance[k - 1], sizes[k - 1] = info.chance.mean(dim=1), size
        chance += info.chance
        non_finite += info.non_finite.sum(dim=1)
        moved |= ~info.non_finite
    dead = ~(torch.isfinite(ratio) & moved)
    joint = state.value.start + state.value.ratio
    spent = chains * (1 + sampler.leapfrogs * (last - 1))
    chance /= max(1, last - 1)
    count = torch.full((n,), spent)
    return Run(log_weight, state.position, joint, acceptance.T, chance, sizes.T, non_finite, dead, count)
