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
from preimage.harness.hub_telling import OFFLINE
from preimage.harness.hub_weights import FORM, SCHEME, fetched, forget, hub_file, hub_is_offline, kept

_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,})\.")
SCHEMES = f"package://package/file, {FORM}, torchvision://NAME_Weights.VERSION, or a path"


def locate(weights: Weights, *, offline: bool = False) -> Path:
    """The weights' file, fetched if need be, its sha256 verified where the card gives one.

    Offline the network is never touched, nor that of the Hub where HF_HUB_OFFLINE is set. Raises WeightsError for a
    missing file, an address that cannot be read, or another hash than the card's.
    """
    on_hub = weights.uri.startswith(SCHEME)
    forbidden = on_hub and hub_is_offline()
    path = here(weights)
    if path is None and (offline or forbidden):
        why = OFFLINE if forbidden else "nothing is downloaded offline"
        how = "with that unset" if forbidden else "without --offline"
        raise WeightsError(
            f"weights {weights.uri!r} are not on this machine, and {why}. Run once {how}, or type `preimage fetch "
            "NAME` with the card's name, on a machine with a network"
        )
    offline = offline or forbidden
    if on_hub and not offline:
        path = fetched(hub_file(weights.uri), weights.sha256)  # although it may be here: of a branch there may be news
    elif path is None:
        path = _from_torchvision(weights.uri)
    if not path.is_file():
        raise WeightsError(
            f"there is no weights file {str(path)!r} (card: {weights.uri!r}). Check `weights` on the card"
        )
    _verify(weights, path, offline)
    return path


def here(weights: Weights) -> Path | None:
    """Where the weights' file lies, or None where it has yet to be downloaded; never touches the network.

    A path or a packaged file is told even if nothing is there. Raises WeightsError for an address that is none.
    """
    uri = weights.uri
    if uri.startswith("package://"):
        return _in_package(uri)
    if uri.startswith(SCHEME):
        return kept(hub_file(uri))
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


def _verify(weights: Weights, path: Path, offline: bool) -> None:
    expected = expected_hashes(weights, path)
    seen = sha256_of(path) if expected else ""
    for wanted in expected:
        if seen.startswith(wanted):
            continue
        if wanted == weights.sha256:
            differs = f"weights {weights.uri!r} have sha256 {seen}, the card says {wanted}"
            raise WeightsError(f"{differs}. {_way_out(weights, path, offline)}")
        raise WeightsError(
            f"{str(path)!r} has sha256 {seen}, its name says {wanted}... It is damaged: delete it, then type the "
            "same command again, with a network"
        )


def _way_out(weights: Weights, path: Path, offline: bool) -> str:
    """What to do about a file that is not the card's. One of the Hub's is taken out of its cache, unless offline."""
    what = "The file is damaged or another version"
    correct = "or correct the card if you trust the file"
    if not weights.uri.startswith(SCHEME):
        return f"{what}: fetch it again, {correct}"
    if offline:
        return f"{what}: type `preimage fetch NAME` with the card's name and a network, {correct}"
    if forget(path):
        return (
            f"It is what the Hub has at that revision, so it is another version than the card means: write the "
            f"commit that the card was written for, {correct}"
        )
    return f"{what}. It was removed from the cache: type the same command again to fetch it anew, {correct}"


def _in_package(uri: str) -> Path:
    package, _, file = uri.removeprefix("package://").partition("/")
    try:
        return Path(str(importlib.resources.files(package).joinpath(file)))
    except (ModuleNotFoundError, TypeError) as error:
        raise WeightsError(f"weights {uri!r}: there is no installed package {package!r}") from error


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
