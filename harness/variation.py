"""How flat an image is: the coefficient of variation of its patches."""

from __future__ import annotations

import torch
from torch import Tensor

PATCH = 8
"""Height and width of a patch, pixels."""


def patch_variation(images: Tensor, size: int = PATCH) -> Tensor:
    """Mean over patches of standard deviation / mean of their pixel values, channels together, [n] float64.

    images: [n, c, h, w] in [0, 1]. Patches do not overlap; rows and columns that fill none are left out, and a side
    below ``size`` is one patch. A patch without any light has no variation: 0.

    "Intriguing Properties of Modern GANs", section 4.2, figure 8 (METHODS 11).
    """
    height, width = min(size, images.shape[2]), min(size, images.shape[3])
    patches = images.double().unfold(2, height, height).unfold(3, width, width)  # [n, c, rows, columns, height, width]
    pixels = patches.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)  # [n, patches, pixels]
    mean, deviation = pixels.mean(dim=2), pixels.std(dim=2, correction=0)
    return torch.where(mean > 0, deviation / mean.clamp_min(1e-12), 0.0).mean(dim=1)
