"""The residual blocks of BigGAN and its relatives, as they compute: plain and deep, both doubling the image."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn import functional

from preimage.adapters.gan_layers import ScaledReLU
from preimage.adapters.upsampled_convs import doubled_conv


def doubled(x: Tensor) -> Tensor:
    """Images [n, c, h, w] with every pixel repeated twice along both axes."""
    return functional.interpolate(x, scale_factor=2, mode="nearest")


class ResidualBlock(nn.Module):
    """``conv2(relu(norm2(conv1(up(relu(norm1 x)))))) + shortcut(up x)``; norms are conditional on y, or plain.

    The shortcut, a convolution of one pixel, comes before the doubling: the same numbers for a quarter of the work.
    """

    def __init__(
        self, norm1: ScaledReLU, conv1: nn.Conv2d, norm2: ScaledReLU, conv2: nn.Conv2d, shortcut: nn.Conv2d
    ) -> None:
        super().__init__()
        self.norm1, self.norm2 = norm1, norm2
        self.conv1, self.conv2, self.shortcut = doubled_conv(conv1), conv2, shortcut
        norm2.absorb_into(self.conv1)

    def forward(self, x: Tensor, y: Tensor | None) -> Tensor:
        a = self.conv2(self.norm2(self.conv1(self.norm1(x, y)), y))
        return cast(Tensor, a + doubled(self.shortcut(x)))


class DeepBlock(nn.Module):
    """Four convolutions, 1x1, 3x3, 3x3 and 1x1, each after a conditional norm, around a shortcut.

    With ``up`` the image doubles after the second norm. The shortcut keeps the first channels, as many as come out, or
    is a convolution of one pixel.
    """

    def __init__(self, *parts: nn.Module, up: bool) -> None:
        super().__init__()
        self.norm1, conv1, self.norm2, conv2, self.norm3, conv3, self.norm4, conv4, *shortcut = parts
        self.conv1, self.conv3, self.conv4 = conv1, conv3, conv4
        self.conv2 = doubled_conv(cast(nn.Conv2d, conv2)) if up else conv2
        self.shortcut = shortcut[0] if shortcut else None
        self.kept = cast(nn.Conv2d, conv4).out_channels
        self.up = up

    def forward(self, x: Tensor, y: Tensor | None) -> Tensor:
        h = self.conv2(self.norm2(self.conv1(self.norm1(x, y)), y))
        h = self.conv4(self.norm4(self.conv3(self.norm3(h, y)), y))
        around = x[:, : self.kept] if self.shortcut is None else self.shortcut(x)
        return cast(Tensor, h + (doubled(around) if self.up else around))
