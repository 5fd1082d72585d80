"""Residual blocks on growing images: the four generators of GAN_stability as tables of their blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from preimage.adapters.upsampled_convs import doubled_conv

RESIDUE = 0.1  # what a block adds is taken so many times
SLOPE = 0.2  # of the leaky ReLU


class Block(NamedTuple):
    """A residual block: the official name, channels before and after, whether its input is doubled first."""

    name: str
    before: int
    after: int
    doubled: bool


@dataclass(frozen=True)
class Plan:
    """A generator: side of its first image, its blocks, whether a doubling ends them, the last convolution's kernel."""

    side: int
    blocks: Sequence[Block]
    doubled: bool  # after the last block
    kernel: int  # of conv_img
    unit: bool  # whether embeddings are brought to length 1

    @property
    def final_side(self) -> int:
        """Height and width of an image."""
        return self.side << (sum(block.doubled for block in self.blocks) + self.doubled)

    @property
    def first(self) -> int:
        """Channels of the first image."""
        return self.blocks[0].before

    @property
    def last(self) -> int:
        """Channels before the last convolution."""
        return self.blocks[-1].after


def resnet(size: int, nf: int, nf_max: int) -> Plan:
    """From 4x4: a block per side, halving the channels of ``nf * size / 4`` where they are under ``nf_max``."""
    doublings = (size // 4).bit_length() - 1
    widths = [min(nf << (doublings - i), nf_max) for i in range(doublings + 1)]
    blocks = [Block(f"resnet.{2 * i}", widths[i], widths[i + 1], i > 0) for i in range(doublings)]
    return Plan(4, [*blocks, Block(f"resnet.{2 * doublings}", nf, nf, doublings > 0)], False, 3, True)


def resnet2(size: int, nf: int) -> Plan:
    """Six sides with two blocks each, from ``size / 32``."""
    widths = (16, 16, 8, 4, 2, 1)
    blocks = []
    for stage, (before, after) in enumerate(zip((16, *widths), widths, strict=False)):
        blocks.append(Block(f"resnet_{stage}_0", before * nf, after * nf, stage > 0))
        blocks.append(Block(f"resnet_{stage}_1", after * nf, after * nf, False))
    return Plan(size // 32, blocks, False, 3, True)


def resnet3(size: int, nf: int) -> Plan:
    """Six sides with one block each, from ``size / 64``; a doubling after every one."""
    return Plan(size // 64, _row((32, 16, 16, 8, 4, 2, 1), nf), True, 7, False)


def resnet4(size: int, nf: int) -> Plan:
    """Half as wide as `resnet3` at first, with one more block, at full size."""
    return Plan(size // 64, _row((16, 16, 16, 8, 4, 2, 1, 1), nf), False, 7, False)


def _row(widths: Sequence[int], nf: int) -> list[Block]:
    pairs = enumerate(pairwise(widths))
    return [Block(f"resnet_{stage}_0", before * nf, after * nf, stage > 0) for stage, (before, after) in pairs]


class ResnetBlock(nn.Module):
    """``s(x) + 0.1 conv_1(lrelu(conv_0(lrelu(x))))``, of ``up(x)`` where the block is doubled."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        hidden = min(block.before, block.after)
        self.doubled = block.doubled
        self.conv_0: nn.Module = nn.Conv2d(block.before, hidden, 3, padding=1)
        self.conv_1 = nn.Conv2d(hidden, block.after, 3, padding=1)
        self.conv_s = nn.Conv2d(block.before, block.after, 1, bias=False) if block.before != block.after else None

    def fold(self) -> None:
        """Fold the 0.1 into the second convolution, the doubling into the first."""
        assert isinstance(self.conv_0, nn.Conv2d) and self.conv_1.bias is not None
        self.conv_1.weight.data.mul_(RESIDUE)
        self.conv_1.bias.data.mul_(RESIDUE)
        if self.doubled:
            self.conv_0 = doubled_conv(self.conv_0)

    def forward(self, x: Tensor) -> Tensor:
        hidden = functional.leaky_relu(self.conv_0(functional.leaky_relu(x, SLOPE)), SLOPE)
        straight = x if self.conv_s is None else self.conv_s(x)
        if self.doubled:  # what each pixel goes through alone may be done before
            straight = functional.interpolate(straight, scale_factor=2.0, mode="nearest")
        added: Tensor = straight + self.conv_1(hidden)
        return added


class ResidualNetwork(nn.Module):
    """Codes [n, dim] and embeddings of classes [n, embedding] to images [n, 3, s, s] in [-1, 1]. `fold` it first."""

    def __init__(self, plan: Plan, dim: int, classes: int, embedding: int) -> None:
        super().__init__()
        self.plan = plan
        self.embedding = nn.Embedding(classes, embedding)
        self.fc = nn.Linear(dim + embedding, plan.first * plan.side**2)
        self.blocks = nn.ModuleList(ResnetBlock(block) for block in plan.blocks)
        self.conv_img: nn.Module = nn.Conv2d(plan.last, 3, plan.kernel, padding=plan.kernel // 2)

    def official(self) -> nn.Module:
        """The same layers under their official names."""
        named = nn.Module()
        for name in ("embedding", "fc", "conv_img"):
            named.add_module(name, getattr(self, name))
        for block, layer in zip(self.plan.blocks, self.blocks, strict=True):
            folder, _, number = block.name.partition(".")
            if not number:
                named.add_module(folder, layer)
                continue
            if folder not in named._modules:
                named.add_module(folder, nn.ModuleDict())
            named.get_submodule(folder).add_module(number, layer)
        return named

    def fold(self) -> None:
        """Fold what need not be computed for every image; official parameters fit no longer."""
        for layer in self.blocks:
            assert isinstance(layer, ResnetBlock)
            layer.fold()
        if self.plan.doubled:
            assert isinstance(self.conv_img, nn.Conv2d)
            self.conv_img = doubled_conv(self.conv_img)

    def forward(self, code: Tensor, embedding: Tensor) -> Tensor:
        if self.plan.unit:
            embedding = embedding / embedding.norm(dim=1, keepdim=True)
        x = self.fc(torch.cat([code, embedding], dim=1)).reshape(-1, self.plan.first, self.plan.side, self.plan.side)
        for block in self.blocks:
            x = block(x)
        image: Tensor = self.conv_img(functional.leaky_relu(x, SLOPE)).tanh()
        return image


PLANS: Mapping[str, Callable[[int, int, int], Plan]] = {
    "mesch-resnet": resnet,
    "mesch-resnet2": lambda size, nf, nf_max: resnet2(size, nf),
    "mesch-resnet3": lambda size, nf, nf_max: resnet3(size, nf),
    "mesch-resnet4": lambda size, nf, nf_max: resnet4(size, nf),
}
