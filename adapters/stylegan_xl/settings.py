"""Settings of a generator in the three forms that they come in, checked once.

- The constructor settings of a stem.
- Those under ``stem_init_kwargs``, and under ``superres_kwargs`` a list of heads, each put on what stands before it.
- What a released network says of itself: ``input`` and ``layers`` as tables of attributes, and the sizes. These win
  over the settings that designed them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import pairwise

from preimage.adapters.official_settings import RECORD, official_settings
from preimage.adapters.stylegan_xl.layer_table import (
    HeadSettings,
    InputSpec,
    LayerSpec,
    StemSettings,
    SynthesisSpec,
    stem,
    superresolved,
)
from preimage.adapters.stylegan_xl.typed_tables import FAMILY, count, number, record, table_of, tables_of, wrong
from preimage.harness.cards import Config

OUTPUT_SCALE = 0.25
STEM, HEADS = "stem_init_kwargs", "superres_kwargs"
DESIGN = tuple(field.name for field in fields(StemSettings))
DIMS = ("z_dim", "c_dim", "w_dim")
TRAINING = (
    "magnitude_ema_beta",
    "num_fp16_res",
)  # upstream's, for training and half precision: no part of a forward pass
MAPPING_TRAINING = ("w_avg_beta", "rand_embedding")
OF_A_STEM = (*DIMS, *DESIGN, "mapping_kwargs", *TRAINING)
OF_A_NETWORK = ("input", "layers", "num_ws")
OWN = ("truncation_psi", "truncation_cutoff")
KNOWN = (*OF_A_STEM, STEM, HEADS, *OF_A_NETWORK, *OWN)


@dataclass(frozen=True)
class MappingSettings:
    """The network from z and the class to w."""

    z_dim: int
    c_dim: int  # classes; 0: unconditional
    w_dim: int
    num_layers: int = 2
    lr_multiplier: float = 0.01  # what stored weights are multiplied by


@dataclass(frozen=True)
class Settings:
    """A generator: its two networks, and how far codes are drawn to the average."""

    mapping: MappingSettings
    synthesis: SynthesisSpec
    truncation_psi: float = 1.0  # how far w may be from its class's average; 1: not truncated
    truncation_cutoff: int | None = None  # layers that are truncated, the first so many; None: all

    @property
    def truncates_some(self) -> bool:
        """Whether some layers get a truncated w and others the w itself."""
        cutoff = self.truncation_cutoff
        return self.truncation_psi != 1 and cutoff is not None and 0 < cutoff < self.synthesis.num_ws


def settings_from(config: Config) -> Settings:
    """The settings of a card's config, or of a record of a release. Raises CardError that says which is wrong.

    A record names its family, or holds ``init_kwargs``; what else it says is no setting, and ignored.
    """
    if "family" in config:
        config = {name: value for name, value in config.items() if name in (*KNOWN, RECORD)}
    given = official_settings(config, KNOWN, FAMILY)
    base = {**{name: value for name, value in given.items() if name in OF_A_STEM}, **table_of(given, STEM)}
    if unknown := [name for name in base if name not in OF_A_STEM]:
        raise wrong(f"unknown in `{STEM}`: {', '.join(unknown)}. Known are: {', '.join(sorted(OF_A_STEM))}")
    network = _found(given, base) if "layers" in given else _designed(given, base)
    if "num_ws" in given and given["num_ws"] != network.num_ws:
        raise wrong(f"`num_ws` is {given['num_ws']!r}, and {len(network.layers)} layers make it {network.num_ws}")
    if (STEM in given or "layers" in given) and given.get(
        "img_resolution", network.img_resolution
    ) != network.img_resolution:
        raise wrong(f"`img_resolution` is {given['img_resolution']!r}, the layers make {network.img_resolution}")
    cutoff = given.get("truncation_cutoff")
    return Settings(
        _mapping(base),
        network,
        truncation_psi=number("truncation_psi", given.get("truncation_psi", 1.0), "`config`"),
        truncation_cutoff=None if cutoff is None else count("truncation_cutoff", cutoff, "`config`", 0),
    )


def _mapping(base: Mapping[str, object]) -> MappingSettings:
    dims = {name: base[name] for name in DIMS if name in base}
    own = {name: value for name, value in table_of(base, "mapping_kwargs").items() if name not in DIMS}
    return record(MappingSettings, {**own, **dims}, "`config` (and its `mapping_kwargs`)", ignored=MAPPING_TRAINING)


def _designed(given: Mapping[str, object], base: Mapping[str, object]) -> SynthesisSpec:
    """The stem, and each head on top of what stands before it."""
    settings = record(StemSettings, base, f"`{STEM}`" if STEM in given else "`config`", ignored=OF_A_STEM)
    network = stem(settings)
    for i, table in enumerate(tables_of(given, HEADS)):
        where = f"`{HEADS}[{i}]`"
        head = record(HeadSettings, table, where, ignored=("path_stem", *OF_A_STEM))
        if head.up_factor < 2 or head.up_factor & (head.up_factor - 1):
            raise wrong(f"`up_factor` in {where} is {head.up_factor}; it must be 2, 4, 8 or another power of two")
        network = superresolved(network, head, settings)
        if (said := table.get("img_resolution", network.img_resolution)) != network.img_resolution:
            raise wrong(f"`img_resolution` in {where} is {said!r}, `up_factor` makes it {network.img_resolution}")
    return network


def _found(given: Mapping[str, object], base: Mapping[str, object]) -> SynthesisSpec:
    """The network that tables of attributes describe, which must follow from one another."""
    entry = record(InputSpec, table_of(given, "input"), "`input`", ignored=None)
    layers = tuple(
        record(LayerSpec, table, f"`layers[{i}]`", ignored=None) for i, table in enumerate(tables_of(given, "layers"))
    )
    names = [layer.name for layer in layers]
    if bad := [name for name in names if not re.fullmatch(r"L\d+_\d+_\d+", name) or names.count(name) > 1]:
        raise wrong(f"`layers` has a layer called {bad[0]!r}; names are unique, and like L0_36_512")
    if not layers or [layer.is_torgb for layer in layers] != [False] * (len(layers) - 1) + [True]:
        raise wrong(f"the last of `layers`, and no other, has `is_torgb` true; there are {len(layers)}")
    if (entry.channels, entry.size) != (layers[0].in_channels, layers[0].in_size):
        raise wrong(f"`input` makes {entry.channels} channels of {entry.size} pixels; {names[0]} takes others")
    for below, layer in pairwise(layers):
        if (below.out_channels, below.out_size) != (layer.in_channels, layer.in_size):
            raise wrong(
                f"{below.name} makes {below.out_channels} channels of {below.out_size} pixels; {layer.name} "
                "takes others"
            )
    for layer in layers:
        if layer.made_size != layer.out_size:
            raise wrong(
                f"{layer.name}: its padding and factors make {layer.made_size} pixels of {layer.in_size}, not "
                f"its `out_size` {layer.out_size}"
            )
    return SynthesisSpec(entry, layers, number("output_scale", base.get("output_scale", OUTPUT_SCALE), "`config`"))
