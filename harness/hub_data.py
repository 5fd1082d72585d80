"""Data sets from the Hugging Face Hub: parquet files with encoded images, or image files in folders."""

from __future__ import annotations

from pathlib import Path

from preimage.harness.datasets import Dataset
from preimage.harness.encoded_images import Cut, EncodedDataset
from preimage.harness.errors import DatasetError
from preimage.harness.file_hashes import default_cache
from preimage.harness.folder_reader import FolderDataset
from preimage.harness.hub_address import hub_address
from preimage.harness.hub_files import choose, fetch, listed
from preimage.harness.parquet_images import parquet_split


def open_hub_dataset(address: str, *, offline: bool = False, cache: Path | None = None) -> Dataset:
    """The data set at ``hf://org/repo[@revision][:config][?image=3x64x64&resize=bicubic&crop=none&label=COLUMN]``.

    Files are fetched through ``huggingface_hub``, into its cache: those of the configuration, no others. Which are
    taken is told in ``hub_files.choose``. Rows of parquet files, like files in folders, come in a fixed order that
    mixes them. image: the shape wanted; images are resized and cut as in ``FolderDataset``. Without it all images must
    have the shape of the first. cache: of what can be computed again; default ``~/.cache/preimage``.
    Raises UsageError for an address that is none; DatasetError: no such repository, no access, no images, no network,
    offline and not fetched before.
    """
    from huggingface_hub import constants

    asked = hub_address(address)
    offline = offline or bool(constants.HF_HUB_OFFLINE)
    cache = default_cache() if cache is None else cache
    listing = listed(asked, cache, offline=offline)
    chosen = choose(listing)
    paths = {split: fetch(listing, files, offline=offline) for split, files in chosen.files.items()}
    if chosen.parquet:
        splits = {split: parquet_split(files, asked.label, cache) for split, files in paths.items()}
        classes = max(split.num_classes for split in splits.values())
        return EncodedDataset(address, splits, classes, Cut(asked.image, asked.resize, asked.crop))
    if asked.label is not None:
        raise DatasetError(
            f"{listing} has image files, no column {asked.label!r}; their classes are folders. Leave label out"
        )
    folders = {split: _above(paths[split][0], chosen.files[split][0]) / chosen.folders[split] for split in chosen.files}
    resize = asked.resize if asked.image is not None else "none"
    return FolderDataset(address, folders, image=asked.image, resize=resize, crop=asked.crop, cache=cache)


def _above(path: Path, file: str) -> Path:
    """The folder that a file's path in the repository is relative to."""
    return path.parents[file.count("/")]
