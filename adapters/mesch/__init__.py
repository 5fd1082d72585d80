"""The residual GANs of Mescheder, Geiger and Nowozin (ICML 2018), LMescheder/GAN_stability.

Hook module: it names the builders by import string and leaves torch unimported.
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
