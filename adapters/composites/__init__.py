"""Models made of other models, from a card that lists them: one generator per class, or a mixture of generators.

Hook module: it names the builders by import string and leaves torch unimported.
"""

from __future__ import annotations

from pathlib import Path

from preimage.harness.cards import Family
from preimage.harness.hooks import Register, hookimpl, lazy


@hookimpl
def register_families(register: Register) -> None:
    for name, module in (("per-class", "per_class"), ("mixture", "mixture")):
        home = f"preimage.adapters.composites.{module}"
        register(
            Family(
                name,
                build=lazy(f"{home}:build_parts"),
                read=lazy("preimage.adapters.closed_form.family:read"),
                combine=lazy(f"{home}:combine"),
            )
        )


@hookimpl
def register_models(register: Register) -> None:
    register(Path(__file__).parent)
