"""The parts of StudioGAN's generators, under the names of their checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import cast

from torch import Tensor, nn

from preimage.adapters.gan_blocks import DeepBlock, ResidualBlock
from preimage.adapters.gan_layers import (
    Convention,
    Layers,
    Part,
    ScaledReLU,
    Stored,
    attention,
    linear_conditional_norm,
    norm,
)
from preimage.adapters.studiogan.settings import DEEP, Settings

EPS = 1e-4  # of every batch norm
ATTENTION = ("conv1x1_theta", "conv1x1_phi", "conv1x1_g", "conv1x1_attn", "sigma")
BY_CONVOLUTION = "big_resnet_deep_studiogan"  # of the two deep backbones, the one whose shortcut is a convolution


class DoublingBlock(nn.Module):
    """``relu(norm(conv(x)))`` of a transposed convolution that doubles the image."""

    def __init__(self, conv: nn.ConvTranspose2d, norm: ScaledReLU) -> None:
        super().__init__()
        self.conv, self.norm = conv, norm
        norm.absorb_into(conv)

    def forward(self, x: Tensor, y: Tensor | None) -> Tensor:
        return cast(Tensor, self.norm(self.conv(x), y))


class Parts:
    """Makes the parts that the settings ask for."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.layers = Layers(Convention.TORCH if settings.spectral else Convention.PLAIN)

    def linear(self) -> Stored:
        """From what the first layer gets to the first channels."""
        settings = self.settings
        inputs = settings.condition if settings.backbone in DEEP else settings.chunk or settings.z_dim
        return self.layers.linear(inputs, settings.widths[0] * 16)

    def blocks(self) -> nn.ModuleList:
        """Of all stages in turn; attention after a stage is an entry of its own."""
        found: list[Stored] = []
        for stage, attends in enumerate(self.settings.attention):
            inputs, outputs = self.settings.widths[stage : stage + 2]
            found += self._stage(inputs, outputs)
            if attends:
                found.append(attention(self.layers, outputs, ATTENTION, (1,)))
        return nn.ModuleList(nn.ModuleList([part]) for part in found)

    def last_norm(self) -> Stored:
        """Before the convolution to colours."""
        return self._plain_norm(self.settings.widths[-1])

    def to_colours(self) -> Stored:
        """The last convolution."""
        return self.layers.conv(self.settings.widths[-1], 3, 3)

    def _stage(self, inputs: int, outputs: int) -> Iterator[Stored]:
        if self.settings.backbone == "deep_conv":
            parts = {"deconv0": self.layers.doubling(inputs, outputs), "bn0": self._norm(outputs)}
            yield Stored(DoublingBlock, parts)
        elif self.settings.backbone in DEEP:
            for number in range(self.settings.depth):
                last = number == self.settings.depth - 1
                yield self._deep(inputs, outputs if last else inputs, last)
        else:
            parts = {
                "bn1": self._norm(inputs),
                "conv2d1": self.layers.conv(inputs, outputs, 3),
                "bn2": self._norm(outputs),
                "conv2d2": self.layers.conv(outputs, outputs, 3),
                "conv2d0": self.layers.conv(inputs, outputs, 1),
            }
            yield Stored(ResidualBlock, parts)

    def _deep(self, inputs: int, outputs: int, up: bool) -> Stored:
        hidden = inputs // 4
        parts = {
            "bn1": self._norm(inputs),
            "conv2d1": self.layers.conv(inputs, hidden, 1),
            "bn2": self._norm(hidden),
            "conv2d2": self.layers.conv(hidden, hidden, 3),
            "bn3": self._norm(hidden),
            "conv2d3": self.layers.conv(hidden, hidden, 3),
            "bn4": self._norm(hidden),
            "conv2d4": self.layers.conv(hidden, outputs, 1),
        }
        if self.settings.backbone == BY_CONVOLUTION:
            parts["conv2d0"] = self.layers.conv(inputs, outputs, 1)
        return Stored(partial(DeepBlock, up=up), parts)

    def _norm(self, channels: int) -> Stored:
        inputs = self.settings.condition
        if not inputs:
            return self._plain_norm(channels)
        parts: dict[str, Part] = {
            "bn.running_mean": (channels,),
            "bn.running_var": (channels,),
            "gain": self.layers.linear(inputs, channels, bias=False),
            "bias": self.layers.linear(inputs, channels, bias=False),
        }
        return Stored(partial(linear_conditional_norm, EPS), parts)

    def _plain_norm(self, channels: int) -> Stored:
        names = ("running_mean", "running_var", "weight", "bias")
        return Stored(partial(norm, EPS), {name: (channels,) for name in names})
