"""The settings of StudioGAN's generators under their upstream names: plain, or as its YAML files have them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from preimage.adapters.checked_settings import CheckedSettings
from preimage.adapters.gan_layers import check_eval_mode
from preimage.adapters.official_settings import official_settings
from preimage.adapters.studiogan import BACKBONES
from preimage.harness.cards import Config, read_table
from preimage.harness.priors import Prior, StandardNormal, Uniform

FAMILY = "studiogan"
BIG, DEEP, ONE_HOT = "big_resnet", ("big_resnet_deep_legacy", "big_resnet_deep_studiogan"), ("resnet", "deep_conv")
ABSENT = ("N/A", None)

WIDTHS: Mapping[int, tuple[int, ...]] = {
    32: (4, 4, 4, 4),
    64: (16, 8, 4, 2, 1),
    128: (16, 16, 8, 4, 2, 1),
    256: (16, 16, 8, 8, 4, 2, 1),
    512: (16, 16, 8, 8, 4, 2, 1, 1),
}
"""Channels in multiples of ``g_conv_dim``, by ``img_size``: into the first stage, and out of each."""
DEEP_CONV_WIDTHS = (512, 256, 128, 64)
DEEP_CONV_SIZE = 32

GENERATOR = (
    *("backbone", "z_prior", "z_dim", "g_shared_dim", "g_conv_dim", "g_depth", "g_cond_mtd", "apply_g_sn", "g_act_fn"),
    *("apply_attn", "attn_g_loc", "info_type", "g_info_injection"),
)
DATA = ("img_size", "num_classes")
UNUSED = (
    *("g_init", "w_dim", "apply_g_ema", "g_ema_decay", "g_ema_start", "aux_cls_type", "normalize_d_embed"),
    *("apply_d_sn", "attn_d_loc", "info_num_discrete_c", "info_num_conti_c", "info_dim_discrete_c"),
)
"""Upstream settings of training, of the discriminator, of networks that are not these."""
KNOWN = (*GENERATOR, *DATA, *UNUSED, "eval_mode")

PRIORS: Mapping[str | None, Prior] = {"gaussian": StandardNormal(), "uniform": Uniform(-1.0, 1.0)}


@dataclass(frozen=True)
class Settings:
    """A generator."""

    backbone: str
    z_dim: int
    prior: Prior
    widths: tuple[int, ...]  # channels into the first stage, and out of each
    attention: tuple[bool, ...]  # after each stage
    classes: int  # 0: unconditional
    shared_dim: int  # entries of a class's vector; 0: norms take the classes themselves
    depth: int  # blocks per stage
    spectral: bool  # whether layers have a spectral norm

    @property
    def chunk(self) -> int:
        """Entries of the code for the linear layer, and for each stage; 0: all of it, for the former at least."""
        return self.z_dim // len(self.widths) if self.backbone == BIG else 0

    @property
    def condition(self) -> int:
        """Entries of what a norm is told; 0: nothing."""
        if self.backbone in ONE_HOT:
            return self.classes
        return self.shared_dim + (self.chunk or self.z_dim)

    @property
    def side(self) -> int:
        """Pixels of a side."""
        return 4 << len(self.attention)


def settings_from(config: Config, backbone: str | None = None) -> Settings:
    """The settings of a card's config, or of a record of a release. Raises CardError that says which is wrong.

    backbone: the one that the family's name says. config: plain names; or the sections of a YAML file, of which
    ``DATA`` and ``MODEL`` count; or its path, under ``yaml``. Plain names win over those of a section.
    """
    family = FAMILY if backbone is None else f"{FAMILY}-{backbone}"
    said = official_settings(_flat(config, family), KNOWN, family)
    given = CheckedSettings(family, {name: value for name, value in said.items() if value not in ABSENT})
    check_eval_mode(given)
    chosen = given.one_of("backbone", {name: name for name in BACKBONES}, backbone)
    if backbone is not None and chosen != backbone:
        raise given.wrong(f"`backbone` is {chosen!r}; write `family: {FAMILY}-{chosen}`")
    _check_supported(given)
    classes = given.count("num_classes", 10) if given.one_of("g_cond_mtd", {"cBN": True, "W/O": False}, "W/O") else 0
    widths = _widths(given, chosen)
    z_dim = given.count("z_dim", 128)
    if chosen == BIG and z_dim % len(widths):
        raise given.wrong(f"`z_dim` is {z_dim}; it is cut into {len(widths)} parts of one size: write a multiple")
    return Settings(
        backbone=chosen,
        z_dim=z_dim,
        prior=given.one_of("z_prior", PRIORS, "gaussian"),
        widths=widths,
        attention=_attention(given, len(widths) - 1),
        classes=classes,
        shared_dim=given.count("g_shared_dim") if classes and chosen not in ONE_HOT else 0,
        depth=given.count("g_depth") if chosen in DEEP else 1,
        spectral=given.yes("apply_g_sn", False),
    )


def _flat(config: Config, family: str) -> Config:
    """The config without sections: those of a YAML file, here or in the file that it names, as plain names."""
    sections = {name: value for name, value in config.items() if name.isupper()}
    if (file := config.get("yaml")) is not None:
        if not isinstance(file, str):
            raise CheckedSettings(family, {}).wrong(f"`yaml` is {file!r}; write the path of a YAML file of StudioGAN")
        sections = {**read_table(Path(file).expanduser()), **sections}
    plain = {name: value for name, value in config.items() if not name.isupper() and name != "yaml"}
    return {**_section(sections, "DATA", DATA), **_section(sections, "MODEL", (*GENERATOR, *UNUSED)), **plain}


def _section(sections: Config, name: str, known: tuple[str, ...]) -> Config:
    """What a section says of the generator; of the data only their size and classes count."""
    given = CheckedSettings(f"{FAMILY}", {})
    table = sections.get(name, {})
    if not isinstance(table, Mapping):
        raise given.wrong(f"the section `{name}` is {table!r}; it must be a table of settings")
    ours = {key: value for key, value in table.items() if key in known}
    others = [str(key) for key in table if key not in known and not str(key).startswith("d_")]
    if others and name == "MODEL":
        raise given.wrong(f"unknown in `{name}`: {', '.join(others)}. Known are: {', '.join(sorted(known))}")
    return ours


def _check_supported(given: CheckedSettings) -> None:
    given.one_of("g_act_fn", {"ReLU": None}, "ReLU")
    for name in ("info_type", "g_info_injection"):
        if name in given.values:
            raise given.wrong(
                f"`{name}` is {given.values[name]!r}; generators that take information codes beside z are not known "
                "here. Write 'N/A', or leave it out"
            )


def _widths(given: CheckedSettings, backbone: str) -> tuple[int, ...]:
    size = given.count("img_size", 32)
    known = WIDTHS if backbone != "deep_conv" else {DEEP_CONV_SIZE: DEEP_CONV_WIDTHS}
    if size not in known:
        raise given.wrong(f"`img_size` is {size}; with this backbone it is one of {', '.join(map(str, known))}")
    unit = given.count("g_conv_dim", 64) if backbone != "deep_conv" else 1
    return tuple(unit * multiple for multiple in known[size])


def _attention(given: CheckedSettings, stages: int) -> tuple[bool, ...]:
    """Whether attention follows each stage, which the settings count from 1."""
    if not given.yes("apply_attn", False):
        return (False,) * stages
    wanted = given.counts("attn_g_loc")
    return tuple(stage + 1 in wanted for stage in range(stages))
