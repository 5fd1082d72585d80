"""Resampling by a separable filter as matrix products, on both axes of an image.

Zeros between the pixels, zeros around, a true convolution, every so-manieth pixel: along one axis this is a banded
matrix with equal bands. Matrix products run near the peak of a processor where depthwise convolutions do not, and they
have every derivative. Small images meet the whole matrix; of large ones overlapping windows meet a block of it, so the
work stays proportional to the pixels.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

WHOLE = 576  # output pixels along an axis up to which the whole matrix is as fast: models of up to 256 pixels
BLOCK = 48  # output pixels that a block of the matrix makes, at least


class Resampling(NamedTuple):
    """What is done along either axis, in this order."""

    up: int  # up - 1 zeros after each pixel
    padding: tuple[int, int]  # zeros before and after; negative: cut
    down: int  # of the filtered pixels every so-manieth is kept, from the first on

    def size(self, pixels: int, taps: int) -> int:
        """Pixels that come out."""
        return (pixels * self.up + sum(self.padding) - taps) // self.down + 1


class Resampler(nn.Module):
    """Images [..., h, w] resampled with a filter [taps] whose gain is 1 for a constant image, times ``gain``."""

    matrix: Tensor

    def __init__(self, pixels: int, taps: int, how: Resampling) -> None:
        super().__init__()
        self.how, self.out = how, how.size(pixels, taps)
        self.shift = -(how.padding[0] // how.up)  # the first pixel of the window of output 0
        self.blocks, rows, self.window, self.step = 1, self.out, pixels, pixels
        if self.out > WHOLE:
            unit = how.up // math.gcd(how.up, how.down)  # outputs after which the bands start at whole pixels
            rows = unit * math.ceil(max(BLOCK, (taps + how.up) / how.down) / unit)
            self.blocks = math.ceil(self.out / rows)
            self.step = rows * how.down // how.up
            self.window = ((rows - 1) * how.down - how.padding[0] + taps - 1) // how.up - self.shift + 1
        else:
            self.shift = 0
        self.padding = (-self.shift, (self.blocks + 1) * self.step + self.shift - pixels)
        self.register_buffer("matrix", torch.empty(rows, self.window), persistent=False)

    def fold(self, f: Tensor, gain: float = 1.0) -> None:
        """Take the filter."""
        rows, columns = torch.arange(len(self.matrix)), torch.arange(self.window) + self.shift
        tap = columns * self.how.up + self.how.padding[0] - rows[:, None] * self.how.down
        inside = (tap >= 0) & (tap < len(f))
        mirrored = f.double().flip(0)  # a true convolution is a correlation with the mirrored filter
        bands = torch.where(inside, mirrored[tap.clamp(0, len(f) - 1)], 0.0)
        self.matrix = (bands * self.how.up * math.sqrt(gain)).to(f)

    def forward(self, x: Tensor) -> Tensor:
        if self.blocks == 1:
            return self.matrix @ (x @ self.matrix.T)
        x = functional.pad(x, (*self.padding, *self.padding))
        along = (self._windows(x, -1) @ self.matrix.T).flatten(-2)[..., : self.out]
        return (self.matrix @ self._windows(along, -2)).flatten(-3, -2)[..., : self.out, :]

    def _windows(self, x: Tensor, axis: int) -> Tensor:
        """The pixels that each block sees, [..., blocks, window] in the place of the axis: a step and the beginning of
        the next, which is never longer."""
        length, split = self.blocks * self.step, (self.blocks, self.step)
        own = torch.unflatten(x.narrow(axis, 0, length), axis, split)
        following = torch.unflatten(x.narrow(axis, self.step, length), axis, split)
        return torch.cat([own, following.narrow(axis, 0, self.window - self.step)], dim=axis)


class RadialDownsampler(nn.Module):
    """Images [n, c, h, w] through a filter [taps, taps] that is not separable; every ``down``-th pixel is kept."""

    kernel: Tensor

    def __init__(self, channels: int, taps: int, down: int) -> None:
        super().__init__()
        self.channels, self.down = channels, down
        self.register_buffer("kernel", torch.empty(channels, 1, taps, taps), persistent=False)

    def fold(self, f: Tensor) -> None:
        """Take the filter."""
        self.kernel = f.flip(0, 1).expand(self.channels, 1, *f.shape).contiguous()

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.kernel, stride=self.down, groups=self.channels)
