"""The family ``glo-minimal``: Bojanowski et al., "Optimizing the Latent Space of Generative Networks" (ICML 2018).

A file may hold the training codes beside the decoder, as a tensor ``codes`` [n, dim] in the order of the training
images. Models of implicit maximum likelihood (IMLE) are of this family too: their codes are drawn from N(0, I).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from preimage.adapters.checked_settings import CheckedSettings
from preimage.adapters.code_priors import CODES, GaussianInBall, UniformInBall, training_codes
from preimage.adapters.dcgan.examples import deep_conv
from preimage.adapters.plain_generator import PlainGenerator
from preimage.adapters.state_files import tensors_of
from preimage.harness.cards import Config
from preimage.harness.checkpoints import held_in
from preimage.harness.converted import read_converted
from preimage.harness.generator import LatentSpace
from preimage.harness.priors import Prior, StandardNormal

FAMILY = "glo-minimal"
SETTINGS = ("code_dim", "n_filter", "out_channels", "prior")
PRIORS: Mapping[str | None, str] = {name: name for name in ("fitted", "ball", "normal")}
TABLES = ("generator", "state_dict", "model_state_dict")


def build(config: Config, weights: Mapping[str, Tensor]) -> PlainGenerator:
    """The generator; ``decode`` takes codes as they are, the unit ball is where ``Prior.project`` puts them.

    ``prior``, a setting of our own: ``fitted`` to the training codes (where the file has them, the default), ``ball``
    (uniform in the unit ball, the default elsewhere), ``normal``. Training codes become ``trained_codes`` [n, dim].

    Raises CardError for settings that are none, WeightsError that lists the tensors that do not fit.
    """
    said = CheckedSettings.of(config, SETTINGS, FAMILY)
    dim = said.count("code_dim")
    codes = training_codes(weights, dim)
    prior = _prior(said, codes)
    tensors = {name: value for name, value in weights.items() if name != CODES}
    generator = deep_conv(dim, said.count("n_filter", 64), said.count("out_channels", 3), tensors, ("dcnn", FAMILY))
    generator.spaces = {"z": LatentSpace("z", dim, prior)}
    if codes is not None:
        generator.register_buffer("trained_codes", codes)
    return generator


def _prior(said: CheckedSettings, codes: Tensor | None) -> Prior:
    chosen = said.one_of("prior", PRIORS, "ball" if codes is None else "fitted")
    if chosen == "fitted":
        if codes is None:
            raise said.wrong(f"`prior` is fitted, and the weights have no training codes: a tensor `{CODES}` [n, dim]")
        return GaussianInBall(codes)
    return UniformInBall() if chosen == "ball" else StandardNormal()


def read(path: Path) -> tuple[Config, Mapping[str, Tensor]]:
    """The weights of a state dict, alone or in a table, and the training codes beside it or in it."""
    if path.suffix == ".safetensors":
        return read_converted(path)
    held = held_in(path)
    tensors = tensors_of(held, TABLES, path)
    if isinstance(held, Mapping) and isinstance(codes := held.get(CODES), Tensor):
        tensors[CODES] = codes
    return {}, tensors
