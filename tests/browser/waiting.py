"""Waiting for a page without evaluating text in it, which the pages' policy refuses."""

from __future__ import annotations

import time
from typing import Any


def until(page: Any, expression: str, seconds: float = 10.0) -> None:
    """Wait until a JavaScript expression is true in the page."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"not after {seconds:.0f} s: {expression}"
        page.wait_for_timeout(20)
