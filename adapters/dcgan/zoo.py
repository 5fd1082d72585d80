"""The family ``dcgan-zoo``: DCGAN of facebookresearch/pytorch_GAN_zoo."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from preimage.adapters.checked_settings import CheckedSettings
from preimage.adapters.dcgan.layers import doubling, first_conv
from preimage.adapters.exact_load import load_exactly
from preimage.adapters.gan_zoo_files import read_zoo
from preimage.adapters.plain_generator import PlainGenerator
from preimage.harness.cards import Config, ImageSpec
from preimage.harness.converted import read_converted

FAMILY = "dcgan-zoo"
SETTINGS = ("dimLatentVector", "dimOutput", "dimModelG", "depthModel", "generationActivation")
IN_FILES = {
    "latentVectorDim": "dimLatentVector",
    "dimOutput": "dimOutput",
    "dimG": "dimModelG",
    "depth": "depthModel",
}
ACTIVATIONS = {"tanh": nn.Tanh, None: nn.Identity}


def build(config: Config, weights: Mapping[str, Tensor]) -> PlainGenerator:
    """The generator: ``dimModelG * 2^depthModel`` channels at 4x4, halved with every doubling.

    Raises CardError for settings that are none, WeightsError that lists the tensors that do not fit.
    """
    said = CheckedSettings.of(config, SETTINGS, FAMILY)
    dim, out, width = said.count("dimLatentVector"), said.count("dimOutput"), said.count("dimModelG")
    depth = said.count("depthModel", 3, least=0)
    end = said.one_of("generationActivation", ACTIVATIONS, "tanh")()
    unflatten, first = first_conv(dim, width << depth)
    main = nn.Sequential()
    for i in range(depth + 1):
        channels = width << (depth - i)
        if i:
            main.add_module(f"convTranspose{i}", doubling(2 * channels, channels))
        main.add_module(f"batchNorm{i}", nn.BatchNorm2d(channels))
        main.add_module(f"relu{i}", nn.ReLU())
    main.add_module("outlayer", doubling(width, out))
    load_exactly(nn.ModuleDict({"formatLayer": first, "main": main}), weights, f"a {FAMILY}")
    side = 8 << depth
    network = nn.Sequential(unflatten, first, *main, end)  # flat, so that the first batch norm can be folded too
    return PlainGenerator(network, dim, ImageSpec(out, side, side)).frozen()


def read(path: Path) -> tuple[Config, Mapping[str, Tensor]]:
    """Settings and weights of a checkpoint of the zoo (its ``avgG``) or a converted file."""
    if path.suffix == ".safetensors":
        return read_converted(path)
    return read_zoo(path, IN_FILES)
