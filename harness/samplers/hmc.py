"""One transition of Hamiltonian Monte Carlo for every chain of every image at once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from preimage.harness.samplers.path import Path, Value
from preimage.harness.samplers.ranges import check_transition
from preimage.harness.streams import Streams

BLOCK = 32
"""Transitions whose noise is drawn at once."""


@dataclass(frozen=True)
class Hmc:
    """Leapfrog steps with a Metropolis correction, in coordinates in which the path's mass matrix is the identity.

    The momentum is kept in part, ``v <- a v + sqrt(1 - a^2) xi``, and negated when a proposal is rejected, which keeps
    each ``Q_t`` invariant (Horowitz, Phys. Lett. B 268, 1991). So is the level that the ratio of densities must pass:
    uniform on [-1, 1], it moves up by ``2 shift U`` and is divided by the ratio when a proposal is taken, so that
    rejections come in bursts and a chain keeps its direction in between (Neal, arXiv:2001.11950, 2020). A shift of 1
    draws it anew, which is the plain Metropolis rule. A transition costs ``leapfrogs`` gradient evaluations: those of
    the current position are kept.
    """

    leapfrogs: int = 2
    persistence: float = 0.7
    shift: float = 1.0

    def __post_init__(self) -> None:
        check_transition(self.leapfrogs, self.persistence, self.shift)

    def init(self, path: Path, position: Tensor, streams: Streams) -> State:
        """The state at positions [n, chains, dim], momentum and level fresh; one evaluation per chain."""
        chains, dim = position.shape[1:]
        return State(position, streams.normal(chains, dim), fresh_level(streams, chains), path.value(position))

    def step(self, path: Path, state: State, rung: Rung, noise: Noise) -> tuple[State, Info]:
        """One transition that keeps ``Q_t`` invariant. Non-finite proposals are rejected and counted."""
        t, a = path.at(rung.at), self.persistence
        momentum = a * state.momentum + math.sqrt(1 - a * a) * noise.momentum if a else noise.momentum
        level = state.level + 2 * self.shift * noise.uniform
        current = state._replace(momentum=momentum, level=torch.where(level > 1, level - 2, level))
        proposal = leapfrog(path, current, rung, self.leapfrogs)
        joint = _log_joint(proposal, t)  # the last kick has put a slope that is not finite into the momentum
        gain = joint - _log_joint(current, t)
        sound = torch.isfinite(joint)
        chance = torch.where(sound & torch.isfinite(gain), gain, -math.inf).clamp(max=0.0).exp()
        accepted = current.level.abs() < chance
        taken = proposal._replace(level=current.level / gain.exp())
        rejected = current._replace(momentum=-momentum)
        return _choose(accepted, taken, rejected), Info(chance, accepted, ~sound)


class Noise(NamedTuple):
    """The random numbers of one transition: normal [n, chains, dim], uniform [n, chains]."""

    momentum: Tensor
    uniform: Tensor


def noises(streams: Streams, chains: int, dim: int, count: int) -> Iterator[Noise]:
    """The noise of ``count`` transitions, drawn in blocks: a call to each image's stream takes as long as a leapfrog of
    a small network."""
    for first in range(0, count, BLOCK):
        size = min(BLOCK, count - first)
        momentum, uniform = streams.normal(size, chains, dim), streams.uniform(size, chains)
        for k in range(size):
            yield Noise(momentum[:, k], uniform[:, k])


class State(NamedTuple):
    """What the next transition needs: position, white momentum [n, chains, dim], the level of acceptance [n, chains]
    float64, and what the position is worth."""

    position: Tensor
    momentum: Tensor
    level: Tensor
    value: Value


def fresh_level(streams: Streams, chains: int) -> Tensor:
    """Levels of acceptance, uniform on [-1, 1), [n, chains] float64."""
    return 2 * streams.uniform(chains).double() - 1


class Info(NamedTuple):
    """What a transition has seen, [n, chains] each: the chance of acceptance, whether taken, whether not finite."""

    chance: Tensor
    accepted: Tensor
    non_finite: Tensor


class Rung(NamedTuple):
    """Where a transition stands: ``at``, the index of its temperature; step in white units [n, 1, 1] or []."""

    at: int
    step: Tensor


def leapfrog(path: Path, state: State, rung: Rung, count: int) -> State:
    """``count`` leapfrog steps, reversible, volume-preserving, from a state of known value: ``count`` evaluations."""
    t, spread = path.at(rung.at), path.spread(rung.at)
    t, kick, drift = t.float(), rung.step.float() * spread, rung.step.float() * spread
    position, momentum, level, value = state
    momentum = momentum + 0.5 * kick * value.slope(t)
    for i in range(count):
        position = position + drift * momentum
        value = path.value(position)
        momentum = momentum + (kick if i + 1 < count else 0.5 * kick) * value.slope(t)
    return State(position, momentum, level, value)


def _log_joint(state: State, t: Tensor) -> Tensor:
    """``log Q_t(u) - v^2 / 2``, [n, chains] float64."""
    t = t.reshape(-1, 1) if t.dim() else t
    return state.value.log_density(t) - 0.5 * state.momentum.square().sum(dim=2, dtype=torch.float64)


def _choose(accepted: Tensor, proposal: State, current: State) -> State:
    """The proposal where accepted, the current state elsewhere; never a product, so that a NaN stays where it was."""

    def pick(new: Tensor, old: Tensor) -> Tensor:
        return torch.where(accepted.unsqueeze(2) if new.dim() == 3 else accepted, new, old)

    value = Value(*[pick(new, old) for new, old in zip(proposal.value, current.value, strict=True)])
    return State(
        pick(proposal.position, current.position),
        pick(proposal.momentum, current.momentum),
        pick(proposal.level, current.level),
        value,
    )
