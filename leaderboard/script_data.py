"""Data for scripts: values as JavaScript files that call a function, since pages opened from disk may not fetch.

Whatever a card holds stays data: the text is ASCII, so neither line separators nor directions are in it, and no ``<``
or ``&``, so it would be inert inside a page as well.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

Value = str | int | float | bool | None | Sequence["Value"] | Mapping[str, "Value"]


def script(function: str, value: Value) -> bytes:
    """A file that calls the function with the value. Raises ValueError for what is not finite."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return f"{function}({text});\n".encode("ascii")
