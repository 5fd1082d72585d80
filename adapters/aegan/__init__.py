"""AEGAN, as in ConorLazarou/PokeGAN.

Hook module: it names the builders by import string and leaves torch unimported.
"""

from __future__ import annotations

from preimage.harness.cards import Family
from preimage.harness.hooks import Register, hookimpl, lazy


@hookimpl
def register_families(register: Register) -> None:
    home = "preimage.adapters.aegan.family"
    register(Family("aegan-pokegan", build=lazy(f"{home}:build"), read=lazy(f"{home}:read")))
