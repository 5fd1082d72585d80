"""Settings: fields of a frozen dataclass that say what they mean; option parsers, docs and records read them."""

from __future__ import annotations

from dataclasses import field
from typing import Any


def option(default: Any, meaning: str) -> Any:
    """A field of an options or solver dataclass: its default, and one line that says what it is, with its unit."""
    return field(default=default, metadata={"meaning": meaning})
