"""BigGAN-deep in the layout of Hugging Face's pytorch-pretrained-biggan, and the card of a file that is on the Hub.

Hook module: it names the builders by import string and leaves torch unimported.
"""

from __future__ import annotations

from pathlib import Path

from preimage.harness.cards import Family
from preimage.harness.hooks import Register, hookimpl, lazy


@hookimpl
def register_families(register: Register) -> None:
    home = "preimage.adapters.biggan_hf.family"
    register(Family("hf-biggan-deep", build=lazy(f"{home}:build"), read=lazy(f"{home}:read")))


@hookimpl
def register_models(register: Register) -> None:
    register(Path(__file__).parent)
