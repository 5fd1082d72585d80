"""The residual GANs of Mescheder, Geiger and Nowozin (ICML 2018), LMescheder/GAN_stability.

Hook module: it names the builders by import string and leaves torch unimported. The cards beside it are of released
files that are on no hub: they are not registered, and wait for the file beside a copy of the card.
"""

from __future__ import annotations

from preimage.harness.cards import Family
from preimage.harness.hooks import Register, hookimpl, lazy

VARIANTS = ("resnet", "resnet2", "resnet3", "resnet4")


@hookimpl
def register_families(register: Register) -> None:
    home = "preimage.adapters.mesch.family"
    for variant in VARIANTS:
        register(Family(f"mesch-{variant}", build=lazy(f"{home}:build_{variant}"), read=lazy(f"{home}:read")))
