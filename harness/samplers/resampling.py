"""Chains that share out their weight on the way: a heavy one is continued twice, a light one ends (sequential Monte
Carlo). The product of mean weights is as unbiased as the mean of products, and varies less: four chains that
drift apart by some nats each lose half of what independent ones do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from preimage.harness.samplers.bounds import log_mean
from preimage.harness.samplers.hmc import Hmc, Rung, State, fresh_level, noises
from preimage.harness.samplers.path import Path, Value
from preimage.harness.samplers.stepping import Stepping
from preimage.harness.streams import Streams


class Trace(NamedTuple):
    """A single chain from the start to an exact draw of the posterior, known before the others run.

    ratio: ``log p(u) p(x | u) - log q0`` after each transition, and before the first, [T, n, 1] float64. states: where
    it stands at the points at which chains are resampled.
    """

    ratio: Tensor
    states: Mapping[int, State]


def resampling_points(temperatures: int, times: int, after: float) -> frozenset[int]:
    """The transitions 1 ... T - 1 after which chains are resampled: ``times`` of them at most were they all over the
    path, of which those in its first share ``after`` are left out."""
    last = temperatures - 1
    points = {round(i * last / times) for i in range(1, times)} if times else set()
    return frozenset(k for k in points if after * last < k < last)


def trace_back(
    path: Path, sampler: Hmc, stepping: Stepping, streams: Streams, position: Tensor, points: frozenset[int]
) -> Trace:
    """The reverse chain from an exact draw of the posterior [n, 1, dim]. Momentum and level are drawn anew at the
    points, as they are for the chains that run forward."""
    n, chains, dim = position.shape
    last = len(path.temperatures) - 1
    state, steps = sampler.init(path, position, streams), stepping.init(n, position.device)
    ratio, states = [state.value.ratio], {}
    for k, noise in zip(range(last - 1, 0, -1), noises(streams, chains, dim, last - 1), strict=True):
        if k in points:
            states[k] = state
            state = state._replace(momentum=streams.normal(chains, dim), level=fresh_level(streams, chains))
        size = stepping.size(steps, k / last)
        state, _ = sampler.step(path, state, Rung(k, size.reshape(-1, 1, 1)), noise)
        ratio.append(state.value.ratio)
    return Trace(torch.stack(ratio[::-1]), states)


class Resampled(NamedTuple):
    """The chains that go on with their log-weight, one for all, and which chain each of them continues, [n, chains]."""

    state: State
    log_weight: Tensor
    ancestor: Tensor


def resample(state: State, log_weight: Tensor, streams: Streams, traced: State | None = None) -> Resampled:
    """Chains [n, chains] drawn in proportion to their weights, systematically, in a random order; their momentum and
    level are fresh.

    With a traced chain, whose weight is the first of ``log_weight`` [n, 1 + chains], the draw is that of the others
    given that the traced chain continues itself (conditional sequential Monte Carlo: Andrieu, Doucet and Holenstein,
    JRSS B 72, 2010; systematic: Chopin and Singh, Bernoulli 21, 2015). Images whose chains all weigh nothing stay as
    they are.
    """
    count, first = log_weight.shape[1], 0 if traced is None else 1
    common = log_mean(log_weight).unsqueeze(1)
    alive = torch.isfinite(common)
    weight = torch.where(alive, log_weight, 0.0).softmax(dim=1)
    uniform = streams.uniform(count + 2).double()
    drawn = systematic(weight, uniform) if traced is None else systematic_beside(weight, uniform)
    ancestor = torch.where(alive, drawn, torch.arange(count, device=drawn.device))[:, first:]
    every = state if traced is None else _joined(traced, state)
    chosen = State(
        continued(every.position, ancestor),
        streams.normal(count - first, state.position.shape[2]),
        fresh_level(streams, count - first),
        Value(*[continued(part, ancestor) for part in every.value]),
    )
    return Resampled(chosen, torch.where(alive, common.expand_as(log_weight), log_weight), ancestor)


def continued(of_chains: Tensor, ancestor: Tensor) -> Tensor:
    """What the chains have that are continued: [n, chains, ...] by ancestors [n, m], [n, m, ...]."""
    return torch.take_along_dim(of_chains, ancestor.reshape(*ancestor.shape, *[1] * (of_chains.dim() - 2)), dim=1)


def systematic(weight: Tensor, uniform: Tensor) -> Tensor:
    """Ancestors [n, N] of weights [n, N] that sum to 1: chain i is continued ``N weight_i`` times on average, rounded
    down or up. uniform: [n, N + 2], of which the first N choose the order and the next one the offset."""
    count = weight.shape[1]
    order = uniform[:, :count].argsort(dim=1)
    return continued(order, _at(continued(weight, order), uniform[:, count]))


def systematic_beside(weight: Tensor, uniform: Tensor) -> Tensor:
    """The same given that the first of them continues chain 0.

    A rotation of the order changes nothing, so chain 0 comes first in it. It has k + 1 places, k = floor(N weight_0),
    for offsets below the rest f of ``N weight_0``, else k, and is given one of them: offsets weigh as many.
    """
    count = weight.shape[1]
    order = torch.cat([torch.zeros_like(uniform[:, :1]) - 1, uniform[:, 1:count]], dim=1).argsort(dim=1)
    share = count * weight[:, 0]
    whole, rest = share.floor(), share - share.floor()
    more = uniform[:, count] * share < (whole + 1) * rest
    within = uniform[:, count + 1]
    places = _at(continued(weight, order), torch.where(more, within * rest, rest + within * (1 - rest)))
    places[:, 0] = 0
    return continued(order, places)


def _at(weight: Tensor, offset: Tensor) -> Tensor:
    """Which of the intervals of length ``weight`` hold the points ``(offset + i) / N``, [n, N]."""
    count = weight.shape[1]
    points = (offset.unsqueeze(1) + torch.arange(count, device=weight.device)) / count
    return torch.searchsorted(weight.cumsum(dim=1), points, right=True).clamp(max=count - 1)


def _joined(one: State, others: State) -> State:
    def both(first: Tensor, rest: Tensor) -> Tensor:
        return torch.cat([first, rest], dim=1)

    value = Value(*[both(first, rest) for first, rest in zip(one.value, others.value, strict=True)])
    return State(
        both(one.position, others.position),
        both(one.momentum, others.momentum),
        both(one.level, others.level),
        value,
    )
