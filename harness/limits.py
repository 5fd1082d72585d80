"""How much memory and disk a run may use for what it can compute again. No number depends on it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from preimage.harness.errors import UsageError
from preimage.harness.file_hashes import default_cache

GIB = 1 << 30
_UNITS = {unit: 1000**power for power, unit in enumerate(("B", "kB", "MB", "GB", "TB"))}
_UNITS |= {unit: 1024**power for power, unit in enumerate(("KiB", "MiB", "GiB", "TiB"), start=1)}


@dataclass(frozen=True)
class Limits:
    """What one process may hold, and what all processes together may keep on disk.

    memory: bytes of embeddings and of the search among them, of each process that measures. cache: bytes of all
    embedding files in ``folder``; 0: none is written or read. folder: None is the user's cache folder.
    """

    memory: int = 2 * GIB
    cache: int = 10 * GIB
    folder: Path | None = None

    @property
    def embeddings(self) -> Path:
        """The folder of embedding files."""
        return (self.folder or default_cache()) / "embeddings"


def parse_bytes(text: str, option: str, *, least: int = 0) -> int:
    """``2GiB``, ``512MiB``, ``1.5GB`` or plain bytes as a number of bytes. Raises UsageError for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", text.strip())
    units = {unit.lower(): size for unit, size in _UNITS.items()} | {"": 1}
    size = round(float(found[1]) * units[found[2].lower()]) if found and found[2].lower() in units else -1
    if size < least:
        said = "0, " if least == 0 else ""
        raise UsageError(f"{option} {text!r} is no size; type {said}plain bytes, or e.g. {option} 2GiB, 512MiB, 2GB")
    return size


def readable(size: int) -> str:
    """Bytes in a unit that fits: never less than they are, so that it can be typed where it is what is needed."""
    for unit in ("GiB", "MiB", "KiB"):
        if size >= 10 * _UNITS[unit] or (size and size % _UNITS[unit] == 0):
            return f"{-(-size // _UNITS[unit])}{unit}"
    return f"{size}B"
