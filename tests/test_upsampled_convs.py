"""Doubling and convolving in one: the same numbers, at the borders too."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from preimage.adapters.upsampled_convs import doubled_conv


@pytest.mark.parametrize("size", [1, 3, 5, 7])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (5, 4)])
def test_it_is_the_convolution_of_the_doubled_image(size: int, bias: bool, shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 4, size, padding=size // 2, bias=bias).double().eval()
    x = torch.randn(2, 3, *shape, dtype=torch.float64)
    doubled = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    merged = doubled_conv(conv)
    torch.testing.assert_close(merged(x), conv(doubled), rtol=1e-12, atol=1e-12)
    assert not merged.training and merged.weight.dtype == torch.float64


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(2, 2, 3),
        nn.Conv2d(2, 2, 3, padding=1, stride=2),
        nn.Conv2d(2, 2, 3, padding=1, groups=2),
        nn.Conv2d(2, 2, 3, padding=2, dilation=2),
        nn.Conv2d(2, 2, (3, 1), padding=1),
        nn.Conv2d(2, 2, 4, padding=2),
        nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"),
    ],
    ids=str,
)
def test_another_convolution_cannot_be_merged(conv: nn.Conv2d) -> None:
    with pytest.raises(ValueError, match="only a plain convolution that keeps the size can be merged"):
        doubled_conv(conv)
