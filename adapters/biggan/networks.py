"""The parts of BigGAN and BigGAN-deep, under the names of their checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from torch import nn

from preimage.adapters.biggan.settings import Settings
from preimage.adapters.gan_blocks import DeepBlock, ResidualBlock
from preimage.adapters.gan_layers import (
    Convention,
    Layers,
    Stored,
    attention,
    conditional_norm,
    linear_conditional_norm,
    norm,
)

OUTPUT_EPS = 1e-5  # of the last norm, whatever `BN_eps` says
ATTENTION = ("theta", "phi", "g", "o", "gamma")


class Parts:
    """Makes the parts that the settings ask for."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.layers = Layers(Convention.BIGGAN, settings.sn_eps)
        own = settings.z_dim if settings.deep else settings.chunk
        self.condition = settings.shared_dim + own  # entries of what a block is told
        self.statistics = ("bn.stored_mean", "bn.stored_var") if settings.my_bn else ("stored_mean", "stored_var")

    def linear(self) -> Stored:
        """From the code, or its first chunk, to the first channels."""
        settings = self.settings
        inputs = self.condition if settings.deep else settings.chunk or settings.z_dim
        return self.layers.linear(inputs, settings.widths[0] * settings.bottom_width**2)

    def blocks(self) -> nn.ModuleList:
        """Of all stages in turn; attention is the second part of a stage's last block."""
        found = []
        for stage, attends in enumerate(self.settings.attention):
            inputs, outputs = self.settings.widths[stage : stage + 2]
            stage_blocks = list(self._deep(inputs, outputs)) if self.settings.deep else [self._plain(inputs, outputs)]
            if attends:
                stage_blocks[-1].append(attention(self.layers, outputs, ATTENTION, ()))
            found += stage_blocks
        return nn.ModuleList(found)

    def output(self) -> nn.ModuleDict:
        """Norm, activation and convolution to colours."""
        width = self.settings.widths[-1]
        mean, var = self.statistics
        parts = {mean: (width,), var: (width,), "gain": (width,), "bias": (width,)}
        last = Stored(partial(norm, OUTPUT_EPS), parts)
        return nn.ModuleDict({"0": last, "2": self.layers.conv(width, 3, 3)})

    def _plain(self, inputs: int, outputs: int) -> nn.ModuleList:
        parts = {
            "bn1": self._norm(inputs),
            "conv1": self.layers.conv(inputs, outputs, 3),
            "bn2": self._norm(outputs),
            "conv2": self.layers.conv(outputs, outputs, 3),
            "conv_sc": self.layers.conv(inputs, outputs, 1),
        }
        return nn.ModuleList([Stored(ResidualBlock, parts)])

    def _deep(self, inputs: int, outputs: int) -> Iterator[nn.ModuleList]:
        hidden, depth = inputs // 4, self.settings.depth
        for number in range(depth):
            last = number == depth - 1
            parts = {
                "bn1": self._norm(inputs),
                "conv1": self.layers.conv(inputs, hidden, 1),
                "bn2": self._norm(hidden),
                "conv2": self.layers.conv(hidden, hidden, 3),
                "bn3": self._norm(hidden),
                "conv3": self.layers.conv(hidden, hidden, 3),
                "bn4": self._norm(hidden),
                "conv4": self.layers.conv(hidden, outputs if last else inputs, 1),
            }
            yield nn.ModuleList([Stored(partial(DeepBlock, up=last), parts)])

    def _norm(self, channels: int) -> Stored:
        mean, var = self.statistics
        statistics = {mean: (channels,), var: (channels,)}
        eps = self.settings.bn_eps
        if not self.settings.shared_dim:
            rows = (self.settings.classes, channels)
            return Stored(partial(conditional_norm, eps), {**statistics, "gain.weight": rows, "bias.weight": rows})
        gain, bias = (self.layers.linear(self.condition, channels, bias=False) for _ in range(2))
        return Stored(partial(linear_conditional_norm, eps), {**statistics, "gain": gain, "bias": bias})
