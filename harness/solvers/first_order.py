"""The steps of Adam and RMSprop on a batch of independent images."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from preimage.harness.solvers.adam import Adam
from preimage.harness.solvers.interface import Energy, Info, Projection, all_finite, required_preconditioner
from preimage.harness.solvers.rmsprop import RMSprop


class AdamState(NamedTuple):
    """code, first and second: [n, dim]; taken: [n, 1] float32, the steps taken."""

    code: Tensor
    first: Tensor
    second: Tensor
    taken: Tensor


def adam_init(position: Tensor) -> AdamState:
    """No step taken: moments zero at the position [n, dim]."""
    zero = torch.zeros_like(position)
    return AdamState(position, zero, zero, position.new_zeros(len(position), 1))


def adam_step(adam: Adam, energy: Energy, state: AdamState, projection: Projection | None) -> tuple[AdamState, Info]:
    """One evaluation per image at the code, then the move away from it."""
    metric = required_preconditioner(energy, "adam with whitened=true", "whitened=false") if adam.whitened else None
    value = energy(state.code)
    gradient = value.gradient if metric is None else metric.adjoint(value.gradient)
    first = torch.lerp(state.first, gradient, 1 - adam.beta1)
    second = (state.second * adam.beta2).addcmul_(gradient, gradient, value=1 - adam.beta2)
    taken = state.taken + 1
    rate = _rate(adam, state.taken) / (1 - adam.beta1**taken)
    move = first * rate / ((second / (1 - adam.beta2**taken)).sqrt_() + adam.eps)
    code = state.code - (move if metric is None else metric.colour(move))
    if projection is not None:
        code = projection(code)
    return AdamState(code, first, second, taken), Info(state.code, value.energy, ~all_finite(value))


def _rate(adam: Adam, taken: Tensor) -> Tensor | float:
    """The learning rate of the step after ``taken`` steps."""
    if adam.schedule == "constant":
        return adam.lr
    return (0.5 * adam.lr) * (1 + torch.cos(taken * (math.pi / adam.steps)))


class RMSpropState(NamedTuple):
    """code and second: [n, dim]."""

    code: Tensor
    second: Tensor


def rmsprop_init(position: Tensor) -> RMSpropState:
    """No step taken: the mean squared gradient is zero at the position [n, dim]."""
    return RMSpropState(position, torch.zeros_like(position))


def rmsprop_step(
    rmsprop: RMSprop, energy: Energy, state: RMSpropState, projection: Projection | None
) -> tuple[RMSpropState, Info]:
    """One evaluation per image at the code, then the move away from it."""
    value = energy(state.code)
    second = (state.second * rmsprop.alpha).addcmul_(value.gradient, value.gradient, value=1 - rmsprop.alpha)
    code = torch.addcdiv(state.code, value.gradient, second.sqrt().add_(rmsprop.eps), value=-rmsprop.lr)
    if projection is not None:
        code = projection(code)
    return RMSpropState(code, second), Info(state.code, value.energy, ~all_finite(value))
