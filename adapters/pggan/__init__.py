"""Progressively grown GANs of the GAN zoo.

Hook module: it names the builders by import string and leaves torch unimported. The cards beside it are of released
files that are on no hub: they are not registered, and wait for the file beside a copy of the card.
"""

from __future__ import annotations

from preimage.harness.cards import Family
from preimage.harness.hooks import Register, hookimpl, lazy


@hookimpl
def register_families(register: Register) -> None:
    home = "preimage.adapters.pggan.family"
    register(Family("pgan-zoo", build=lazy(f"{home}:build"), read=lazy(f"{home}:read")))
