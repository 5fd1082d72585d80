"""WGAN-GP for CIFAR-10, as in caogang/wgan-gp.

Hook module: it names the builders by import string and leaves torch unimported.
"""

from __future__ import annotations

from preimage.harness.cards import Family
from preimage.harness.hooks import Register, hookimpl, lazy


@hookimpl
def register_families(register: Register) -> None:
    home = "preimage.adapters.wgan_gp.family"
    register(Family("wgangp-caogang", build=lazy(f"{home}:build"), read=lazy(f"{home}:read")))
