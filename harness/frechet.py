"""The Frechet distance between two sets of features, each taken for a normal law (Heusel et al., NeurIPS 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from preimage.harness.groups import Groups


class _Given(nn.Module):
    """Hands features through: torchmetrics is given features instead of images."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features


def frechet_distance(*, real: Tensor, fake: Tensor) -> float:
    """``||mu - mu'||^2 + tr(S + S' - 2 (S S')^(1/2))`` by torchmetrics in float64; features [n, k] and [m, k].

    Rounding can make it negative where it is 0; then it is 0.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(feature=_Given(real.shape[1])).set_dtype(torch.float64).to(real.device)
    metric.update(real.double(), real=True)
    metric.update(fake.double(), real=False)
    return max(0.0, float(metric.compute()))


def frechet_distances_without(*, real: Tensor, fake: Tensor, groups: Groups) -> list[float]:
    """The distance without each group in turn, by symmetric matrices alone; features in the groups' order."""
    return [
        normal_distance(real=groups.without(real, group), fake=groups.without(fake, group))
        for group in range(groups.count)
    ]


def normal_distance(*, real: Tensor, fake: Tensor) -> float:
    """The same distance by a singular value decomposition: ``tr (S S')^(1/2)`` is the sum of singular values of
    ``A B^T``, where ``S = A^T A`` and ``S' = B^T B``; the factors are n x k for fewer images than features.
    """
    a, b = _factor(real.double()), _factor(fake.double())
    apart = (real.double().mean(dim=0) - fake.double().mean(dim=0)).square().sum()
    return max(0.0, float(apart + a.square().sum() + b.square().sum() - 2 * torch.linalg.svdvals(a @ b.T).sum()))


def _factor(features: Tensor) -> Tensor:
    """``A`` with ``A^T A`` the covariance of features [n, k]: [min(n, k), k]."""
    centred: Tensor = (features - features.mean(dim=0)) / (len(features) - 1) ** 0.5
    if len(centred) <= centred.shape[1]:
        return centred
    values, vectors = torch.linalg.eigh(centred.T @ centred)
    factor: Tensor = values.clamp_min(0).sqrt()[:, None] * vectors.T
    return factor
