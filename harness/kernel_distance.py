"""The kernel distance between two sets of features (Binkowski et al., ICLR 2018): torchmetrics' cubic kernel."""

from __future__ import annotations

import torch
from torch import Tensor

from preimage.harness.groups import Groups


def kernel_distances(*, real: Tensor, fake: Tensor, groups: Groups) -> list[float]:
    """The unbiased squared maximum mean discrepancy of all images, then without each group in turn.

    Kernel ``(x . y / k + 1)^3``, one set of all images: no random subsets. Sums are kept per pair of groups, so that
    leaving one out costs nothing. real, fake: features [n, k] in the groups' order, as many of each.
    """
    own_real, own_fake = (_sums(x, x, groups) - _diagonal(x, groups) for x in (real, fake))
    across = _sums(real, fake, groups)
    found = [_discrepancy(own_real + own_fake, across, groups.size)]
    for left in range(groups.count):
        keep = torch.arange(groups.count, device=real.device) != left
        size = groups.size - groups.sizes[left]
        found.append(_discrepancy((own_real + own_fake)[keep][:, keep], across[keep][:, keep], size))
    return found


def _discrepancy(own: Tensor, across: Tensor, size: int) -> float:
    return float(own.sum() / (size * (size - 1)) - 2 * across.sum() / size**2)


def _sums(x: Tensor, y: Tensor, groups: Groups) -> Tensor:
    """The kernel summed over each pair of groups, [groups, groups]."""
    from torchmetrics.image.kid import poly_kernel

    return torch.stack([torch.stack([poly_kernel(x[a], y[b]).sum() for b in groups.slices]) for a in groups.slices])


def _diagonal(x: Tensor, groups: Groups) -> Tensor:
    """The kernel of each image with itself, summed over each group, as a diagonal matrix."""
    from torchmetrics.image.kid import poly_kernel

    own = torch.cat([poly_kernel(row[None], row[None])[0] for row in x])
    return torch.diag(torch.stack([own[part].sum() for part in groups.slices]))
