"""The generator of Karras et al., "Progressive Growing of GANs" (ICLR 2018), as the GAN zoo has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from preimage.adapters.upsampled_convs import doubled_conv


@dataclass(frozen=True)
class Settings:
    """The constructor's settings by their upstream names, and what is set after it."""

    dim: int  # dimLatent
    first: int  # depthScale0: channels at 4x4
    others: tuple[int, ...]  # depthOtherScales: channels of each scale above
    out: int  # dimOutput
    leak: float  # leakyReluLeak
    normalization: bool  # of every pixel's channels, after every layer
    equalized: bool  # equalizedlR: layers are scaled by sqrt(2 / fan-in), weights and biases alike
    tanh: bool  # generationActivation
    alpha: float  # share of the image of the scale before, as while a scale is faded in

    @property
    def side(self) -> int:
        """Height and width of an image."""
        return 4 << len(self.others)


class ProgressiveNetwork(nn.Module):
    """Codes [n, dim] to images [n, out, side, side]; its parameters have their official names, less ``module.``."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        widths = [settings.first, *settings.others]
        pairs = zip(widths, settings.others, strict=False)
        self.scaleLayers = nn.ModuleList(nn.ModuleList([_conv(a, b), _conv(b, b)]) for a, b in pairs)
        self.toRGBLayers = nn.ModuleList(nn.Conv2d(width, settings.out, 1) for width in widths)
        self.formatLayer = nn.Linear(settings.dim, 16 * settings.first)
        self.groupScale0 = nn.ModuleList([_conv(settings.first, settings.first)])

    def fold(self) -> None:
        """Fold the layers' scales into their weights, and the doubling of images into the convolutions after it.

        Official parameters fit no longer.
        """
        layers = [layer for layer in self.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
        for layer in layers if self.settings.equalized else ():
            scale = (2 / layer.weight[0].numel()) ** 0.5
            layer.weight.data.mul_(scale)
            assert layer.bias is not None
            layer.bias.data.mul_(scale)
        for scales in self.scaleLayers:
            group = cast(nn.ModuleList, scales)
            group[0] = doubled_conv(cast(nn.Conv2d, group[0]))

    def forward(self, code: Tensor) -> Tensor:
        said = self.settings
        x = self._layer(self.formatLayer, self._normalised(code), norm=False).reshape(-1, said.first, 4, 4)
        x = self._layer(self.groupScale0[0], self._normalised(x))
        before = x
        for scales in self.scaleLayers:
            before = x
            for layer in cast(nn.ModuleList, scales):
                x = self._layer(layer, x)
        image = cast(Tensor, self.toRGBLayers[-1](x))
        if said.alpha > 0 and said.others:
            image = torch.lerp(image, _doubled(cast(Tensor, self.toRGBLayers[-2](before))), said.alpha)
        return image.tanh() if said.tanh else image

    def _layer(self, layer: nn.Module, x: Tensor, *, norm: bool = True) -> Tensor:
        x = functional.leaky_relu(layer(x), self.settings.leak)
        return self._normalised(x) if norm else x

    def _normalised(self, x: Tensor) -> Tensor:
        """Each pixel's channels over the root of their mean square."""
        if not self.settings.normalization:
            return x
        return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


def _conv(before: int, after: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, padding=1)


def _doubled(image: Tensor) -> Tensor:
    return functional.interpolate(image, scale_factor=2.0, mode="nearest")
