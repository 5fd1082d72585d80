"""Where the data sets lie, and how torchvision fetches those that are not there."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import TypeVar

from preimage.harness.errors import DatasetError
from preimage.harness.file_hashes import default_cache

T = TypeVar("T")


def data_root(environment: Mapping[str, str] = os.environ) -> Path:
    """The folder of data sets: ``PREIMAGE_DATA``, else ``~/.cache/preimage/data``."""
    named = environment.get("PREIMAGE_DATA")
    return Path(named).expanduser() if named else default_cache() / "data"


def fetched(name: str, make: Callable[[bool], T], *, root: Path, offline: bool, by_hand: str) -> T:
    """What ``make(download)`` gives: of the files under root and, only where these are missing, of a download.

    make: raises RuntimeError where files are missing or damaged, as torchvision's data sets do. by_hand: which files
    to put where. Raises DatasetError: missing and offline, cannot be downloaded.
    """
    try:
        return make(False)
    except RuntimeError as error:
        missing = str(error).split(". ")[0].lower()
    other = f"Or put {by_hand} yourself; PREIMAGE_DATA names another folder than {str(root)!r}"
    if offline:
        raise DatasetError(
            f"data set {name!r} is not in {str(root)!r} ({missing}), and nothing is downloaded offline. "
            f"Type the command once without --offline. {other}"
        )
    try:
        root.mkdir(parents=True, exist_ok=True)
        with redirect_stdout(sys.stderr):  # torchvision says what it does on stdout
            return make(True)
    except Exception as error:  # of urllib, tarfile, zipfile, an optional package that is missing, ...
        said = str(error).strip().rstrip(".").replace("\n", " ")
        raise DatasetError(
            f"cannot download data set {name!r}: {type(error).__name__}: {said}. Check the network. {other}"
        ) from error
