"""The family ``ae``: an autoencoder in the layout of DCGAN, whose encoder recovers an image in one pass.

There is no official one. Webster et al. (CVPR 2019, section 3.1) take their generators' own architecture; this is the
decoder of pytorch/examples (``decoder.main.*``) and its critic with a code as output (``encoder.main.*``). A file may
hold the codes of the training images too, as a tensor ``codes`` [n, nz] in their order.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

from torch import Tensor, nn

from preimage.adapters.checked_settings import CheckedSettings
from preimage.adapters.code_priors import CODES, FittedGaussian, training_codes
from preimage.adapters.dcgan.layers import decoder, encoder
from preimage.adapters.exact_load import load_exactly
from preimage.adapters.plain_generator import PlainGenerator
from preimage.adapters.state_files import generator_tensors
from preimage.harness.cards import Config, ImageSpec
from preimage.harness.converted import read_converted
from preimage.harness.priors import Prior, StandardNormal

FAMILY = "ae"
SETTINGS = ("nz", "ngf", "ndf", "nc", "size", "prior")
PRIORS: Mapping[str | None, str] = {name: name for name in ("fitted", "normal")}
TABLES = ("state_dict", "model_state_dict")


class AutoEncoder(PlainGenerator):
    """Codes z [n, nz] to images [n, nc, size, size], and back."""

    def __init__(self, network: nn.Module, encoder: nn.Module, dim: int, image: ImageSpec, prior: Prior) -> None:
        super().__init__(network, dim, image, prior)
        self.encoder = encoder

    def encode(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        return cast(Tensor, self.encoder(2 * image - 1))


def build(config: Config, weights: Mapping[str, Tensor]) -> AutoEncoder:
    """The generator with its encoder. ``prior``: ``fitted`` to the training codes (the default where the file has
    them) or ``normal``. Training codes become ``trained_codes`` [n, nz].

    Raises CardError for settings that are none, WeightsError that lists the tensors that do not fit.
    """
    said = CheckedSettings.of(config, SETTINGS, FAMILY)
    dim, out, size = said.count("nz", 100), said.count("nc", 3), said.count("size", 64, least=8)
    if size & (size - 1):
        raise said.wrong(f"`size` is {size}; it must be a power of two from 8 up")
    doublings = size.bit_length() - 3
    decodes = decoder(dim, [said.count("ngf", 64) << i for i in reversed(range(doublings))], out)
    encodes = encoder([said.count("ndf", 64) << i for i in range(doublings)], out, dim)
    codes = training_codes(weights, dim)
    prior = _prior(said, codes)
    layers = nn.ModuleDict({"decoder": _main(*decodes[1:]), "encoder": _main(*encodes)})
    load_exactly(layers, {name: value for name, value in weights.items() if name != CODES}, f"an {FAMILY}")
    generator = AutoEncoder(decodes, encodes, dim, ImageSpec(out, size, size), prior)
    if codes is not None:
        generator.register_buffer("trained_codes", codes)
    return generator.frozen()


def _main(*layers: nn.Module) -> nn.ModuleDict:
    return nn.ModuleDict({"main": nn.Sequential(*layers)})


def _prior(said: CheckedSettings, codes: Tensor | None) -> Prior:
    chosen = said.one_of("prior", PRIORS, "normal" if codes is None else "fitted")
    if chosen == "normal":
        return StandardNormal()
    if codes is None:
        raise said.wrong(f"`prior` is fitted, and the weights have no training codes: a tensor `{CODES}` [n, nz]")
    return FittedGaussian(codes)


def read(path: Path) -> tuple[Config, Mapping[str, Tensor]]:
    """The weights of a state dict, alone or in a table; settings are in converted files alone."""
    if path.suffix == ".safetensors":
        return read_converted(path)
    return {}, generator_tensors(path, TABLES)
