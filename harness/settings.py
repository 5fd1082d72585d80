"""Settings: fields of a frozen dataclass that say what they mean; option parsers, docs and records read them."""

from __future__ import annotations

from dataclasses import field
from typing import Any


def option(default: Any, meaning: str) -> Any:
    """A field of an options or solver dataclass: its default, and one line that says what it is, with its unit."""
    return field(default=default, metadata={"meaning": meaning})


def choice(of: str, meaning: str) -> dict[str, str]:
    """The metadata of a field whose record is chosen by name and set by its own names: ``solver=adam solver.steps=9``.

    of: what is chosen, ``solver``, ``sampler`` or ``operator``. The field's ``default_factory`` makes what stands
    unless chosen.
    """
    return {"meaning": meaning, "of": of}
