"""PyTorch-StudioGAN: a family for each backbone of its own, and `studiogan`, whose backbone the settings name.

Hook module: it names the builders by import string and leaves torch unimported.
"""

from __future__ import annotations

from pathlib import Path

from preimage.harness.cards import Family
from preimage.harness.hooks import Register, hookimpl, lazy

BACKBONES = ("big_resnet", "big_resnet_deep_legacy", "big_resnet_deep_studiogan", "resnet", "deep_conv")


@hookimpl
def register_families(register: Register) -> None:
    home = "preimage.adapters.studiogan.family"
    register(Family("studiogan", build=lazy(f"{home}:build"), read=lazy(f"{home}:read")))
    for backbone in BACKBONES:
        build = lazy(f"{home}:build_{backbone}")
        register(Family(f"studiogan-{backbone}", build=build, read=lazy(f"{home}:read")))


@hookimpl
def register_models(register: Register) -> None:
    register(Path(__file__).parent)
