"""Failures: what was raised, in plain text."""

from __future__ import annotations

import traceback
from dataclasses import dataclass


@dataclass(frozen=True)
class Failure:
    """What a measurement raised: one line, and the traceback. Plain text, so that it crosses processes whole."""

    reason: str
    trace: str

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """The failure that an exception tells of."""
        return cls(f"{type(error).__name__}: {error}", "".join(traceback.format_exception(error)))
