"""The networks of StyleGAN2-ADA under their official names: codes z to w, and one w per layer to an image.

Karras et al., Training Generative Adversarial Networks with Limited Data, NeurIPS 2020; the layers are those of Karras
et al., Analyzing and Improving the Image Quality of StyleGAN, CVPR 2020.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from preimage.adapters.stylegan2_ada.layers import LayerSettings, Skip, SynthesisLayer, ToRGB
from preimage.adapters.stylegan2_ada.resampling import Upsample, stored
from preimage.adapters.stylegan2_ada.settings import Settings
from preimage.adapters.stylegan_layers import FullyConnected, nrm


class MappingNetwork(nn.Module):
    """z [n, z_dim], and a label [n, c_dim] where there are any, to w [n, w_dim]."""

    w_avg: Tensor

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        own, embedded = settings.mapping, settings.label_features
        between = settings.w_dim if own.layer_features is None else own.layer_features
        sides = [settings.z_dim + embedded, *[between] * (own.num_layers - 1), settings.w_dim]
        self.num_layers = own.num_layers
        self.embed = FullyConnected(settings.c_dim, embedded) if settings.c_dim else None
        for i in range(own.num_layers):
            layer = FullyConnected(sides[i], sides[i + 1], lr=own.lr_multiplier, act=own.activation)
            self.add_module(f"fc{i}", layer)
        if own.w_avg_beta is not None:
            self.register_buffer("w_avg", torch.zeros(settings.w_dim))

    def forward(self, z: Tensor, label: Tensor | None) -> Tensor:
        parts = [nrm(z)]  # without entries where z_dim is 0, so that images depend on it in autograd all the same
        if self.embed is not None:
            parts.append(nrm(self.embed(label)))
        x = torch.cat(parts, dim=1)
        for i in range(self.num_layers):
            x = self.get_submodule(f"fc{i}")(x)
        return x


class SynthesisBlock(nn.Module):
    """The layers of one resolution: features of the last block to twice their side, and the image so far likewise."""

    def __init__(self, resolution: int, settings: Settings) -> None:
        super().__init__()
        own = settings.synthesis
        channels, before = own.channels(resolution), own.channels(resolution // 2)
        layer = LayerSettings(
            w_dim=settings.w_dim,
            resolution=resolution,
            act=own.activation,
            taps=own.resample_filter,
            clamp=own.conv_clamp,
            stored_noise=own.use_noise,
            added_noise=settings.noise_mode == "const",
        )
        first, last = resolution == 4, resolution == settings.img_resolution
        around = own.architecture == "resnet" and not first
        self.register_buffer("resample_filter", stored(own.resample_filter))
        if first:
            self.const = nn.Parameter(torch.zeros(channels, 4, 4), requires_grad=False)
        self.conv0 = None if first else SynthesisLayer(before, channels, layer, up=True)
        self.conv1 = SynthesisLayer(channels, channels, layer, gain=math.sqrt(0.5) if around else 1.0)
        self.torgb = ToRGB(channels, settings.img_channels, layer) if last or own.architecture == "skip" else None
        self.skip = Skip(before, channels, layer) if around else None
        self.larger = Upsample(settings.img_channels)

    def fold(self) -> None:
        """Make what does not depend on the code."""
        self.larger.fold(self.get_buffer("resample_filter"))
        if self.conv0 is None:
            shaped = self.const.unsqueeze(0).contiguous(memory_format=torch.channels_last)
            self.const.data = shaped[0]

    def forward(self, x: Tensor | None, image: Tensor | None, ws: Iterator[Tensor]) -> tuple[Tensor, Tensor | None]:
        """ws: one w [n, w_dim] per layer, from this block's first convolution on."""
        if x is None or self.conv0 is None:
            y: Tensor = self.conv1(self.const.unsqueeze(0), next(ws))
        elif self.skip is None:
            y = self.conv1(self.conv0(x, next(ws)), next(ws))
        else:
            y = self.skip(x) + self.conv1(self.conv0(x, next(ws)), next(ws))
        if image is not None:
            image = self.larger(image)
        if self.torgb is None:
            return y, image
        rgb = self.torgb(y, next(ws))
        return y, rgb if image is None else image + rgb


class SynthesisNetwork(nn.Module):
    """One w [n, w_dim] per layer to images [n, c, h, w], nominally in [-1, 1].

    A block starts at the w after that of the last block's last convolution: what makes the last block's colours and
    what enlarges its features share a w.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.resolutions = [2**i for i in range(2, int(math.log2(settings.img_resolution)) + 1)]
        for resolution in self.resolutions:
            self.add_module(f"b{resolution}", SynthesisBlock(resolution, settings))

    def forward(self, ws: Sequence[Tensor]) -> Tensor:
        x = image = None
        at = 0
        for resolution in self.resolutions:
            x, image = self.get_submodule(f"b{resolution}")(x, image, iter(ws[at:]))
            at += 1 if resolution == 4 else 2
        return cast(Tensor, image)


def fold(module: nn.Module) -> None:
    """Make, in every layer, what does not depend on the code; once, after the weights have been filled in."""
    for part in module.modules():
        if isinstance(part, SynthesisBlock | SynthesisLayer | Skip):
            part.fold()
