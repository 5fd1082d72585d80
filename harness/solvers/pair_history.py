"""The history of L-BFGS for a batch of images that grow theirs at different times: a ring of pairs per image."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Pairs(NamedTuple):
    """The last m pairs of steps s and gradient differences y of each image.

    pushes, pulls: [n, m + 1, dim], s and y in a ring: ``slot`` [n] is written next and counts for nothing until it is
    passed. It is written in place (a copy would cost more than all the rest), so a history is good until the next but
    one is made. age: [n, m], the places of the pairs in the ring, newest last. upper: [n, m, m], the upper triangle of
    ``s_i . y_j`` in that order. held: [n], how many pairs are there; what belongs to older ones in ``upper`` is any
    finite number, on its diagonal not 0.
    """

    pushes: Tensor
    pulls: Tensor
    upper: Tensor
    held: Tensor
    slot: Tensor
    age: Tensor


def no_pairs(memory: int, like: Tensor) -> Pairs:
    """An empty history of ``memory`` pairs for codes like these, [n, dim]."""
    n, dim = like.shape
    pushes, pulls = like.new_zeros(2, n, memory + 1, dim).unbind()
    none = torch.zeros(n, dtype=torch.int64, device=like.device)
    upper = torch.eye(memory, dtype=like.dtype, device=like.device).expand(n, -1, -1)
    return Pairs(pushes, pulls, upper, none, none, _by_age(none, memory))


def remember(pairs: Pairs, push: Tensor, pull: Tensor, kept: Tensor) -> Pairs:
    """The history with (s, y), [n, dim] each and finite, as newest pair where ``kept`` [n]; the oldest gives way."""
    n, memory = len(push), pairs.upper.shape[1]
    where = (torch.arange(n, device=push.device), pairs.slot)
    pushes, pulls = pairs.pushes.index_put_(where, push), pairs.pulls.index_put_(where, pull)
    slot = (pairs.slot + kept) % (memory + 1)
    age = _by_age(slot, memory)
    with_new = torch.bmm(pushes, pull.unsqueeze(2)).squeeze(2).gather(1, age)
    shifted = torch.nn.functional.pad(pairs.upper[:, 1:, 1:], (0, 0, 0, 1))
    grown = torch.cat([shifted, with_new.unsqueeze(2)], dim=2)
    upper = torch.where(kept.view(-1, 1, 1), grown, pairs.upper)
    return Pairs(pushes, pulls, upper, (pairs.held + kept).clamp_max(memory), slot, age)


def inverse_product(pairs: Pairs, gradient: Tensor, initial: Callable[[Tensor], Tensor]) -> Tensor:
    """``H g`` of L-BFGS, [n, dim] -> [n, dim]; ``initial`` multiplies by the initial inverse Hessian H0.

    The two-loop recursion (Nocedal and Wright, algorithm 7.4) with each loop written as the triangular system that it
    solves: with R the upper triangle of ``S^T Y`` and D its diagonal, ``R a = S^T g``, ``r = H0 (g - Y a)``,
    ``R^T c = D a - Y^T r``, ``H g = r + S c``.
    """
    memory = pairs.upper.shape[1]
    there = torch.arange(memory, device=gradient.device) >= (memory - pairs.held).unsqueeze(1)
    mask = there.to(gradient.dtype)

    def products(ring: Tensor, vector: Tensor) -> Tensor:
        return torch.bmm(ring, vector.unsqueeze(2)).squeeze(2).gather(1, pairs.age)

    def combined(ring: Tensor, shares: Tensor) -> Tensor:
        placed = shares.new_zeros(ring.shape[:2]).scatter_(1, pairs.age, shares)
        return torch.bmm(placed.unsqueeze(1), ring).squeeze(1)

    first = torch.linalg.solve_triangular(pairs.upper, products(pairs.pushes, gradient).unsqueeze(2), upper=True)
    first = first.squeeze(2) * mask
    start = initial(gradient - combined(pairs.pulls, first))
    owed = (pairs.upper.diagonal(dim1=1, dim2=2) * first - products(pairs.pulls, start)) * mask
    second = torch.linalg.solve_triangular(pairs.upper.mT, owed.unsqueeze(2), upper=False)
    return start + combined(pairs.pushes, second.squeeze(2))


def _by_age(slot: Tensor, memory: int) -> Tensor:
    """The ring's places from the one after ``slot`` on, [n, memory]: where slot is the next, from oldest to newest."""
    return (slot.unsqueeze(1) + torch.arange(1, memory + 1, device=slot.device)) % (memory + 1)
