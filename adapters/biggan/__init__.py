"""BigGAN and BigGAN-deep of ajbrock/BigGAN-PyTorch, and BigGAN of DiffAugment, which is the same network.

Hook module: it names the builders by import string and leaves torch unimported. Released files are nowhere on the Hub,
so no card is registered; docs/cards/ has those to put beside a downloaded file.
"""

from __future__ import annotations

from preimage.harness.cards import Family
from preimage.harness.hooks import Register, hookimpl, lazy


@hookimpl
def register_families(register: Register) -> None:
    home = "preimage.adapters.biggan.family"
    register(Family("biggan", build=lazy(f"{home}:build"), read=lazy(f"{home}:read")))
    register(Family("biggan-deep", build=lazy(f"{home}:build_deep"), read=lazy(f"{home}:read")))
