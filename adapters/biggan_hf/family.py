"""The family ``hf-biggan-deep``: BigGAN-deep of pytorch-pretrained-biggan behind the latent interface, at eval."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from preimage.adapters.biggan_hf.settings import FAMILY, FIRST, START, Layer, Settings, settings_from
from preimage.adapters.class_labels import class_vectors
from preimage.adapters.exact_load import load_exactly
from preimage.adapters.gan_blocks import DeepBlock
from preimage.adapters.gan_layers import (
    Convention,
    Layers,
    Part,
    ScaledReLU,
    SelfAttention,
    Stored,
    attention,
    fold,
    linear_conditional_norm,
    norm,
    table,
)
from preimage.adapters.plain_generator import check_codes
from preimage.adapters.state_files import generator_tensors
from preimage.harness.cards import Config, ImageSpec
from preimage.harness.converted import read_converted
from preimage.harness.errors import WeightsError
from preimage.harness.generator import Generator, LatentSpace
from preimage.harness.priors import TruncatedNormal

LAYERS = Layers(Convention.TORCH)
ATTENTION = tuple(f"snconv1x1_{name}" for name in ("theta", "phi", "g", "o_conv"))


class BigGANDeep(Generator):
    """Codes z from N(0, I) cut to [-2, 2], [n, z_dim]: as drawn. Truncation by t is part of decoding.

    What upstream's callers do, t z, and what its network does, statistics for that t, go together here, so a code's
    density does not depend on t. Labels: [n] int64, weights of the classes [n, num_classes], or vectors [n, z_dim] in
    place of the embedded class.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        width = settings.width
        self.embeddings = Stored(_classes, {"weight": (settings.z_dim, settings.classes)})
        statistics = {"running_means": (settings.n_stats, width), "running_vars": (settings.n_stats, width)}
        self.generator = nn.ModuleDict(
            {
                "gen_z": LAYERS.linear(2 * settings.z_dim, START**2 * FIRST * width),
                "layers": _layers(settings),
                "bn": Stored(partial(_norm, settings), {**statistics, "weight": (width,), "bias": (width,)}),
                "conv_to_rgb": LAYERS.conv(width, width, 3, kept=3),
            }
        )
        self.spaces = {"z": LatentSpace("z", settings.z_dim, TruncatedNormal(2.0))}
        self.image = ImageSpec(3, settings.side, settings.side)
        self.num_classes = settings.classes

    def decode(self, code: Tensor, label: Tensor | None = None, *, space: str = "z") -> Tensor:
        check_codes(code, self.space(space))
        y = class_vectors(label, code, cast(nn.Embedding, self.embeddings).weight)
        condition = torch.cat([code * self.settings.truncation, y], dim=1)
        network = self.generator
        features = FIRST * self.settings.width
        x = network["gen_z"](condition).unflatten(1, (START, START, features)).permute(0, 3, 1, 2)
        for layer in cast(nn.ModuleList, network["layers"]):
            x = layer(x) if isinstance(layer, SelfAttention) else layer(x, condition)
        image = torch.tanh(network["conv_to_rgb"](network["bn"](x)))
        return (image + 1) * 0.5


def _layers(settings: Settings) -> nn.ModuleList:
    """Of all blocks in turn, and attention where it stands, which takes a number of its own."""
    found = []
    for number, layer in enumerate(settings.layers):
        if number == settings.attention:
            found.append(attention(LAYERS, layer.inputs * settings.width, (*ATTENTION, "gamma"), (1,)))
        found.append(_block(settings, layer))
    return nn.ModuleList(found)


def _block(settings: Settings, layer: Layer) -> Stored:
    inputs, outputs = layer.inputs * settings.width, layer.outputs * settings.width
    hidden = inputs // 4
    parts = {
        "bn_0": _conditional(settings, inputs),
        "conv_0": LAYERS.conv(inputs, hidden, 1),
        "bn_1": _conditional(settings, hidden),
        "conv_1": LAYERS.conv(hidden, hidden, 3),
        "bn_2": _conditional(settings, hidden),
        "conv_2": LAYERS.conv(hidden, hidden, 3),
        "bn_3": _conditional(settings, hidden),
        "conv_3": LAYERS.conv(hidden, outputs, 1),
    }
    return Stored(partial(DeepBlock, up=layer.up), parts)


def _conditional(settings: Settings, channels: int) -> Stored:
    shape = (settings.n_stats, channels)
    parts: dict[str, Part] = {
        "running_means": shape,
        "running_vars": shape,
        "scale": LAYERS.linear(2 * settings.z_dim, channels, bias=False),
        "offset": LAYERS.linear(2 * settings.z_dim, channels, bias=False),
    }
    return Stored(partial(_conditional_norm, settings), parts)


def _conditional_norm(
    settings: Settings, means: Tensor, variances: Tensor, gain: nn.Linear, bias: nn.Linear
) -> ScaledReLU:
    return linear_conditional_norm(settings.eps, _row(settings, means), _row(settings, variances), gain, bias)


def _norm(settings: Settings, means: Tensor, variances: Tensor, weight: Tensor, bias: Tensor) -> ScaledReLU:
    return norm(settings.eps, _row(settings, means), _row(settings, variances), weight, bias)


def _row(settings: Settings, statistics: Tensor) -> Tensor:
    """Of the statistics [n_stats, c], those for the truncation."""
    return torch.stack([statistics[row].double() * weight for row, weight in settings.rows()]).sum(dim=0)


def _classes(weight: Tensor) -> nn.Embedding:
    """The vectors of the classes by row, of a linear layer's weights [z_dim, classes]."""
    return table(weight.T.contiguous())


def build(config: Config, weights: Mapping[str, Tensor]) -> BigGANDeep:
    """The generator, frozen and in eval mode.

    Raises CardError for settings that are none, WeightsError that lists the tensors that do not fit.
    """
    generator = BigGANDeep(settings_from(config))
    load_exactly(generator, weights, f"a {FAMILY}")
    fold(generator)
    return generator.eval().requires_grad_(False)


def read(path: Path) -> tuple[Config, Mapping[str, Tensor]]:
    """Settings and weights of a `pytorch_model.bin` with its `config.json` beside it, or of a converted .safetensors.

    Where there is no `config.json`, the card gives the settings.
    """
    if path.suffix == ".safetensors":
        return read_converted(path)
    beside = path.with_name("config.json")
    if not beside.is_file():
        return {}, generator_tensors(path, ())
    try:
        config = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"cannot read the settings {str(beside)!r}: {error}. Fetch that file again") from error
    if not isinstance(config, dict):
        raise WeightsError(f"the settings {str(beside)!r} are no table, but {config!r:.60}. Fetch that file again")
    return config, generator_tensors(path, ())
