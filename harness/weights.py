"""Weights: from where a card says to a verified file on this machine. A checkpoint is data; nothing here reads it."""

from __future__ import annotations

import hashlib
import importlib.resources
import re
import sys
import time
from functools import cache
from pathlib import Path
from typing import NamedTuple

from preimage.harness.cards import Weights
from preimage.harness.errors import WeightsError
from preimage.harness.file_hashes import SETTLED

_HUB = re.compile(r"hf://(?P<repo>[^/@]+/[^/@]+)(@(?P<revision>[^/]+))?/(?P<file>.+)")
_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,})\.")
SCHEMES = "package://package/file, hf://org/repo@revision/file, torchvision://NAME_Weights.VERSION, or a path"


def locate(weights: Weights, *, offline: bool = False) -> Path:
    """The weights' file, fetched if need be, its sha256 verified where the card gives one.

    Offline the network is never touched. Raises WeightsError for a missing file, an address that cannot be read, or
    another hash than the card's.
    """
    path = here(weights)
    if path is None and offline:
        raise WeightsError(
            f"weights {weights.uri!r} are not on this machine, and nothing is downloaded offline. Run once without "
            "--offline, or type `preimage fetch NAME` with the card's name, on a machine with a network"
        )
    if weights.uri.startswith("hf://") and not offline:
        path = _from_hub(weights.uri)  # asked although it may be here: of a branch there may be news
    elif path is None:
        path = _from_torchvision(weights.uri)
    if not path.is_file():
        raise WeightsError(
            f"there is no weights file {str(path)!r} (card: {weights.uri!r}). Check `weights` on the card"
        )
    _verify(weights, path)
    return path


def here(weights: Weights) -> Path | None:
    """Where the weights' file lies, or None where it has yet to be downloaded; never touches the network.

    A path or a packaged file is told even if nothing is there. Raises WeightsError for an address that is none.
    """
    uri = weights.uri
    if uri.startswith("package://"):
        return _in_package(uri)
    if uri.startswith("hf://"):
        from huggingface_hub import try_to_load_from_cache

        address = _hub_address(uri)
        try:
            known = try_to_load_from_cache(address["repo"], address["file"], revision=address["revision"])
        except ValueError as error:  # a name that no repository can have
            raise WeightsError(f"weights {uri!r}: {_said(error)}. Write hf://org/repo@revision/file") from error
        return Path(known) if isinstance(known, str) else None
    if uri.startswith("torchvision://"):
        path = _torchvision_file(uri).path
        return path if path.is_file() else None
    if "://" in uri:
        raise WeightsError(f"weights {uri!r}: write {SCHEMES}")
    return Path(uri).expanduser()


def expected_hashes(weights: Weights, path: Path) -> list[str]:
    """The sha256 that the card gives, and the start of it that torchvision puts into a file's name."""
    named = _HASH_IN_NAME.search(path.name) if weights.uri.startswith("torchvision://") else None
    return [wanted for wanted in (weights.sha256, named and named[1]) if wanted]


def _verify(weights: Weights, path: Path) -> None:
    expected = expected_hashes(weights, path)
    seen = sha256_of(path) if expected else ""
    for wanted in expected:
        if seen.startswith(wanted):
            continue
        if wanted == weights.sha256:
            raise WeightsError(
                f"weights {weights.uri!r} have sha256 {seen}, the card says {wanted}. The file is damaged "
                "or another version: fetch it again, or correct the card if you trust the file"
            )
        raise WeightsError(
            f"{str(path)!r} has sha256 {seen}, its name says {wanted}... It is damaged: delete it, then type the "
            "same command again, with a network"
        )


def _in_package(uri: str) -> Path:
    package, _, file = uri.removeprefix("package://").partition("/")
    try:
        return Path(str(importlib.resources.files(package).joinpath(file)))
    except (ModuleNotFoundError, TypeError) as error:
        raise WeightsError(f"weights {uri!r}: there is no installed package {package!r}") from error


def _hub_address(uri: str) -> re.Match[str]:
    match = _HUB.fullmatch(uri)
    if match is None:
        raise WeightsError(f"weights {uri!r}: write hf://org/repo@revision/file")
    return match


def _from_hub(uri: str) -> Path:
    address = _hub_address(uri)
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(address["repo"], address["file"], revision=address["revision"]))
    except Exception as error:  # the client raises many kinds; each is told with its own words
        raise WeightsError(f"cannot fetch {uri!r}: {_said(error)}. Check the address and the network") from error


class _TorchvisionFile(NamedTuple):
    """Where torchvision's weights are downloaded from, and where torch.hub keeps them."""

    url: str
    path: Path


def _torchvision_file(uri: str) -> _TorchvisionFile:
    import torch
    from torchvision.models import get_weight

    name = uri.removeprefix("torchvision://")
    try:
        url = str(get_weight(name).url)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise WeightsError(
            f"weights {uri!r}: torchvision has none of that name ({error}). "
            "Write e.g. torchvision://VGG16_Weights.IMAGENET1K_V1"
        ) from error
    return _TorchvisionFile(url, Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2])


def _from_torchvision(uri: str) -> Path:
    """Downloaded to where torch.hub keeps such files, so that torchvision itself finds it there too."""
    from torch.hub import download_url_to_file

    url, path = _torchvision_file(uri)
    named = _HASH_IN_NAME.search(path.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        download_url_to_file(url, str(path), named and named[1], progress=sys.stderr.isatty())
    except Exception as error:  # of urllib, of the disk, or that the hash is another than its name says
        raise WeightsError(
            f"cannot download {url!r} to {str(path)!r}: {_said(error)}. Check the network and the disk, or put the "
            "file there yourself"
        ) from error
    return path


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().rstrip('.')}"


def sha256_of(path: Path) -> str:
    """The file's sha256, 64 hexadecimal digits; computed once per process, size and time.

    Each time anew where it was written a moment ago: it could change again within one tick of the file system's clock.
    """
    state = path.stat()
    if abs(time.time_ns() - state.st_mtime_ns) <= SETTLED:
        return _hashed(str(path))
    return _known(str(path), state.st_size, state.st_mtime_ns)


@cache
def _known(path: str, size: int, mtime: int) -> str:
    return _hashed(path)


def _hashed(path: str) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
