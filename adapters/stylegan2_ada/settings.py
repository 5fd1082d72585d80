"""The constructor settings of StyleGAN2-ADA under their upstream names, checked once; beside them three of our own."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import TypeVar

from preimage.adapters.official_settings import official_settings
from preimage.adapters.stylegan_layers import GAINS
from preimage.harness.cards import Config
from preimage.harness.errors import CardError

FAMILY = "stylegan2-ada"
ARCHITECTURES = ("skip", "resnet", "orig")
NOISE_MODES = ("const", "none")
UNUSED = ("num_fp16_res", "fp16_channels_last")  # of the upstream settings: here everything is float32

T = TypeVar("T")
Taps = tuple[tuple[float, ...], ...] | tuple[float, ...]


@dataclass(frozen=True)
class MappingSettings:
    """``mapping_kwargs``: the network from z (and the label) to w."""

    num_layers: int = 8  # linear layers
    embed_features: int | None = None  # of the label's embedding; None: w_dim
    layer_features: int | None = None  # between the layers; None: w_dim
    activation: str = "lrelu"
    lr_multiplier: float = 0.01  # what stored weights are multiplied by
    w_avg_beta: float | None = 0.995  # of training; None: no average w was kept, so nothing can be truncated


@dataclass(frozen=True)
class SynthesisSettings:
    """``synthesis_kwargs``: the network from w to the image."""

    channel_base: int = 32768  # channels times resolution
    channel_max: int = 512  # channels, at most
    conv_clamp: float | None = None  # outputs of convolutions are kept within +- this; None: as they are
    architecture: str = "skip"
    resample_filter: Taps = (1.0, 3.0, 3.0, 1.0)  # taps; a table of them is a filter that is not separable
    use_noise: bool = True
    activation: str = "lrelu"

    def channels(self, resolution: int) -> int:
        """Of the block at a resolution."""
        return min(self.channel_base // resolution, self.channel_max)


@dataclass(frozen=True)
class Settings:
    """A generator: the two networks' settings, and how images are made."""

    z_dim: int
    c_dim: int
    w_dim: int
    img_resolution: int
    img_channels: int
    mapping: MappingSettings
    synthesis: SynthesisSettings
    truncation_psi: float = 1.0  # how far w may be from the average one; 1: not truncated
    truncation_cutoff: int | None = None  # layers that are truncated, the first so many; None: all
    noise_mode: str = "const"  # what is added in every layer: its stored noise, or none

    @property
    def num_ws(self) -> int:
        """Layers that take a w of their own."""
        return 2 * int(math.log2(self.img_resolution)) - 2

    @property
    def label_features(self) -> int:
        """Entries of the label's embedding."""
        wanted = self.mapping.embed_features
        return 0 if self.c_dim == 0 else self.w_dim if wanted is None else wanted

    @property
    def truncates_some(self) -> bool:
        """Whether some layers get a truncated w and others the w itself."""
        cutoff = self.truncation_cutoff
        return self.truncation_psi != 1 and cutoff is not None and 0 < cutoff < self.num_ws


DIMS = ("z_dim", "c_dim", "w_dim", "img_resolution", "img_channels")
OWN = ("truncation_psi", "truncation_cutoff", "noise_mode")
NAMES = (*DIMS, "mapping_kwargs", "synthesis_kwargs", *OWN)


def settings_from(config: Config) -> Settings:
    """The settings of a card's config, or of a record of a release. Raises CardError that says which is wrong."""
    given = official_settings(config, NAMES, FAMILY)
    if missing := [name for name in DIMS if name not in given]:
        raise _wrong(f"`config` lacks {', '.join(missing)}; it needs {', '.join(DIMS)}")
    z_dim, c_dim, w_dim, resolution, channels = (_count(given, name, 0 if i < 2 else 1) for i, name in enumerate(DIMS))
    if resolution < 4 or resolution & (resolution - 1):
        raise _wrong(f"`img_resolution` is {resolution}; it must be a power of two from 4 up")
    if not z_dim and not c_dim:
        raise _wrong("`z_dim` and `c_dim` are both 0; images must depend on something")
    settings = Settings(
        z_dim,
        c_dim,
        w_dim,
        resolution,
        channels,
        _mapping(_table(given, "mapping_kwargs", MappingSettings)),
        _synthesis(_table(given, "synthesis_kwargs", SynthesisSettings)),
        truncation_psi=_number(given, "truncation_psi", 1.0),
        truncation_cutoff=_count(given, "truncation_cutoff", 0) if given.get("truncation_cutoff") is not None else None,
        noise_mode=_noise_mode(given.get("noise_mode", "const")),
    )
    if settings.synthesis.channels(resolution) < 1:
        raise _wrong(f"`channel_base` is {settings.synthesis.channel_base}: no channel is left at {resolution} pixels")
    if settings.truncation_psi != 1 and settings.mapping.w_avg_beta is None:
        raise _wrong("`truncation_psi` needs the average w, and with `w_avg_beta` null there is none: leave it at 1")
    return settings


