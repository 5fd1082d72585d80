"""AEGAN, as in ConorLazarou/PokeGAN.

Hook module: it names the builders by import string and leaves torch unimported. The card beside it is of a file that is
on no hub: it is not registered, and waits for the file beside a copy of the card.
"""

from __future__ import annotations

from preimage.harness.cards import Family
from preimage.harness.hooks import Register, hookimpl, lazy


@hookimpl
def register_families(register: Register) -> None:
    home = "preimage.adapters.aegan.family"
    register(Family("aegan-pokegan", build=lazy(f"{home}:build"), read=lazy(f"{home}:read")))
