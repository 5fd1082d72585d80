"""The pages on families tell of every family that is installed, and of every layer that a card may list."""

from __future__ import annotations

import re
from pathlib import Path

from preimage.adapters.sequential.family import SETTINGS
from preimage.adapters.sequential.layers import KINDS
from preimage.harness.plugins import installed
from tests.test_docs import quoted, rows_of

PAGE = Path(__file__).parents[1] / "docs" / "families.md"


def test_the_page_has_a_row_for_every_family() -> None:
    rows = [line.split("|")[1] for line in PAGE.read_text().splitlines() if line.startswith(("| `", "| [`"))]
    told = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
    assert told == set(installed().families)


def test_the_page_on_plain_stacks_tells_every_setting_and_layer_with_its_defaults() -> None:
    text = (PAGE.parent / "sequential.md").read_text()
    of_card, of_layers = (rows_of(part) for part in text.split("## Layers"))
    assert [quoted(row[0]) for row in of_card] == [[name] for name in SETTINGS]
    told = {kind: quoted(row[1]) for row in of_layers for kind in quoted(row[0])}
    assert told == {name: [_said(*setting) for setting in kind.settings.items()] for name, kind in KINDS.items()}
    bold = {kind: re.findall(r"\*\*`(\w+)", row[1]) for row in of_layers for kind in quoted(row[0])}
    assert bold == {name: [kind.main] if kind.main else [] for name, kind in KINDS.items()}


def _said(name: str, default: object) -> str:
    return name if default is None else f"{name}: {str(default).lower() if isinstance(default, bool) else default}"
