"""The family ``wgangp-caogang``: the generator of Gulrajani et al. (NeurIPS 2017) as caogang/wgan-gp has it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from preimage.adapters.checked_settings import CheckedSettings
from preimage.adapters.exact_load import load_exactly
from preimage.adapters.plain_generator import PlainGenerator
from preimage.adapters.state_files import generator_tensors
from preimage.harness.cards import Config, ImageSpec
from preimage.harness.converted import read_converted

FAMILY = "wgangp-caogang"
SETTINGS = ("DIM", "latent")
TABLES = ("netG", "netG_state_dict", "generator", "state_dict", "model_state_dict")


def build(config: Config, weights: Mapping[str, Tensor]) -> PlainGenerator:
    """The generator: 32x32 images in colour, ``4 * DIM`` channels at 4x4, each 2x2 convolution doubling the image.

    Raises CardError for settings that are none, WeightsError that lists the tensors that do not fit.
    """
    said = CheckedSettings.of(config, SETTINGS, FAMILY)
    dim, width = said.count("latent", 128), said.count("DIM", 128)
    features = 4 * 4 * 4 * width
    parts = nn.ModuleDict(
        {
            "preprocess": nn.Sequential(nn.Linear(dim, features), nn.BatchNorm1d(features), nn.ReLU()),
            "block1": _block(4 * width, 2 * width),
            "block2": _block(2 * width, width),
            "deconv_out": nn.ConvTranspose2d(width, 3, 2, stride=2),
        }
    )
    load_exactly(parts, weights, f"a {FAMILY}")
    first, *rest = parts.values()
    network = nn.Sequential(first, nn.Unflatten(1, (4 * width, 4, 4)), *rest, nn.Tanh())
    return PlainGenerator(network, dim, ImageSpec(3, 32, 32)).frozen()


def _block(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.ConvTranspose2d(before, after, 2, stride=2), nn.BatchNorm2d(after), nn.ReLU())


def read(path: Path) -> tuple[Config, Mapping[str, Tensor]]:
    """The weights of a state dict, alone or in a table; settings are in converted files alone."""
    if path.suffix == ".safetensors":
        return read_converted(path)
    return {}, generator_tensors(path, TABLES)
