"""The family ``pgan-zoo``: progressively grown GANs of facebookresearch/pytorch_GAN_zoo."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from preimage.adapters.checked_settings import CheckedSettings
from preimage.adapters.exact_load import load_exactly
from preimage.adapters.gan_zoo_files import read_zoo
from preimage.adapters.pggan.network import ProgressiveNetwork, Settings
from preimage.adapters.plain_generator import PlainGenerator
from preimage.harness.cards import Config, ImageSpec
from preimage.harness.converted import read_converted

FAMILY = "pgan-zoo"
SETTINGS = (
    "dimLatent",
    "depthScale0",
    "depthOtherScales",
    "dimOutput",
    "leakyReluLeak",
    "normalization",
    "equalizedlR",
    "generationActivation",
    "alpha",
    "initBiasToZero",  # of training
)
IN_FILES = {
    "latentVectorDim": "dimLatent",
    "depthScale0": "depthScale0",
    "depthOtherScales": "depthOtherScales",
    "dimOutput": "dimOutput",
    "leakyReluLeak": "leakyReluLeak",
    "perChannelNormalization": "normalization",
    "equalizedlR": "equalizedlR",
    "alpha": "alpha",
}
ACTIVATIONS = {"tanh": True, None: False}


def build(config: Config, weights: Mapping[str, Tensor]) -> PlainGenerator:
    """The generator. Tensors may be named with ``.module.`` before what a layer holds, or, as in old files, without.

    Raises CardError for settings that are none, WeightsError that lists the tensors that do not fit.
    """
    settings = settings_from(config)
    network = ProgressiveNetwork(settings)
    load_exactly(network, {name.replace(".module.", "."): value for name, value in weights.items()}, f"a {FAMILY}")
    network.fold()
    return PlainGenerator(network, settings.dim, ImageSpec(settings.out, settings.side, settings.side)).frozen()


def settings_from(config: Config) -> Settings:
    """The settings of a card's config, or of a record of a release. Raises CardError that says which is wrong."""
    said = CheckedSettings.of(config, SETTINGS, FAMILY)
    alpha = said.number("alpha", 0.0)
    if not 0 <= alpha <= 1:
        raise said.wrong(f"`alpha` is {alpha}; it is a share, from 0 to 1")
    others = said.counts("depthOtherScales", ())
    if alpha and not others:
        raise said.wrong(f"`alpha` is {alpha}, and `depthOtherScales` is empty: there is no scale before to blend with")
    return Settings(
        dim=said.count("dimLatent"),
        first=said.count("depthScale0"),
        others=others,
        out=said.count("dimOutput", 3),
        leak=said.number("leakyReluLeak", 0.2),
        normalization=said.yes("normalization", True),
        equalized=said.yes("equalizedlR", True),
        tanh=said.one_of("generationActivation", ACTIVATIONS, None),
        alpha=alpha,
    )


def read(path: Path) -> tuple[Config, Mapping[str, Tensor]]:
    """Settings and weights of a checkpoint of the zoo (its ``avgG``) or a converted file."""
    if path.suffix == ".safetensors":
        return read_converted(path)
    return read_zoo(path, IN_FILES)
