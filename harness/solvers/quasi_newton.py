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
from preimage.harness.solvers.pair_history import Pairs, inverse_product, no_pairs, remember

SHRINK = (0.1, 0.5)
"""A rejected step is multiplied by something between these."""

NEAR = 1e-3
"""How far, in code units, a projection is tried to find the set's boundary."""

CURVATURE = 1e-8
"""A pair enters the history if ``y.s`` exceeds this share of ``|y| |s|``."""


class LbfgsState(NamedTuple):
    """code, gradient, direction: [n, dim], at the last accepted point; energy, step, gamma: [n].

    gamma: the scale of the initial inverse Hessian. trials: [n] int64, rejected in this line search.
    """

    code: Tensor
    energy: Tensor
    gradient: Tensor
    direction: Tensor
    step: Tensor
    gamma: Tensor
    trials: Tensor
    pairs: Pairs


def lbfgs_init(lbfgs: Lbfgs, position: Tensor) -> LbfgsState:
    """At the position [n, dim], as if accepted with infinite energy: the first trial is the position itself."""
    zero, one = torch.zeros_like(position), position.new_ones(len(position))
    return LbfgsState(
        position,
        math.inf * one,
        zero,
        zero,
        one,
        one,
        torch.zeros_like(one, dtype=torch.int64),
        no_pairs(lbfgs.memory, position),
    )


def lbfgs_step(
    lbfgs: Lbfgs, energy: Energy, state: LbfgsState, projection: Projection | None
) -> tuple[LbfgsState, Info]:
    """One trial per image, and what follows from it."""
    metric = required_preconditioner(energy, "lbfgs", "metric=false") if lbfgs.metric else None
    trial = torch.addcmul(state.code, state.step.unsqueeze(1), state.direction)
    if projection is not None:
        trial = projection(trial)
    value = energy(trial)
    finite, first = all_finite(value), torch.isinf(state.energy)  # first: the start, accepted if finite
    push = trial - state.code
    slope = _dot(state.gradient, push)
    enough = value.energy <= state.energy + lbfgs.armijo * slope.clamp_max(0.0)
    accepted = finite & enough & (value.energy < state.energy)

    pull = _reduced(trial, value.gradient, projection) - _reduced(state.code, state.gradient, projection)
    pairs, gamma = _remember(state, push, pull.masked_fill(~finite.unsqueeze(1), 0.0), accepted & ~first, metric)
    wide = accepted.unsqueeze(1)
    code = torch.where(wide, trial, state.code)
    gradient = torch.where(wide, value.gradient, state.gradient)
    found = torch.where(accepted, value.energy, state.energy)

    trials = (state.trials + 1).masked_fill(accepted, 0)
    failed = trials >= lbfgs.trials
    forget = failed & (pairs.held > 0)  # and try H0 g; if it was that already, there is nothing lower
    done = (failed & ~forget) | (first & ~accepted)
    pairs = pairs._replace(held=pairs.held.masked_fill(forget, 0))
    gamma = torch.where(forget | first, _initial_scale(found, gradient, metric), gamma)

    turned = accepted | forget
    direction = torch.where(
        turned.unsqueeze(1), _newton(code, gradient, pairs, gamma, metric, projection), state.direction
    )
    shrunk = state.step * shrinkage(state.energy, value.energy, slope, _dot(value.gradient, push))
    return (
        LbfgsState(
            code,
            found,
            gradient,
            direction,
            shrunk.masked_fill(turned, 1.0),
            gamma,
            trials.masked_fill(forget, 0),
            pairs,
        ),
        Info(trial, value.energy, done),
    )


def _remember(
    state: LbfgsState, push: Tensor, pull: Tensor, wanted: Tensor, metric: Preconditioner | None
) -> tuple[Pairs, Tensor]:
    """The history with (s, y) for the wanted images where its curvature is positive, and gamma, [n]."""
    curvature, size = _dot(push, pull), _dot(pull, pull)
    kept = wanted & (curvature > CURVATURE * (size * _dot(push, push)).sqrt())
    inner = size if metric is None else _dot(pull, metric.inverse(pull))
    return remember(state.pairs, push, pull, kept), torch.where(kept, curvature / inner, state.gamma)


def _newton(
    code: Tensor,
    gradient: Tensor,
    pairs: Pairs,
    gamma: Tensor,
    metric: Preconditioner | None,
    projection: Projection | None,
) -> Tensor:
    """The quasi-Newton direction ``-H g``, within the set's face where there is a projection, [n, dim]."""

    def initial(vector: Tensor) -> Tensor:
        return gamma.unsqueeze(1) * (vector if metric is None else metric.inverse(vector))

    reduced = _reduced(code, gradient, projection)
    direction = -inverse_product(pairs, reduced, initial)
    return direction if projection is None else _along(direction, gradient, reduced)


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


def shrinkage(before: Tensor, after: Tensor, slope: Tensor, slope_after: Tensor) -> Tensor:
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
