"""The constructor settings of ajbrock's BigGAN and BigGAN-deep under their upstream names, checked once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count

from preimage.adapters.checked_settings import CheckedSettings
from preimage.adapters.gan_layers import check_eval_mode
from preimage.adapters.official_settings import RECORD, official_settings
from preimage.harness.cards import Config

PLAIN, DEEP = "biggan", "biggan-deep"

WIDTHS: Mapping[int, tuple[int, ...]] = {
    32: (4, 4, 4, 4),
    64: (16, 16, 8, 4, 2),
    128: (16, 16, 8, 4, 2, 1),
    256: (16, 16, 8, 8, 4, 2, 1),
    512: (16, 16, 8, 8, 4, 2, 1, 1),
}
"""Channels in multiples of ``G_ch``, by resolution: into the first stage, and out of each."""

ARCHITECTURE = (
    *("G_ch", "G_depth", "dim_z", "bottom_width", "resolution", "G_kernel_size", "G_attn", "n_classes", "G_shared"),
    *("shared_dim", "hier", "cross_replica", "mybn", "G_nl", "BN_eps", "SN_eps", "num_G_SVs", "G_param", "norm_style"),
)
TRAINING = (
    *("num_G_SV_itrs", "G_lr", "G_B1", "G_B2", "adam_eps", "G_mixed_precision", "G_fp16", "G_init", "skip_init"),
    "no_optim",
)
"""Upstream settings that change nothing of what a trained generator computes here."""
KNOWN = (*ARCHITECTURE, *TRAINING, "eval_mode")

RELUS: Mapping[str | None, None] = {"relu": None, "inplace_relu": None, "ir": None}


@dataclass(frozen=True)
class Settings:
    """A generator."""

    deep: bool
    widths: tuple[int, ...]  # channels into the first stage, and out of each
    attention: tuple[bool, ...]  # after each stage
    bottom_width: int  # pixels of a side before the first stage
    z_dim: int  # entries of a code
    chunk: int  # of the code, for each of linear layer and stages; 0: the linear layer gets all of it
    classes: int
    shared_dim: int  # entries of a class's vector; 0: no vectors, each norm has rows of its own for the classes
    depth: int  # blocks per stage
    bn_eps: float
    sn_eps: float
    my_bn: bool  # whether statistics are stored a level lower, under `bn`
    singular_values: int  # vectors stored per layer; the first counts

    @property
    def side(self) -> int:
        """Pixels of a side."""
        return self.bottom_width << len(self.attention)


def settings_from(config: Config, *, deep: bool) -> Settings:
    """The settings of a card's config, or of a record of a release. Raises CardError that says which is wrong."""
    given = _given(config, DEEP if deep else PLAIN)
    check_eval_mode(given)
    _check_supported(given)
    resolution, width = given.count("resolution", 128), given.count("G_ch", 64)
    if resolution not in WIDTHS:
        raise given.wrong(f"`resolution` is {resolution}; it must be one of {', '.join(map(str, WIDTHS))}")
    widths = tuple(width * multiple for multiple in WIDTHS[resolution])
    hier, shared = given.yes("hier", False), given.yes("G_shared", True)
    if (hier or deep) and not shared:
        raise given.wrong("`G_shared` is false; codes can only be joined to vectors that the classes share: true")
    if deep and not hier:
        raise given.wrong("`hier` is false; BigGAN-deep gives the code to every block: write `hier: true`")
    z_dim = given.count("dim_z", 128)
    slots = len(widths)
    if hier and not deep and z_dim < slots:
        raise given.wrong(f"`dim_z` is {z_dim}; with `hier` it is cut into {slots} parts: write {slots} or more")
    chunk = z_dim // slots if hier and not deep else 0
    return Settings(
        deep=deep,
        widths=widths,
        attention=_attention(given, len(widths) - 1),
        bottom_width=given.count("bottom_width", 4),
        z_dim=chunk * slots or z_dim,
        chunk=chunk,
        classes=given.count("n_classes", 1000),
        shared_dim=(given.count("shared_dim", 0, least=0) or z_dim) if shared else 0,
        depth=given.count("G_depth", 2) if deep else 1,
        bn_eps=given.number("BN_eps", 1e-5),
        sn_eps=given.number("SN_eps", 1e-12),
        my_bn=given.yes("mybn", False),
        singular_values=given.count("num_G_SVs", 1),
    )


def _given(config: Config, family: str) -> CheckedSettings:
    """What is said. A record of a release says what the constructor was given, and also what it made of that (`dim_z`
    cut to whole chunks): the former counts."""
    record = config.get(RECORD)
    said = {**official_settings(config, KNOWN, family), **(record if isinstance(record, Mapping) else {})}
    return CheckedSettings(family, {name: value for name, value in said.items() if value is not None})


def _check_supported(given: CheckedSettings) -> None:
    given.one_of("G_nl", RELUS, "relu")
    given.one_of("G_param", {"SN": None}, "SN")
    given.one_of("norm_style", {"bn": None}, "bn")
    if (side := given.count("G_kernel_size", 3)) != 3:
        raise given.wrong(f"`G_kernel_size` is {side}; only 3 is known")
    if given.yes("cross_replica", False):
        raise given.wrong(
            "`cross_replica` is true; on one device upstream's code for it adds the gain instead of multiplying by "
            "it, and no released model has it. Write false for a file with `stored_mean` and `stored_var`"
        )


def _attention(given: CheckedSettings, stages: int) -> tuple[bool, ...]:
    """Whether attention follows each stage, whose resolutions are 8, 16, ..."""
    said = given.values.get("G_attn", "64")
    listed = str(said).split("_")
    if isinstance(said, bool) or not isinstance(said, str | int) or not all(one.isdigit() for one in listed):
        raise given.wrong(f"`G_attn` is {said!r}; write resolutions, e.g. '64' or '32_64', or '0' for none")
    wanted = {int(one) for one in listed}
    return tuple(2**power in wanted for power, _ in zip(count(3), range(stages), strict=False))
