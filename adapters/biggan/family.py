"""The families ``biggan`` and ``biggan-deep``: ajbrock's generators behind the latent interface, at eval."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from preimage.adapters.biggan.networks import Parts
from preimage.adapters.biggan.settings import DEEP, PLAIN, Settings, settings_from
from preimage.adapters.class_labels import checked_label, class_vectors
from preimage.adapters.exact_load import load_exactly
from preimage.adapters.gan_layers import Stored, fold, table
from preimage.adapters.plain_generator import check_codes
from preimage.adapters.state_files import generator_tensors
from preimage.harness.cards import Config, ImageSpec
from preimage.harness.converted import read_converted
from preimage.harness.generator import Generator, LatentSpace
from preimage.harness.priors import StandardNormal


class BigGAN(Generator):
    """Codes z ~ N(0, I) [n, dim_z], of the whole chunks where the code is cut into some.

    Labels: [n] int64, weights of the classes [n, n_classes], or, where classes share vectors, these [n, shared_dim].
    Brock et al., ICLR 2019.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        parts = Parts(settings)
        self.shared: nn.Module | None = None
        if settings.shared_dim:
            rows = (settings.classes, settings.shared_dim)
            self.shared = Stored(table, {"weight": rows})
        self.linear = parts.linear()
        self.blocks = parts.blocks()
        self.output_layer = parts.output()
        self.spaces = {"z": LatentSpace("z", settings.z_dim, StandardNormal())}
        self.image = ImageSpec(3, settings.side, settings.side)
        self.num_classes = settings.classes

    def decode(self, code: Tensor, label: Tensor | None = None, *, space: str = "z") -> Tensor:
        check_codes(code, self.space(space))
        z, conditions = self._inputs(code, label)
        side = self.settings.bottom_width
        x: Tensor = self.linear(z).unflatten(1, (self.settings.widths[0], side, side))
        for parts, y in zip(self.blocks, conditions, strict=True):
            block, *attention = cast(nn.ModuleList, parts)
            x = block(x, y)
            if attention:
                x = attention[0](x)
        image = torch.tanh(self.output_layer["2"](self.output_layer["0"](x)))
        return (image + 1) * 0.5

    def _inputs(self, code: Tensor, label: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        """What the linear layer gets, and each of the blocks."""
        count = len(self.blocks)
        if self.shared is None:
            return code, [checked_label(label, code, self.num_classes)] * count
        y = class_vectors(label, code, cast(nn.Embedding, self.shared).weight)
        if self.settings.deep:
            both = torch.cat([y, code], dim=1)
            return both, [both] * count
        if self.settings.chunk:
            first, *others = torch.split(code, self.settings.chunk, dim=1)
            return first, [torch.cat([y, chunk], dim=1) for chunk in others]
        return code, [y] * count


def build(config: Config, weights: Mapping[str, Tensor]) -> BigGAN:
    """The generator, frozen and in eval mode.

    Raises CardError for settings that are none, WeightsError that lists the tensors that do not fit.
    """
    return _built(settings_from(config, deep=False), weights)


def build_deep(config: Config, weights: Mapping[str, Tensor]) -> BigGAN:
    """The same of a BigGAN-deep."""
    return _built(settings_from(config, deep=True), weights)


def read(path: Path) -> tuple[Config, Mapping[str, Tensor]]:
    """Settings and weights of a converted .safetensors; of a released `G_ema.pth` the weights alone."""
    if path.suffix == ".safetensors":
        return read_converted(path)
    return {}, generator_tensors(path, ())


def _built(settings: Settings, weights: Mapping[str, Tensor]) -> BigGAN:
    generator = BigGAN(settings)
    load_exactly(generator, _computing(settings, weights), f"a {DEEP if settings.deep else PLAIN}")
    fold(generator)
    return generator.eval().requires_grad_(False)


def _computing(settings: Settings, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights without what upstream only records: singular values, vectors beside the first, a step count."""
    recorded = [r"sv\d+"] + [f"u{number}" for number in range(1, settings.singular_values)]
    if settings.my_bn:
        recorded.append("accumulation_counter")
    unused = re.compile(rf"(.*\.)?({'|'.join(recorded)})")
    return {name: value for name, value in weights.items() if not unused.fullmatch(name)}
