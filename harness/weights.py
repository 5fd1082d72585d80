"""Weights: from where a card says to a verified file on this machine. A checkpoint is data; nothing here reads it."""

from __future__ import annotations

import hashlib
import importlib.resources
import re
from functools import cache
from pathlib import Path

from preimage.harness.cards import Weights
from preimage.harness.errors import WeightsError

_HUB = re.compile(r"hf://(?P<repo>[^/@]+/[^/@]+)(@(?P<revision>[^/]+))?/(?P<file>.+)")


def locate(weights: Weights, *, offline: bool = False) -> Path:
    """The weights' file, fetched if need be, its sha256 verified where the card gives one.

    Raises WeightsError for a missing file, an address that cannot be read, or another hash than the card's.
    """
    uri = weights.uri
    if uri.startswith("package://"):
        path = _in_package(uri)
    elif uri.startswith("hf://"):
        path = _from_hub(uri, offline)
    elif "://" in uri:
        raise WeightsError(f"weights {uri!r}: write package://package/file, hf://org/repo@revision/file, or a path")
    else:
        path = Path(uri).expanduser()
    if not path.is_file():
        raise WeightsError(f"there is no weights file {str(path)!r} (card: {uri!r}). Check `weights` on the card")
    if weights.sha256 is not None:
        seen = sha256_of(path)
        if seen != weights.sha256:
            raise WeightsError(
                f"weights {uri!r} have sha256 {seen}, the card says {weights.sha256}. The file is damaged "
                "or another version: fetch it again, or correct the card if you trust the file"
            )
    return path


def _in_package(uri: str) -> Path:
    package, _, file = uri.removeprefix("package://").partition("/")
    try:
        return Path(str(importlib.resources.files(package).joinpath(file)))
    except (ModuleNotFoundError, TypeError) as error:
        raise WeightsError(f"weights {uri!r}: there is no installed package {package!r}") from error


def _from_hub(uri: str, offline: bool) -> Path:
    match = _HUB.fullmatch(uri)
    if match is None:
        raise WeightsError(f"weights {uri!r}: write hf://org/repo@revision/file")
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(match["repo"], match["file"], revision=match["revision"], local_files_only=offline))
    except Exception as error:  # the client raises many kinds; each is told with its own words
        advice = (
            "Run once without --offline, on a machine with a network"
            if offline
            else "Check the address and the network"
        )
        raise WeightsError(f"cannot fetch {uri!r}: {type(error).__name__}: {error}. {advice}") from error


def sha256_of(path: Path) -> str:
    """The file's sha256, 64 hexadecimal digits; computed once per process, size and time."""
    state = path.stat()
    return _sha256(str(path), state.st_size, state.st_mtime_ns)


@cache
def _sha256(path: str, size: int, mtime: int) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