def _mapping(given: Mapping[str, object]) -> MappingSettings:
    default = MappingSettings()
    return MappingSettings(
        num_layers=_count(given, "num_layers", 0, default.num_layers),
        embed_features=_count(given, "embed_features", 1) if given.get("embed_features") is not None else None,
        layer_features=_count(given, "layer_features", 1) if given.get("layer_features") is not None else None,
        activation=_one_of(given, "activation", GAINS, default.activation),
        lr_multiplier=_number(given, "lr_multiplier", default.lr_multiplier),
        w_avg_beta=_optional_number(given, "w_avg_beta", default.w_avg_beta),
    )


def _synthesis(given: Mapping[str, object]) -> SynthesisSettings:
    default = SynthesisSettings()
    clamp = _optional_number(given, "conv_clamp", default.conv_clamp)
    if clamp is not None and clamp < 0:
        raise _wrong(f"`conv_clamp` is {clamp}; it must be at least 0, or null")
    use_noise = given.get("use_noise", default.use_noise)
    if not isinstance(use_noise, bool):
        raise _wrong(f"`use_noise` is {use_noise!r}; it must be true or false")
    return SynthesisSettings(
        channel_base=_count(given, "channel_base", 1, default.channel_base),
        channel_max=_count(given, "channel_max", 1, default.channel_max),
        conv_clamp=clamp,
        architecture=_one_of(given, "architecture", ARCHITECTURES, default.architecture),
        resample_filter=_taps(given.get("resample_filter", default.resample_filter)),
        use_noise=use_noise,
        activation=_one_of(given, "activation", GAINS, default.activation),
    )


def _table(given: Mapping[str, object], name: str, kind: type[MappingSettings] | type[SynthesisSettings]) -> Config:
    value = given.get(name, {})
    if not isinstance(value, Mapping):
        raise _wrong(f"`{name}` is {value!r}; it must be a table of settings")
    known = [field.name for field in fields(kind)] + (list(UNUSED) if kind is SynthesisSettings else [])
    if unknown := [str(key) for key in value if key not in known]:
        raise _wrong(f"unknown in `{name}`: {', '.join(unknown)}. Known are: {', '.join(sorted(known))}")
    return value


def _noise_mode(value: object) -> str:
    if value == "random":
        raise _wrong("`noise_mode` is 'random'; an image must follow from its code alone: choose const or none")
    return _one_of({"noise_mode": value}, "noise_mode", NOISE_MODES, "const")


def _one_of(given: Mapping[str, object], name: str, known: Collection[str], default: str) -> str:
    value = given.get(name, default)
    if not isinstance(value, str) or value not in known:
        raise _wrong(f"`{name}` is {value!r}; choose one of {', '.join(known)}")
    return value


def _count(given: Mapping[str, object], name: str, least: int, default: int | None = None) -> int:
    value = given.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise _wrong(f"`{name}` is {value!r}; it must be a whole number from {least} up")
    return value


def _number(given: Mapping[str, object], name: str, default: float) -> float:
    value = given.get(name, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise _wrong(f"`{name}` is {value!r}; it must be a finite number")
    return float(value)


def _optional_number(given: Mapping[str, object], name: str, default: float | None) -> float | None:
    if given.get(name, default) is None:
        return None
    return _number(given, name, 0.0 if default is None else default)


def _taps(value: object) -> Taps:
    """The taps [n] or [m, n] of a resampling filter; none at all is a filter of one tap."""
    if value is None:
        return (1.0,)
    rows = value if isinstance(value, list | tuple) else [value]
    if rows and all(isinstance(row, list | tuple) for row in rows):
        table = tuple(_row(row, value) for row in rows)
        if len({len(row) for row in table}) == 1 and sum(map(sum, table)) != 0:
            return table
    elif sum(row := _row(rows, value)) != 0:
        return row
    raise _not_taps(value)


def _row(row: object, value: object) -> tuple[float, ...]:
    taps = list(row) if isinstance(row, list | tuple) else []
    if not taps or not all(isinstance(tap, int | float) and not isinstance(tap, bool) for tap in taps):
        raise _not_taps(value)
    return tuple(float(tap) for tap in taps)


def _not_taps(value: object) -> CardError:
    return _wrong(f"`resample_filter` is {value!r}; write its taps, whose sum is not 0, e.g. [1, 3, 3, 1]")


def _wrong(what: str) -> CardError:
    return CardError(f"family {FAMILY!r}: {what}")
