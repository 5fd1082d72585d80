"""The family ``aegan-pokegan``: the generator of Lazarou, "Autoencoding Generative Adversarial Networks" (2020).

As in ConorLazarou/PokeGAN: 96x96 images whose every pixel mixes sixteen colours of the image's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from preimage.adapters.checked_settings import CheckedSettings
from preimage.adapters.exact_load import load_exactly
from preimage.adapters.plain_generator import PlainGenerator
from preimage.adapters.state_files import generator_tensors
from preimage.harness.cards import Config, ImageSpec
from preimage.harness.converted import read_converted

FAMILY = "aegan-pokegan"
SETTINGS = ("latent_dim",)
TABLES = ("generator", "state_dict", "model_state_dict")
GROWTH, STEPS = 8, 7  # values that a step of the projection adds; steps
COLOURS = 16
CHANNELS = (512, 256, 256, 256, 64)  # of the convolutions; the image doubles before each, from 3x3


class AeganNetwork(nn.Module):
    """Codes [n, dim] to images [n, 3, 96, 96] in [-1, 1]; its parameters have their official names."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        wide = dim + GROWTH * STEPS
        self.projection = nn.ModuleList(_dense(dim + GROWTH * i, GROWTH) for i in range(STEPS))
        self.colourspace_r, self.colourspace_g, self.colourspace_b = (_palette(wide) for _ in range(3))
        self.seed = _dense(wide, CHANNELS[0] * 9)
        self.conv = nn.ModuleList()
        before = CHANNELS[0]
        for i, after in enumerate(CHANNELS):
            kernel, sides = (4, (1, 2, 1, 2)) if i else (3, (1, 1, 1, 1))
            joined = before + (wide if i else 0)
            conv = nn.Conv2d(joined // 4, after, kernel)
            self.conv.append(nn.Sequential(nn.ZeroPad2d(sides), conv, nn.BatchNorm2d(after), nn.LeakyReLU()))
            before = after
        self.conv.append(nn.Sequential(nn.ZeroPad2d(2), nn.Conv2d(before, COLOURS, 5), nn.Softmax(dim=1)))

    def forward(self, code: Tensor) -> Tensor:
        wide = code
        for step in self.projection:
            wide = torch.cat([wide, step(wide)], dim=1)
        x = cast(Tensor, self.seed(wide)).reshape(-1, CHANNELS[0], 3, 3)
        for i, step in enumerate(self.conv[:-1]):
            if i:
                x = torch.cat([x, wide[:, :, None, None].expand(-1, -1, *x.shape[2:])], dim=1)
            x = step(functional.pixel_shuffle(x, 2))
        shares = self.conv[-1](x)
        colours = torch.stack([palette(wide) for palette in self._palettes()], dim=1)  # [n, 3, COLOURS]
        image: Tensor = torch.einsum("nck,nkhw->nchw", colours, shares)
        return image

    def _palettes(self) -> tuple[nn.Module, nn.Module, nn.Module]:
        return self.colourspace_r, self.colourspace_g, self.colourspace_b


def _dense(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(before, after), nn.BatchNorm1d(after), nn.LeakyReLU())


def _palette(before: int) -> nn.Sequential:
    return nn.Sequential(*_dense(before, 128), *_dense(128, 64), nn.Linear(64, COLOURS), nn.Tanh())


def build(config: Config, weights: Mapping[str, Tensor]) -> PlainGenerator:
    """The generator, with the prior N(0, I). Its widths are fixed.

    Raises CardError for settings that are none, WeightsError that lists the tensors that do not fit.
    """
    said = CheckedSettings.of(config, SETTINGS, FAMILY)
    dim = said.count("latent_dim", 16)
    if dim % 4:
        raise said.wrong(f"`latent_dim` is {dim}; four pixels are made of four channels, so it must be a multiple of 4")
    network = AeganNetwork(dim)
    load_exactly(network, weights, f"an {FAMILY}")
    return PlainGenerator(network, dim, ImageSpec(3, 96, 96)).frozen()


def read(path: Path) -> tuple[Config, Mapping[str, Tensor]]:
    """The weights of a state dict, alone or in a table; settings are in converted files alone."""
    if path.suffix == ".safetensors":
        return read_converted(path)
    return {}, generator_tensors(path, TABLES)
