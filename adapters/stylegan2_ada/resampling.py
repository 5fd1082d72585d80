"""Resampling filters: how they are stored, and as depthwise convolutions padded as upstream pads them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from preimage.adapters.stylegan2_ada.settings import Taps

SEPARABLE = 8  # taps from which on a filter is stored, and applied, along one axis at a time
BOTH, ROWS, COLUMNS = (True, True), (True, False), (False, True)


def stored(taps: Taps) -> Tensor:
    """The filter as checkpoints hold it, of sum 1: [m, n], or its taps [n] where these are many."""
    f = torch.tensor(taps, dtype=torch.float32)
    if f.ndim == 1 and len(f) < SEPARABLE:
        f = torch.outer(f, f)
    return f / f.sum()


class Resampler(nn.Module):
    """A filter with gain 4 over every channel: a short one in one pass, which measures faster than two."""

    kernel: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.separable = False
        self.register_buffer("kernel", torch.empty(0), persistent=False)

    def fold(self, f: Tensor) -> None:
        """Take the filter as it is stored."""
        self.separable = f.ndim == 1
        kernel = 2 * f.unsqueeze(1) if self.separable else 4 * f
        kernel = kernel.expand(self.channels, 1, *kernel.shape)
        self.kernel = kernel.contiguous(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        if not self.separable:
            return self.filtered(x, self.kernel, BOTH)
        return self.filtered(self.filtered(x, self.kernel, ROWS), self.kernel.transpose(2, 3), COLUMNS)

    def filtered(self, x: Tensor, kernel: Tensor, axes: tuple[bool, bool]) -> Tensor:
        """One pass along the axes; the kernel has one tap along the other."""
        raise NotImplementedError


class Upsample(Resampler):
    """Zeros between the pixels, then the filter, [n, c, h, w] to [n, c, 2h, 2w].

    With n taps, (n + 1) // 2 zeros are put in front and (n - 2) // 2 behind, a negative number of which is cut. All of
    it is a transposed convolution with the filter, of whose 2h - 2 + n pixels n - 1 - (n + 1) // 2 are cut in front.
    """

    def filtered(self, x: Tensor, kernel: Tensor, axes: tuple[bool, bool]) -> Tensor:
        taps = kernel.shape[2:]
        cut = [n - 1 - (n + 1) // 2 if axis else 0 for n, axis in zip(taps, axes, strict=True)]
        stride = [2 if axis else 1 for axis in axes]
        padding = [max(pixels, 0) for pixels in cut]
        y = functional.conv_transpose2d(x, kernel, stride=stride, padding=padding, groups=self.channels)
        front = [max(-pixels, 0) for pixels in cut]
        behind = [stride[axis] * x.shape[axis + 2] - y.shape[axis + 2] - front[axis] for axis in (0, 1)]
        return padded(y, front, behind)


class Blur(Resampler):
    """The filter over what a transposed convolution of stride 2 has made, [n, c, 2h + 1, 2w + 1] to [n, c, 2h, 2w].

    With n taps, (n + 1) // 2 - 1 zeros are put in front and (n - 2) // 2 behind, a negative number of which is cut.
    """

    def fold(self, f: Tensor) -> None:
        super().fold(f.flip(list(range(f.ndim))))  # a true convolution is a correlation with the mirrored filter

    def filtered(self, x: Tensor, kernel: Tensor, axes: tuple[bool, bool]) -> Tensor:
        taps = kernel.shape[2:]
        front = [(n + 1) // 2 - 1 if axis else 0 for n, axis in zip(taps, axes, strict=True)]
        behind = [(n - 2) // 2 if axis else 0 for n, axis in zip(taps, axes, strict=True)]
        if front == behind:
            return functional.conv2d(x, kernel, padding=front, groups=self.channels)
        return functional.conv2d(padded(x, front, behind), kernel, groups=self.channels)


def padded(x: Tensor, front: list[int], behind: list[int]) -> Tensor:
    """The images with so many zeros before and after their rows and columns; a negative number is cut."""
    if not any(front + behind):
        return x
    return functional.pad(x, [front[1], behind[1], front[0], behind[0]])
