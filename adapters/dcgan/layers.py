"""The networks of Radford, Metz and Chintala (ICLR 2016): 4x4 convolutions, each doubling or halving the image."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn


def first_conv(dim: int, channels: int) -> list[nn.Module]:
    """Codes [n, dim] to images [n, channels, 4, 4]."""
    return [nn.Unflatten(1, (dim, 1, 1)), nn.ConvTranspose2d(dim, channels, 4, bias=False)]


def doubling(before: int, after: int) -> nn.ConvTranspose2d:
    """A transposed convolution to twice the height and width."""
    return nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False)


def decoder(dim: int, channels: Sequence[int], out: int) -> nn.Sequential:
    """Codes [n, dim] to images [n, out, s, s] in [-1, 1], s = 4 * 2^len(channels); batch norm and ReLU between.

    channels: from the 4x4 image on. The convolutions are numbered as in PyTorch's examples once `Unflatten` is left
    out: 0, 3, 6, ..., their batch norms 1, 4, 7, ...
    """
    layers = first_conv(dim, channels[0])
    for before, after in zip(channels, [*channels[1:], out], strict=True):
        layers += [nn.BatchNorm2d(before), nn.ReLU(), doubling(before, after)]
    return nn.Sequential(*layers, nn.Tanh())


def encoder(channels: Sequence[int], nc: int, dim: int) -> nn.Sequential:
    """Images [n, nc, s, s] in [-1, 1] to [n, dim], s = 4 * 2^len(channels): the critic of DCGAN with dim outputs.

    channels: from the largest image on. Numbered as in PyTorch's examples: convolutions 0, 2, 5, 8, ..., batch norms
    3, 6, 9, ...
    """
    layers: list[nn.Module] = [_halving(nc, channels[0]), nn.LeakyReLU(0.2)]
    for before, after in pairwise(channels):
        layers += [_halving(before, after), nn.BatchNorm2d(after), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(channels[-1], dim, 4, bias=False), nn.Flatten())


def _halving(before: int, after: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, 4, stride=2, padding=1, bias=False)
