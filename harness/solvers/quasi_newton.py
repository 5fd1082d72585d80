"""The steps of L-BFGS on a batch of independent images: a state machine whose every step is one evaluation per image.

An image's trial point is ``code + step * direction``. If it is accepted, the pair ``(s, y)`` enters the image's history
and a new direction follows; if not, the step shrinks and the next evaluation is the next trial. Images that search and
images that turn stand side by side in the same batch: all is done by masks.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from preimage.harness.solvers.interface import (
    Energy,
    Info,
    Preconditioner,
    Projection,
    all_finite,
    required_preconditioner,
)
from preimage.harness.solvers.lbfgs import Lbfgs

SHRINK = (0.1, 0.5)
"""A rejected step is multiplied by something between these."""

NEAR = 1e-3
"""How far, in code units, a projection is tried to find the set's boundary."""

CURVATURE = 1e-8
"""A pair enters the history if ``y.s`` exceeds this share of ``|y| |s|``."""


class LbfgsState(NamedTuple):
    """code, gradient, direction: [n, dim], the last accepted point; energy, step, gamma: [n], there; trials: [n] int64.

    pushes, pulls: [n, memory, dim], the pairs s and y, newest last; weight: [n, memory], 1 / y.s, or 0 for no pair.
    gamma: the scale of the initial inverse Hessian.
    """

    code: Tensor
    energy: Tensor
    gradient: Tensor
    direction: Tensor
    step: Tensor
    gamma: Tensor
    trials: Tensor
    pushes: Tensor
    pulls: Tensor
    weight: Tensor


def lbfgs_init(lbfgs: Lbfgs, position: Tensor) -> LbfgsState:
    """At the position [n, dim], as if accepted with infinite energy: the first trial is the position itself."""
    count, dim = position.shape
    zero, one = torch.zeros_like(position), position.new_ones(count)
    history = position.new_zeros(count, lbfgs.memory, dim)
    return LbfgsState(position, math.inf * one, zero, zero, one, one, torch.zeros_like(one, dtype=torch.int64), history,
                      history, position.new_zeros(count, lbfgs.memory))


def lbfgs_step(lbfgs: Lbfgs, energy: Energy, state: LbfgsState,
               projection: Projection | None) -> tuple[LbfgsState, Info]:
    """One trial per image, and what follows from it."""
    metric = required_preconditioner(energy, "lbfgs", "metric=false") if lbfgs.metric else None
    trial = torch.addcmul(state.code, state.step.unsqueeze(1), state.direction)
    if projection is not None:
        trial = projection(trial)
    value = energy(trial)
    push = trial - state.code
    slope = _dot(state.gradient, push)
    first = torch.isinf(state.energy)  # the start: accepted if finite
    enough = value.energy <= state.energy + lbfgs.armijo * slope.clamp_max(0.0)
    accepted = all_finite(value) & enough & (value.energy < state.energy)

    pull = (_reduced(trial, value.gradient, projection) - _reduced(state.code, state.gradient, projection))
    state = _remember(state, push, pull, accepted & ~first, metric)
    wide = accepted.unsqueeze(1)
    code = torch.where(wide, trial, state.code)
    gradient = torch.where(wide, value.gradient, state.gradient)
    found = torch.where(accepted, value.energy, state.energy)

    step = state.step * _shrinkage(state.energy, value.energy, slope, _dot(value.gradient, push))
    trials = torch.where(accepted, 0, state.trials + 1)
    failed = trials >= lbfgs.trials
    plain = state.weight[:, -1] == 0  # no history: the direction was the preconditioned gradient already
    done = (failed & plain) | (first & ~accepted)
    forget = failed & ~plain

    weight = torch.where(forget.unsqueeze(1), 0.0, state.weight)
    gamma = torch.where(forget | first, _initial_scale(found, gradient, metric), state.gamma)
    reduced = _reduced(code, gradient, projection)
    direction = -_two_loop(reduced, state.pushes, state.pulls, weight, gamma, metric)
    if projection is not None:
        direction = _along(direction, gradient, reduced)
    turned = accepted | forget
    direction = torch.where(turned.unsqueeze(1), direction, state.direction)
    step = torch.where(turned, 1.0, step)
    trials = torch.where(forget, 0, trials)
    return (LbfgsState(code, found, gradient, direction, step, gamma, trials, state.pushes, state.pulls, weight),
            Info(trial, value.energy, done))


