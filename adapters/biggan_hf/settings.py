"""The settings of BigGAN-deep as its ``config.json`` names them, and the truncation, checked once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from preimage.adapters.checked_settings import CheckedSettings
from preimage.adapters.gan_layers import check_eval_mode
from preimage.adapters.official_settings import RECORD, official_settings
from preimage.harness.cards import Config
from preimage.harness.errors import CardError

FAMILY = "hf-biggan-deep"
KNOWN = (
    *("output_dim", "z_dim", "class_embed_dim", "channel_width", "num_classes", "layers", "attention_layer_position"),
    *("eps", "n_stats", "truncation", "eval_mode"),
)
START = 4  # pixels of a side before the first layer
FIRST = 16  # channels there, in multiples of the width


class Layer(NamedTuple):
    """A block: whether it doubles the image, and its channels in multiples of the width."""

    up: bool
    inputs: int
    outputs: int


@dataclass(frozen=True)
class Settings:
    """A generator, and how it is truncated."""

    z_dim: int  # of a code, and of the vector of a class
    width: int  # channels, times what a layer says
    classes: int
    layers: tuple[Layer, ...]
    attention: int  # the layer before which it stands
    eps: float
    n_stats: int  # rows of statistics, for truncations from 0 to 1
    truncation: float

    @property
    def side(self) -> int:
        """Pixels of a side."""
        return START << sum(layer.up for layer in self.layers)

    def rows(self) -> tuple[tuple[int, float], ...]:
        """The rows of statistics for the truncation, and their weights.

        As upstream: the weights of the two neighbours are the other way round, and rounding of the quotient may
        select another row than the nearest one (t = 0.14, 0.28, 0.56 the next, 0.58, 0.94 the one before).
        """
        weight, row = math.modf(self.truncation / (1 / (self.n_stats - 1)))
        if weight == 0:
            return ((int(row), 1.0),)
        return ((int(row), weight), (int(row) + 1, 1 - weight))


def settings_from(config: Config) -> Settings:
    """The settings of a card's config, a ``config.json``, or a record of a release. Raises CardError."""
    given = CheckedSettings(FAMILY, _given(config))
    check_eval_mode(given)
    settings = Settings(
        z_dim=given.count("z_dim"),
        width=given.count("channel_width", least=3),
        classes=given.count("num_classes"),
        layers=_layers(given),
        attention=given.count("attention_layer_position", least=0),
        eps=given.number("eps", 1e-4),
        n_stats=given.count("n_stats", 51, least=2),
        truncation=given.number("truncation", 1.0),
    )
    if not 0 < settings.truncation <= 1:
        raise given.wrong(f"`truncation` is {settings.truncation}; it must be above 0 and at most 1 (not truncated)")
    if (row := settings.rows()[-1][0]) >= settings.n_stats:
        raise given.wrong(
            f"`truncation` {settings.truncation} asks for row {row} of statistics, and there are {settings.n_stats}"
        )
    if (said := given.count("output_dim", settings.side)) != settings.side:
        raise given.wrong(f"`output_dim` is {said}; the layers make images of {settings.side} pixels")
    return settings


def _given(config: Config) -> Config:
    """The settings alone, of a record that keeps them under ``config`` too."""
    record = config.get("config")
    if isinstance(record, Mapping):
        config = {**{name: value for name, value in config.items() if name != "config"}, RECORD: record}
    return official_settings(config, KNOWN, FAMILY)


def _layers(given: CheckedSettings) -> tuple[Layer, ...]:
    said = given.values.get("layers")
    if not isinstance(said, list | tuple) or not said:
        raise _no_layers(given, said)
    layers = tuple(_layer(given, one) for one in said)
    before = FIRST
    for number, layer in enumerate(layers):
        if layer.inputs != before:
            raise given.wrong(f"`layers[{number}]` takes {layer.inputs} times the width, and gets {before}")
        if layer.outputs not in (layer.inputs, layer.inputs // 2):
            raise given.wrong(
                f"`layers[{number}]` makes {layer.outputs} of {layer.inputs} times the width; a block keeps the "
                "channels or halves them"
            )
        before = layer.outputs
    if before != 1:
        raise given.wrong(f"the last of `layers` makes {before} times the width; the way to colours takes 1")
    return layers


def _layer(given: CheckedSettings, one: object) -> Layer:
    parts = list(one) if isinstance(one, list | tuple) else []
    if len(parts) != 3 or not isinstance(parts[0], bool):
        raise _no_layers(given, one)
    up, *channels = parts
    if not all(isinstance(c, int) and not isinstance(c, bool) and c > 0 for c in channels):
        raise _no_layers(given, one)
    return Layer(up, *channels)


def _no_layers(given: CheckedSettings, said: object) -> CardError:
    return given.wrong(
        f"`layers` has {said!r}; list [whether it doubles, channels in, channels out], e.g. [true, 16, 8]"
    )
