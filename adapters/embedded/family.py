"""The family ``embedded-decoder``: a small decoder behind the latent interface."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from torch import Tensor

from preimage.adapters.embedded.networks import SIDE, Decoder, DecoderConfig
from preimage.adapters.exact_load import load_exactly, read_safetensors
from preimage.harness.cards import Config, ImageSpec
from preimage.harness.errors import GeneratorError, WeightsError
from preimage.harness.generator import Generator, LatentSpace
from preimage.harness.priors import StandardNormal


class EmbeddedDecoder(Generator):
    """Codes z ~ N(0, I) [n, dim] to images [n, 1, 28, 28]; the decoder's final sigmoid keeps them in (0, 1)."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.decoder = Decoder(config)
        self.spaces = {"z": LatentSpace("z", config.dim, StandardNormal())}
        self.image = ImageSpec(1, SIDE, SIDE)
        self.num_classes = config.num_classes

    def decode(self, code: Tensor, label: Tensor | None = None, *, space: str = "z") -> Tensor:
        self.space(space)
        if self.num_classes and label is None:
            raise GeneratorError(f"this model has {self.num_classes} classes: give decode a label per code, [n] int64")
        return cast(Tensor, self.decoder(code, label))


def build(config: Config, weights: Mapping[str, Tensor]) -> EmbeddedDecoder:
    """The generator, frozen and in eval mode. Raises WeightsError that lists the tensors that do not fit."""
    generator = EmbeddedDecoder(DecoderConfig.from_mapping(config))
    load_exactly(generator.decoder, weights, "an embedded-decoder")
    return generator.eval().requires_grad_(False)


def read(path: Path) -> tuple[Config, Mapping[str, Tensor]]:
    """Settings (from the file's metadata, JSON under ``config``) and float32 weights of a shipped .safetensors file."""
    metadata, weights = read_safetensors(path)
    if "config" not in metadata:
        raise WeightsError(f"{str(path)!r} has no `config` in its metadata, so it is no embedded-decoder")
    return json.loads(metadata["config"]), {name: value.float() for name, value in weights.items()}
