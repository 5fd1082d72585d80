"""The families ``embedded-decoder`` and ``embedded-autoencoder``: small networks behind the latent interface."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from torch import Tensor

from preimage.adapters.embedded.networks import SIDE, AutoEncoder, Decoder, DecoderConfig
from preimage.adapters.exact_load import load_exactly, read_safetensors
from preimage.harness.cards import Config, ImageSpec
from preimage.harness.errors import GeneratorError, WeightsError
from preimage.harness.generator import Generator, LatentSpace
from preimage.harness.priors import StandardNormal


class EmbeddedDecoder(Generator):
    """Codes z ~ N(0, I) [n, dim] to images [n, 1, 28, 28]; the decoder's final sigmoid keeps them in (0, 1)."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        config = decoder.config
        self.decoder = decoder
        self.spaces = {"z": LatentSpace("z", config.dim, StandardNormal())}
        self.image = ImageSpec(1, SIDE, SIDE)
        self.num_classes = config.num_classes

    def decode(self, code: Tensor, label: Tensor | None = None, *, space: str = "z") -> Tensor:
        self.space(space)
        if self.num_classes and label is None:
            raise GeneratorError(f"this model has {self.num_classes} classes: give decode a label per code, [n] int64")
        return cast(Tensor, self.decoder(code, label))


class EmbeddedAutoEncoder(EmbeddedDecoder):
    """The same with the encoder that gives an image's code in one pass (Webster et al., CVPR 2019, section 3.1)."""

    def __init__(self, autoencoder: AutoEncoder) -> None:
        super().__init__(autoencoder.decoder)
        self.autoencoder = autoencoder

    def encode(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        return self.autoencoder.encode(image, label)


def build(config: Config, weights: Mapping[str, Tensor]) -> EmbeddedDecoder:
    """The generator, frozen and in eval mode. Raises WeightsError that lists the tensors that do not fit."""
    decoder = Decoder(DecoderConfig.from_mapping(config))
    load_exactly(decoder, weights, "an embedded-decoder")
    return EmbeddedDecoder(decoder).eval().requires_grad_(False)


def build_autoencoder(config: Config, weights: Mapping[str, Tensor]) -> EmbeddedAutoEncoder:
    """The generator with its encoder, frozen and in eval mode. Raises WeightsError as `build` does."""
    autoencoder = AutoEncoder(DecoderConfig.from_mapping(config))
    load_exactly(autoencoder, weights, "an embedded-autoencoder")
    return EmbeddedAutoEncoder(autoencoder).eval().requires_grad_(False)


def read(path: Path) -> tuple[Config, Mapping[str, Tensor]]:
    """Settings (from the file's metadata, JSON under ``config``) and float32 weights of a shipped .safetensors file."""
    metadata, weights = read_safetensors(path)
    if "config" not in metadata:
        raise WeightsError(f"{str(path)!r} has no `config` in its metadata, so it is none of the embedded models")
    return json.loads(metadata["config"]), {name: value.float() for name, value in weights.items()}
