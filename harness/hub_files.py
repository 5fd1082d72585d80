"""Which files of a Hub repository are the images of a data set, and fetching them through ``huggingface_hub``."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import NamedTemporaryFile

from preimage.harness.errors import DatasetError
from preimage.harness.folder_reader import ENDINGS, SPLITS
from preimage.harness.hub_address import HubAddress
from preimage.harness.hub_telling import Asked, told

_SPLIT_NAMES = {"train": "train", "training": "train", "test": "test", "testing": "test"} | dict.fromkeys(
    ("val", "valid", "validation", "dev"), "val"
)
_SPLIT_OF_FILE = re.compile(rf"(?P<split>{'|'.join(sorted(_SPLIT_NAMES, key=len, reverse=True))})([-_.]?\d.*)?", re.I)
_AT_ONCE = 8


@dataclass(frozen=True)
class Listing:
    """The files of a repository at a commit."""

    address: HubAddress
    commit: str
    files: tuple[str, ...]

    def __str__(self) -> str:
        return f"Hub repository {self.address.repo!r}" + (
            f" at {self.address.revision!r}" * bool(self.address.revision)
        )


@dataclass(frozen=True)
class Chosen:
    """The files of each split, and what kind they are; of image files, also the folder that each split lies in."""

    parquet: bool
    files: Mapping[str, tuple[str, ...]]
    folders: Mapping[str, str]


def listed(address: HubAddress, cache: Path, *, offline: bool) -> Listing:
    """The repository's files. What is listed online is remembered in the cache, for use offline.

    Raises DatasetError: no such repository or revision, no access, no network, offline and never listed.
    """
    from huggingface_hub import HfApi, constants

    key = hashlib.sha256(f"{constants.ENDPOINT}\n{address.repo}\n{address.revision}".encode()).hexdigest()[:40]
    memory = cache / "hub" / f"{key}.json"
    if offline:
        if not memory.is_file():
            raise _never_fetched(address)
        known = json.loads(memory.read_text(encoding="utf-8"))
        return Listing(address, known["commit"], tuple(known["files"]))
    with _telling(address):
        found = HfApi().dataset_info(address.repo, revision=address.revision)
    files = tuple(sorted(sibling.rfilename for sibling in found.siblings or ()))
    with suppress(OSError):  # a cache that cannot be written costs the use offline, and nothing else
        memory.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile("w", dir=memory.parent, encoding="utf-8", delete=False) as draft:
            json.dump({"commit": found.sha, "files": files}, draft)
        Path(draft.name).replace(memory)
    return Listing(address, str(found.sha), files)


def fetch(listing: Listing, files: Sequence[str], *, offline: bool) -> list[Path]:
    """Where the files lie in the Hub's cache, fetched where they are missing. Raises DatasetError."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    repo, commit = listing.address.repo, listing.commit

    def one(file: str) -> Path:
        known = try_to_load_from_cache(repo, file, repo_type="dataset", revision=commit)
        if isinstance(known, str):
            return Path(known)
        if offline:
            raise _never_fetched(listing.address)
        with _telling(listing.address, file):
            return Path(hf_hub_download(repo, file, repo_type="dataset", revision=commit))

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(one, files))


def choose(listing: Listing) -> Chosen:
    """The images of the configuration: its parquet files if it has any, else its image files.

    The split is that in a file's name (``train-00000-of-00001.parquet``) or of its folder (``train/``, ``test/``,
    ``validation/``); where no name tells one, all is ``test``. Folders above, but for ``data``, name configurations.
    Raises DatasetError: neither kind of file, several configurations and none asked, an unknown one.
    """
    parquet = [file for file in listing.files if file.lower().endswith(".parquet")]
    if parquet:
        return _of_config(listing, {file: _place(file) for file in parquet}, parquet=True)
    images = [file for file in listing.files if _is_image(file)]
    if images:
        return _of_config(listing, {file: _image_place(file) for file in images}, parquet=False)
    endings = Counter(PurePosixPath(file).suffix or "without ending" for file in listing.files)
    seen = ", ".join(f"{count} {ending}" for ending, count in endings.most_common(5)) or "it is empty"
    raise DatasetError(f"{listing} has no images: no .parquet and no image files ({seen}). Other formats are not read")


def _place(file: str) -> tuple[str, str, str]:
    """Configuration, split and folder of a parquet file; the split is "" where its name tells none."""
    path = PurePosixPath(file)
    *above, folder = ("", *path.parts[:-1])
    if match := _SPLIT_OF_FILE.fullmatch(path.stem):
        return _config((*above, folder)), _SPLIT_NAMES[match["split"].lower()], ""
    if folder.lower() in _SPLIT_NAMES:
        return _config(above), _SPLIT_NAMES[folder.lower()], ""
    return _config((*above, folder)), "", ""


def _image_place(file: str) -> tuple[str, str, str]:
    """Likewise of an image file, whose split is the first folder of that name; folders below it are classes."""
    folders = PurePosixPath(file).parts[:-1]
    for depth, folder in enumerate(folders):
        if folder.lower() in _SPLIT_NAMES:
            return _config(folders[:depth]), _SPLIT_NAMES[folder.lower()], "/".join(folders[: depth + 1])
    return "", "", "data" if folders[:1] == ("data",) else ""


def _config(folders: Sequence[str]) -> str:
    named = [folder for folder in folders if folder]
    return "/".join(named[1:] if named[:1] == ["data"] else named)


def _of_config(listing: Listing, places: Mapping[str, tuple[str, str, str]], *, parquet: bool) -> Chosen:
    configs = sorted({config for config, _, _ in places.values()})
    asked = listing.address.config
    if asked is None:
        asked = next((name for name in ("", "default") if name in configs), configs[0] if len(configs) == 1 else None)
    if asked not in configs:
        said = "several configurations" if listing.address.config is None else f"no configuration {asked!r}"
        names = [name or "the one without a name" for name in configs]
        raise DatasetError(
            f"{listing} has {said}: it has {', '.join(names)}. Write hf://{listing.address.repo}:{names[-1]}"
        )
    mine = {file: place for file, place in places.items() if place[0] == asked}
    if any(split for _, split, _ in mine.values()):
        mine = {file: place for file, place in mine.items() if place[1]}  # what is in no split is something else
    found: dict[str, list[str]] = {}
    folders: dict[str, str] = {}
    for file, (_, split, folder) in mine.items():
        found.setdefault(split or "test", []).append(file)
        if folders.setdefault(split or "test", folder) != folder:
            raise DatasetError(
                f"{listing} has the images of {split!r} in two folders, {folders[split]!r} and {folder!r}. "
                "Fetch it, and give the folder that you mean: -d PATH"
            )
    files = {split: tuple(found[split]) for split in SPLITS if split in found}
    return Chosen(parquet, files, folders)


def _is_image(file: str) -> bool:
    return file.lower().endswith(ENDINGS) and not any(part.startswith(".") for part in PurePosixPath(file).parts)


def _never_fetched(address: HubAddress) -> DatasetError:
    return DatasetError(
        f"data set hf://{address.repo} is not in the cache of the Hub, or not wholly, and nothing is downloaded "
        "offline. Type the command once without --offline"
    )


@contextmanager
def _telling(address: HubAddress, file: str = "") -> Iterator[None]:
    """Tell what the client raises in our words."""
    try:
        yield
    except Exception as error:  # of the client, of its HTTP library, of the disk
        raise DatasetError(told(error, Asked(address.repo, address.revision, "data", file))) from error