def _remember(state: LbfgsState, push: Tensor, pull: Tensor, wanted: Tensor,
              metric: Preconditioner | None) -> LbfgsState:
    """The state with the pair (s, y) in the history of the wanted images, where its curvature is positive."""
    curvature = _dot(push, pull)
    size = _dot(pull, pull)
    kept = wanted & (curvature > CURVATURE * (size * _dot(push, push)).sqrt())
    inner = size if metric is None else _dot(pull, metric.inverse(pull))
    gamma = torch.where(kept, curvature / inner.clamp_min(1e-38), state.gamma)
    grown = [torch.cat([old[:, 1:], new.unsqueeze(1)], dim=1)
             for old, new in ((state.pushes, push), (state.pulls, pull), (state.weight, 1 / curvature))]
    pushes, pulls = (torch.where(kept.view(-1, 1, 1), new, old)
                     for new, old in zip(grown[:2], (state.pushes, state.pulls), strict=True))
    weight = torch.where(kept.unsqueeze(1), grown[2], state.weight)
    return state._replace(pushes=pushes, pulls=pulls, weight=weight, gamma=gamma)


def _two_loop(gradient: Tensor, pushes: Tensor, pulls: Tensor, weight: Tensor, gamma: Tensor,
              metric: Preconditioner | None) -> Tensor:
    """``H g`` by the two-loop recursion (Nocedal and Wright, algorithm 7.4); a pair of weight 0 changes nothing."""
    memory = pushes.shape[1]
    vector = gradient
    shares: list[Tensor] = []
    for i in reversed(range(memory)):
        share = weight[:, i] * _dot(pushes[:, i], vector)
        shares.append(share.unsqueeze(1))
        vector = torch.addcmul(vector, shares[-1], pulls[:, i], value=-1)
    vector = gamma.unsqueeze(1) * (vector if metric is None else metric.inverse(vector))
    for i in range(memory):
        share = weight[:, i] * _dot(pulls[:, i], vector)
        vector = torch.addcmul(vector, shares.pop() - share.unsqueeze(1), pushes[:, i])
    return vector


def _reduced(code: Tensor, gradient: Tensor, projection: Projection | None) -> Tensor:
    """The gradient without what the projection undoes: minus the projection of ``-gradient`` onto the tangent cone."""
    if projection is None:
        return gradient
    small = NEAR / torch.linalg.vector_norm(gradient, dim=1, keepdim=True).clamp_min(1e-30)
    moved = code - small * gradient
    kept = projection(moved)
    inside = torch.isclose(kept, moved, rtol=0.0, atol=NEAR * 1e-3).all(dim=1, keepdim=True)
    return torch.where(inside, gradient, (code - kept) / small)


def _along(direction: Tensor, gradient: Tensor, reduced: Tensor) -> Tensor:
    """The direction within the face that the reduced gradient lies in: off clipped coordinates and off the normal.

    A direction ``-H r`` with r reduced stays one of descent, ``-r^T H r``: r has nothing where this takes away.
    """
    direction = direction * (reduced != 0)
    normal = gradient - reduced
    share = _dot(direction, normal) / _dot(normal, normal).clamp_min(1e-38)
    return direction - share.unsqueeze(1) * normal


def _initial_scale(energy: Tensor, gradient: Tensor, metric: Preconditioner | None) -> Tensor:
    """The scale of H before any pair: what the metric says, or a first step of length 1."""
    if metric is not None:
        return metric.scale(energy)
    size: Tensor = torch.linalg.vector_norm(gradient, dim=1)
    return 1 / size.clamp_min(1e-30)


def _shrinkage(before: Tensor, after: Tensor, slope: Tensor, slope_after: Tensor) -> Tensor:
    """By how much to multiply a rejected step: to the minimum of the cubic through both ends, within ``SHRINK``.

    Energies and slopes at 0 and at the trial, along the whole trial step, [n]. Nocedal and Wright, eq. 3.59.
    """
    bend = slope + slope_after - 3 * (after - before)
    root = (bend.square() - slope * slope_after).clamp_min(0.0).sqrt()
    share = 1 - (slope_after + root - bend) / (slope_after - slope + 2 * root)
    return torch.nan_to_num(share, nan=SHRINK[0], posinf=SHRINK[1], neginf=SHRINK[0]).clamp(*SHRINK)


def _dot(x: Tensor, y: Tensor) -> Tensor:
    """Inner products per image, [n]."""
    products: Tensor = torch.linalg.vecdot(x, y)
    return products
