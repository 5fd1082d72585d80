"""Precision, recall, density, coverage: which images of one set lie in balls around those of another, exactly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from preimage.harness.groups import Groups

_AT_ONCE = 8_000_000  # distances, 64 MB
_ROUNDING = 1e-12  # of the largest squared norm: what a squared distance by a matrix product may be off


class Manifolds(NamedTuple):
    """Each of all images, then without each group in turn."""

    precision: list[float]
    recall: list[float]
    density: list[float]
    coverage: list[float]


def compare_manifolds(*, real: Tensor, fake: Tensor, groups: Groups, k: int) -> Manifolds:
    """How the sets cover each other by closed balls that reach from each image to the k-th nearest of its own set.

    precision: the share of generated images in some real image's ball; recall: of real images in some generated one's
    (Kynkaanniemi et al., NeurIPS 2019). density: real balls that a generated image lies in, on average, over k;
    coverage: the share of real balls that hold a generated image (Naeem et al., ICML 2020).

    real, fake: features [n, d] in the groups' order, as many of each.
    """
    centre = real.double().mean(dim=0)
    real, fake = real.double() - centre, fake.double() - centre
    around_real = _held(centres=real, others=fake, groups=groups, k=k)
    around_fake = _held(centres=fake, others=real, groups=groups, k=k)
    sizes = torch.tensor([groups.size, *(groups.size - size for size in groups.sizes)], dtype=torch.float64)
    return Manifolds(
        precision=(around_real.others / sizes).tolist(),
        recall=(around_fake.others / sizes).tolist(),
        density=(around_real.pairs / (k * sizes)).tolist(),
        coverage=(around_real.centres / sizes).tolist(),
    )


class _Held(NamedTuple):
    """Counts of all images and without each group, [1 + groups]: others in any ball, balls with any other, pairs."""

    others: Tensor
    centres: Tensor
    pairs: Tensor


def _held(*, centres: Tensor, others: Tensor, groups: Groups, k: int) -> _Held:
    count = 1 + groups.count
    in_a_ball = torch.zeros((count, len(others)), dtype=torch.bool, device=others.device)
    full, pairs = torch.zeros(count, dtype=torch.int64), torch.zeros(count, dtype=torch.int64)
    slack = _ROUNDING * float(torch.cat([centres, others]).square().sum(dim=1).max())
    for part, own in _square_distances(centres, centres):
        own[torch.arange(len(own)), torch.arange(part.start, part.stop)] = torch.inf  # not its own neighbour
        radii = _radii(own, groups, k)
        apart = _squares(centres[part], others)
        for left in range(count):
            inside = apart <= radii[:, left, None] + slack
            if left:
                out = groups.slices[left - 1]
                inside[:, out] = False
                inside[max(0, out.start - part.start) : max(0, out.stop - part.start)] = False
            in_a_ball[left] |= inside.any(dim=0)
            full[left] += int(inside.any(dim=1).sum())
            pairs[left] += int(inside.sum())
    return _Held(in_a_ball.sum(dim=1).cpu(), full, pairs)


def _radii(own: Tensor, groups: Groups, k: int) -> Tensor:
    """The k-th smallest of each row, then without each group's columns, [n, 1 + groups]."""
    nearest = [own[:, part].topk(min(k, part.stop - part.start), largest=False).values for part in groups.slices]
    kept = [torch.cat(nearest[:left] + nearest[left + 1 :], dim=1) for left in range(groups.count)]
    return torch.stack([found.kthvalue(k, dim=1).values for found in (torch.cat(nearest, dim=1), *kept)], dim=1)


def _square_distances(x: Tensor, y: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """``||x_i - y_j||^2`` for so many rows i at a time, with which rows they are."""
    step = max(1, _AT_ONCE // len(y))
    for start in range(0, len(x), step):
        part = slice(start, min(start + step, len(x)))
        yield part, _squares(x[part], y)


def _squares(x: Tensor, y: Tensor) -> Tensor:
    return (x.square().sum(dim=1, keepdim=True) - 2 * x @ y.T + y.square().sum(dim=1)).clamp_min(0)
