"""The synthesis network: Fourier features, then layers that keep their images free of aliases.

What depends on no code is made once, by ``fold``, after the official weights have been filled in.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from preimage.adapters.stylegan_layers import GAINS, SLOPE, FullyConnected
from preimage.adapters.stylegan_xl.filters import down_filter, up_filter
from preimage.adapters.stylegan_xl.layer_table import InputSpec, LayerSpec, SynthesisSpec
from preimage.adapters.stylegan_xl.resampling import RadialDownsampler, Resampler, Resampling

EPS = 1e-8
IDENTITY = Resampling(1, (0, 0), 1)


class FourierInput(nn.Module):
    """``weight sin(2 pi (f g + phase)) amp`` on a grid g, turned and moved by what w says: [n, channels, size, size].

    A sine of a sum is two products of sines, so there are as many sines as pixels on two edges.
    """

    transform: Tensor
    freqs: Tensor
    phases: Tensor
    grid: Tensor

    def __init__(self, spec: InputSpec, w_dim: int) -> None:
        super().__init__()
        self.spec = spec
        self.weight = nn.Parameter(torch.zeros(spec.channels, spec.channels), requires_grad=False)
        self.affine = FullyConnected(w_dim, 4)
        self.register_buffer("transform", torch.eye(3))
        self.register_buffer("freqs", torch.zeros(spec.channels, 2))
        self.register_buffer("phases", torch.zeros(spec.channels))
        places = (torch.arange(spec.size, dtype=torch.float64) + 0.5) / spec.size * 2 - 1
        self.register_buffer("grid", (places * 0.5 * spec.size / spec.sampling_rate).float(), persistent=False)

    def forward(self, w: Tensor) -> Tensor:
        freqs, phases = self._moved(w)
        band = self.spec.sampling_rate / 2 - self.spec.bandwidth
        amp = (1 - (freqs.norm(dim=2) - self.spec.bandwidth) / band).clamp(0, 1)
        across = 2 * math.pi * freqs[:, :, :1] * self.grid  # [n, channels, width]
        along = 2 * math.pi * (freqs[:, :, 1:] * self.grid + phases.unsqueeze(2))  # [n, channels, height]
        rows = torch.stack([along.cos(), along.sin()], dim=3)
        columns = torch.stack([across.sin(), across.cos()], dim=2) * amp[:, :, None, None]
        features = (rows @ columns).flatten(2)
        mixed: Tensor = self.weight / math.sqrt(self.spec.channels) @ features
        return mixed.reshape(-1, self.spec.channels, self.spec.size, self.spec.size)

    def _moved(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """Frequencies [n, channels, 2] and phases [n, channels]: rotation and translation by w, then ``transform``."""
        t = self.affine(w)
        t = t / t[:, :2].norm(dim=1, keepdim=True)
        c, s, x, y = t.unbind(1)
        zero, one = torch.zeros_like(c), torch.ones_like(c)
        turned = torch.stack([c, -s, zero, s, c, zero, zero, zero, one], dim=1).reshape(-1, 3, 3)
        moved = torch.stack([one, zero, -x, zero, one, -y, zero, zero, one], dim=1).reshape(-1, 3, 3)
        total = turned @ moved @ self.transform
        return self.freqs @ total[:, :2, :2], self.phases + (self.freqs @ total[:, :2, 2:]).squeeze(2)


class SynthesisLayer(nn.Module):
    """``down(act(up(conv(x s, W) d + bias)))``: d is such that the filters W s of each output have norm 1.

    One convolution with weights that are the same for all images is faster than one with weights of its own per image,
    and its backward pass needs no gradient of weights. s is normalised by its own mean square; upstream takes the mean
    over the whole batch, a factor that d cancels up to an epsilon of 1e-8 in the norm (less than 1e-6 of an image), and
    by which an image would depend on its neighbours.
    """

    weight: Tensor
    magnitude_ema: Tensor
    squares: Tensor
    floor: Tensor
    up_filter: Tensor | None
    down_filter: Tensor | None

    def __init__(self, spec: LayerSpec, w_dim: int) -> None:
        super().__init__()
        self.spec = spec
        shape = (spec.out_channels, spec.in_channels, spec.conv_kernel, spec.conv_kernel)
        self.weight = nn.Parameter(torch.zeros(shape), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(spec.out_channels), requires_grad=False)
        self.affine = FullyConnected(w_dim, spec.in_channels)
        self.register_buffer("magnitude_ema", torch.ones(()))
        self.register_buffer("up_filter", up_filter(spec))
        self.register_buffer("down_filter", down_filter(spec))
        self.register_buffer("squares", torch.empty(spec.out_channels, spec.in_channels), persistent=False)
        self.register_buffer("floor", torch.empty(spec.out_channels), persistent=False)
        self.resample = Resample(spec)

    def fold(self) -> None:
        """Make what no code changes. Stored weights count as divided by their root mean square per output: that and the
        magnitude are factors of d."""
        squares = self.weight.square()
        self.squares = squares.sum(dim=(2, 3)) * self.magnitude_ema
        self.floor = squares.mean(dim=(1, 2, 3)) * EPS * self.magnitude_ema
        self.resample.fold(self.up_filter, self.down_filter)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        s = self.affine(w)
        y: Tensor = self.resample(self._coloured(x, s) if self.spec.is_torgb else self._convolved(x, s))
        return y

    def _convolved(self, x: Tensor, s: Tensor) -> Tensor:
        s = s * s.square().mean(dim=1, keepdim=True).rsqrt()
        d = torch.addmm(self.floor, s.square(), self.squares.T).rsqrt()
        x = x * s[:, :, None, None]
        if self.spec.conv_kernel == 1:
            y = (self.weight.flatten(1) @ x.flatten(2)).reshape(len(x), -1, *x.shape[2:])
        else:
            y = functional.conv2d(x, self.weight, padding=self.spec.conv_kernel - 1)
        return torch.addcmul(self.bias[:, None, None], y, d[:, :, None, None])

    def _coloured(self, x: Tensor, s: Tensor) -> Tensor:
        """toRGB: a few channels, so it is the weights that are scaled, and not demodulated."""
        gain = self.magnitude_ema.rsqrt() / math.sqrt(self.spec.in_channels)
        kernel = self.weight.flatten(1) * (s * gain).unsqueeze(1)
        y = torch.baddbmm(self.bias.unsqueeze(1), kernel, x.flatten(2))
        return y.reshape(len(x), -1, *x.shape[2:])


class Resample(nn.Module):
    """``down(clamp(act(up(y))))`` of a layer; without filters, padding and the clamp are all that is left."""

    def __init__(self, spec: LayerSpec) -> None:
        super().__init__()
        self.spec = spec
        self.act = "linear" if spec.is_torgb else "lrelu"
        pixels = spec.in_size + spec.conv_kernel - 1
        how = Resampling(spec.up_factor, spec.padding, 1)
        self.up = None if how == IDENTITY and spec.up_taps == 1 else Resampler(pixels, spec.up_taps, how)
        how, pixels = Resampling(1, (0, 0), spec.down_factor), how.size(pixels, spec.up_taps)
        self.down: Resampler | RadialDownsampler | None = None
        if spec.down_taps > 1 and spec.down_radial:
            self.down = RadialDownsampler(spec.out_channels, spec.down_taps, spec.down_factor)
        elif how != IDENTITY or spec.down_taps > 1:
            self.down = Resampler(pixels, spec.down_taps, how)

    def fold(self, up: Tensor | None, down: Tensor | None) -> None:
        """Take the filters, and the gain of the activation into the first: it commutes with a positive factor."""
        if self.up is not None:
            self.up.fold(torch.ones(1) if up is None else up, GAINS[self.act])
        if self.down is not None:
            self.down.fold(torch.ones(1) if down is None else down)

    def forward(self, y: Tensor) -> Tensor:
        y = self._activated(y if self.up is None else self.up(y))
        return y if self.down is None else self.down(y)

    def _activated(self, y: Tensor) -> Tensor:
        """Clamped before it is rectified, where the lower bound is that of the rectified over the slope: the same, and
        half as much to keep for the backward pass."""
        bound = self.spec.conv_clamp
        slope = SLOPE if self.act == "lrelu" else 1.0
        if bound is not None:
            y = functional.hardtanh(y, -bound / slope, bound, inplace=True)
        return functional.leaky_relu(y, SLOPE) if self.act == "lrelu" else y


class SynthesisNetwork(nn.Module):
    """w of the input and of each layer, [n, num_ws, w_dim], to images [n, channels, height, width], about [-1, 1]."""

    def __init__(self, spec: SynthesisSpec, w_dim: int) -> None:
        super().__init__()
        self.output_scale = spec.output_scale
        self.input = FourierInput(spec.input, w_dim)
        self.layers = tuple(SynthesisLayer(layer, w_dim) for layer in spec.layers)
        for layer in self.layers:
            self.add_module(layer.spec.name, layer)

    def fold(self) -> None:
        """Make what no code changes, once the weights are there."""
        for layer in self.layers:
            layer.fold()

    def forward(self, ws: Tensor) -> Tensor:
        first, *others = ws.unbind(1)
        x: Tensor = self.input(first)
        for layer, w in zip(self.layers, others, strict=True):
            x = layer(x, w)
        return x * self.output_scale
