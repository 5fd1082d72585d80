"""The layers of the synthesis network: convolutions whose input channels are scaled by a style.

``conv(x, W s) d`` is computed as ``conv(x s, W) d``: one convolution with weights that are the same for all images,
whose backward pass needs no gradient of weights. What does not depend on the code is made once, by ``fold``, after the
official weights have been filled in. Images between layers are channels last, which measures faster.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from preimage.adapters.stylegan2_ada.resampling import Blur, Upsample, stored
from preimage.adapters.stylegan2_ada.settings import Taps
from preimage.adapters.stylegan_layers import GAINS, SLOPE, FullyConnected

UNUSED_TAPS: Taps = (1.0, 3.0, 3.0, 1.0)  # stored with layers that keep the resolution, whatever the settings say


@dataclass(frozen=True)
class LayerSettings:
    """What the layers of a block have in common."""

    w_dim: int
    resolution: int  # pixels of a side, after the layer
    act: str
    taps: Taps  # of the resampling filter
    clamp: float | None  # outputs are kept within +- this
    stored_noise: bool  # whether checkpoints hold noise
    added_noise: bool  # whether it is added


def clamped(x: Tensor, bound: float | None) -> Tensor:
    """x within +- bound, if there is one; by the function whose backward pass is one operation."""
    return x if bound is None else functional.hardtanh(x, -bound, bound)


class SynthesisLayer(nn.Module):
    """``act(conv(x s, W) d + noise + bias) gain``, d such that the filters W s of each output have norm 1.

    With ``up`` the convolution is a transposed one of stride 2, and the resampling filter follows. x: [n, i, h, w],
    w: [n, w_dim]. The activation commutes with its gain, which is therefore folded into d, noise and bias.
    """

    squares: Tensor
    offset: Tensor
    noise_const: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, settings: LayerSettings, *, up: bool = False, gain: float = 1.0
    ) -> None:
        super().__init__()
        self.settings = settings
        self.gain = gain * GAINS[settings.act]
        self.clamp = None if settings.clamp is None else settings.clamp * gain
        self.affine = FullyConnected(settings.w_dim, in_channels)
        self.weight = nn.Parameter(torch.zeros(out_channels, in_channels, 3, 3), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(out_channels), requires_grad=False)
        if settings.stored_noise:
            self.register_buffer("noise_const", torch.zeros(settings.resolution, settings.resolution))
            self.noise_strength = nn.Parameter(torch.zeros(()), requires_grad=False)
        self.register_buffer("resample_filter", stored(settings.taps if up else UNUSED_TAPS))
        self.blur = Blur(out_channels) if up else None
        self.register_buffer("squares", torch.empty(0), persistent=False)
        self.register_buffer("offset", torch.empty(0), persistent=False)

    def fold(self) -> None:
        """Make what does not depend on the code: sums of squares [i, o], noise and bias, the order of the weights."""
        self.squares = (self.weight.double().square().sum(dim=(2, 3)).T.contiguous() / self.gain**2).float()
        offset = self.bias.view(1, -1, 1, 1)
        if self.settings.stored_noise and self.settings.added_noise:
            offset = offset + self.noise_const * self.noise_strength
        self.offset = (offset * self.gain).contiguous(memory_format=torch.channels_last)
        weight = self.weight if self.blur is None else self.weight.transpose(0, 1)
        ordered = weight.contiguous(memory_format=torch.channels_last)
        self.weight.data = ordered if self.blur is None else ordered.transpose(0, 1)
        if self.blur is not None:
            self.blur.fold(self.get_buffer("resample_filter"))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        s = self.affine(w)
        x = x * s[:, :, None, None]
        if self.blur is None:
            x = functional.conv2d(x, self.weight, padding=1)
        else:
            x = self.blur(functional.conv_transpose2d(x, self.weight.transpose(0, 1), stride=2))
        d = torch.rsqrt(s.square() @ self.squares + 1e-8 / self.gain**2)
        x = (x * d[:, :, None, None]).add_(self.offset)  # in place where no backward pass needs what was there
        if self.settings.act == "lrelu":
            x = functional.leaky_relu(x, SLOPE, inplace=True)
        return clamped(x, self.clamp)


class ToRGB(nn.Module):
    """``conv(x s, W) + bias`` of one pixel, W not normalised: per image a matrix from features to colours."""

    def __init__(self, in_channels: int, img_channels: int, settings: LayerSettings) -> None:
        super().__init__()
        self.clamp = settings.clamp
        self.gain = 1 / math.sqrt(in_channels)
        self.affine = FullyConnected(settings.w_dim, in_channels)
        self.weight = nn.Parameter(torch.zeros(img_channels, in_channels, 1, 1), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(img_channels), requires_grad=False)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        s = self.affine(w) * self.gain
        matrix = self.weight[:, :, 0, 0] * s.unsqueeze(1)  # [n, colours, i]
        pixels = x.permute(0, 2, 3, 1).flatten(1, 2)  # [n, h w, i]
        rgb = torch.baddbmm(self.bias, pixels, matrix.transpose(1, 2))
        rgb = rgb.transpose(1, 2).reshape(len(x), len(self.weight), *x.shape[2:])
        return clamped(rgb, self.clamp)


class Skip(nn.Module):
    """The path around a block of a residual network: a convolution of one pixel, then twice the side."""

    def __init__(self, in_channels: int, out_channels: int, settings: LayerSettings) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(out_channels, in_channels, 1, 1), requires_grad=False)
        self.register_buffer("resample_filter", stored(settings.taps))
        self.up = Upsample(out_channels)
        self.register_buffer("scaled", torch.empty(0), persistent=False)

    def fold(self) -> None:
        """Make what does not depend on the code: the weights with their gain."""
        self.up.fold(self.get_buffer("resample_filter"))
        self.scaled = self.weight * math.sqrt(0.5 / self.weight.shape[1])

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.up(functional.conv2d(x, self.get_buffer("scaled")))
        return y
