"""Reference classifiers: any timm model with its own preprocessing, and a small one of Fashion-MNIST that ships.

Hook module: it names the builders by import string and leaves torch and timm unimported.
"""

from __future__ import annotations

from pathlib import Path

from preimage.harness.cards import Family
from preimage.harness.hooks import Register, hookimpl, lazy


@hookimpl
def register_families(register: Register) -> None:
    home = "preimage.harness.timm_networks"
    register(
        Family(
            "timm-classifier",
            build=lazy(f"{home}:build_timm"),
            read=lazy(f"{home}:read_tensors"),
            makes="classifier",
            released=lazy(f"{home}:released_weights"),
        )
    )


@hookimpl
def register_models(register: Register) -> None:
    register(Path(__file__).parent)
