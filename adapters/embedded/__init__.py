"""The embedded zoo: small models of Fashion-MNIST that ship with the project, each retrainable from its card.

Hook module: it names the builders by import string and leaves torch unimported.
"""

from __future__ import annotations

from pathlib import Path

from preimage.harness.cards import Family
from preimage.harness.hooks import Register, hookimpl, lazy


@hookimpl
def register_families(register: Register) -> None:
    home = "preimage.adapters.embedded.family"
    register(Family("embedded-decoder", build=lazy(f"{home}:build"), read=lazy(f"{home}:read")))
    register(Family("embedded-autoencoder", build=lazy(f"{home}:build_autoencoder"), read=lazy(f"{home}:read")))


@hookimpl
def register_models(register: Register) -> None:
    register(Path(__file__).parent)
