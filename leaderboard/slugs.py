"""File names and anchors for names that anybody may have chosen."""

from __future__ import annotations

import hashlib
import re
import unicodedata

_PLAIN = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?")  # file names that Windows keeps for itself


def slug(name: str) -> str:
    """A file name without extension: the name itself where it is plain, else what is left of it and a hash.

    It depends on the name alone, so it is stable; plain names hold no ``~``, so no two names share one, and lower case
    keeps them apart on file systems that ignore case.
    """
    if _PLAIN.fullmatch(name) and not _DEVICES.fullmatch(name):
        return name
    ascii_ = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    left = re.sub(r"[^a-z0-9]+", "-", ascii_).strip("-")[:40].strip("-")
    return f"{left or 'x'}~{hashlib.sha256(name.encode()).hexdigest()[:16]}"
