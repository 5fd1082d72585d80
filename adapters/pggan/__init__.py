"""Progressively grown GANs of the GAN zoo.

Hook module: it names the builders by import string and leaves torch unimported.
"""

from __future__ import annotations

from preimage.harness.cards import Family
from preimage.harness.hooks import Register, hookimpl, lazy


@hookimpl
def register_families(register: Register) -> None:
    home = "preimage.adapters.pggan.family"
    register(Family("pgan-zoo", build=lazy(f"{home}:build"), read=lazy(f"{home}:read")))
