"""A page that several scripts write: each replaces its own part and leaves the others'."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path


def write_part(page: Path, lines: Sequence[str]) -> None:
    """Put a part, whose first line is its heading ``# ...``, in the place of the one under that heading, or last."""
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    parts = [part.strip() for part in re.split(r"^(?=# )", text, flags=re.MULTILINE) if part.strip()]
    new = "\n".join(lines).strip()
    places = [i for i, part in enumerate(parts) if part.splitlines()[0] == lines[0]]
    if places:
        parts[places[0]] = new
    else:
        parts.append(new)
    page.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
