"""The family ``dcgan-examples``: DCGAN of pytorch/examples, the one in most people's files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from preimage.adapters.checked_settings import CheckedSettings
from preimage.adapters.dcgan.layers import decoder
from preimage.adapters.exact_load import load_exactly
from preimage.adapters.plain_generator import PlainGenerator
from preimage.adapters.state_files import generator_tensors
from preimage.harness.cards import Config, ImageSpec
from preimage.harness.converted import read_converted

FAMILY = "dcgan-examples"
SETTINGS = ("nz", "ngf", "nc", "ngpu")
TABLES = ("netG_state_dict", "netG", "generator", "state_dict", "model_state_dict")
"""Under which name files of more than the generator hold it."""


def build(config: Config, weights: Mapping[str, Tensor]) -> PlainGenerator:
    """The generator: 64x64 images, ``8 * ngf`` channels at 4x4.

    Raises CardError for settings that are none, WeightsError that lists the tensors that do not fit.
    """
    said = CheckedSettings.of(config, SETTINGS, FAMILY)
    return deep_conv(said.count("nz", 100), said.count("ngf", 64), said.count("nc", 3), weights, ("main", FAMILY))


def deep_conv(dim: int, width: int, out: int, weights: Mapping[str, Tensor], called: tuple[str, str]) -> PlainGenerator:
    """The generator from its tensors; called: how their names begin, and the family's name in errors."""
    prefix, family = called
    network = decoder(dim, [8 * width, 4 * width, 2 * width, width], out)
    load_exactly(nn.ModuleDict({prefix: nn.Sequential(*network[1:])}), weights, f"a {family}")
    return PlainGenerator(network, dim, ImageSpec(out, 64, 64)).frozen()


def read(path: Path) -> tuple[Config, Mapping[str, Tensor]]:
    """The weights of a state dict, alone or in a table; settings are in converted files alone."""
    if path.suffix == ".safetensors":
        return read_converted(path)
    return {}, generator_tensors(path, TABLES)
