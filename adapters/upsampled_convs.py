"""Doubling an image and convolving it, as one transposed convolution: the same numbers for less than half the work."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def doubled_conv(conv: nn.Conv2d) -> nn.ConvTranspose2d:
    """``conv(up(x))`` of a k x k convolution that keeps the size, ``up`` repeating each pixel twice along both axes.

    Of the nine pixels that a 3x3 kernel sees of the doubled image four are different; so sixteen products make four
    pixels out of one, and not thirty-six. Rounding aside it is exact, at the borders too. k is odd.
    """
    size = conv.kernel_size[0]
    keeps = conv.kernel_size == (size, size) and conv.padding == (size // 2, size // 2) and size % 2 == 1
    plain = conv.stride == conv.dilation == (1, 1) and conv.groups == 1 and conv.padding_mode == "zeros"
    if not (keeps and plain):
        raise ValueError(f"{conv}: only a plain convolution that keeps the size can be merged with a doubling")
    taps = _merged_taps(size).to(conv.weight)
    with torch.no_grad():
        weight: Tensor = torch.einsum("ap,bq,oipq->ioab", taps, taps, conv.weight)
    merged = nn.ConvTranspose2d(
        conv.in_channels, conv.out_channels, size + 1, 2, size // 2, bias=conv.bias is not None, device="meta"
    )
    merged.weight = nn.Parameter(weight.contiguous(), requires_grad=conv.weight.requires_grad)
    if conv.bias is not None:
        merged.bias = nn.Parameter(conv.bias.detach().clone(), requires_grad=conv.bias.requires_grad)
    return merged.train(conv.training)


def _merged_taps(size: int) -> Tensor:
    """Which taps of a kernel [size] fall on the same pixel of the small image, [size + 1, size], along one axis.

    Tap p of the pixel ``2 i + e`` of the doubled image reads the small image's pixel ``i + d``, where a transposed
    convolution of stride 2 has its tap ``e + size // 2 - 2 d``.
    """
    taps = torch.zeros(size + 1, size)
    for e in (0, 1):
        for p in range(size):
            d = (e + p - size // 2) // 2
            taps[e + size // 2 - 2 * d, p] = 1
    return taps
