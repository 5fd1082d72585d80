"""The shipped Fashion-MNIST: what is in the file, that it is the original's, that its maker repeats itself."""

from __future__ import annotations

import gzip
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from preimage.adapters import fashion_mnist
from preimage.adapters.fashion_mnist import make
from preimage.adapters.fashion_mnist.arrays import CLASSES, FILE, open_dataset, read_indices, read_split
from preimage.harness.cards import DatasetCard
from preimage.harness.errors import DatasetError

ORIGINAL = Path("/usr/share/datasets/fashion-mnist")  # where Debian's package dataset-fashion-mnist puts it
SIZES = {"train": 8192, "test": 1024}

needs_original = pytest.mark.skipif(
    not ORIGINAL.is_dir(), reason=f"{ORIGINAL} is missing: install Debian's dataset-fashion-mnist"
)


def write_idx(path: Path, array: np.ndarray) -> None:
    header = struct.pack(f">HBB{array.ndim}I", 0, make.IDX_UINT8, array.ndim, *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes()))


@pytest.mark.parametrize("split", SIZES)
def test_every_split_has_its_images_labels_and_indices(split: str) -> None:
    images, labels = read_split(split)
    indices = read_indices(split)
    assert images.shape == (SIZES[split], 28, 28) and images.dtype == np.uint8
    assert labels.shape == indices.shape == (SIZES[split],)
    assert len(np.unique(indices)) == SIZES[split]
    assert np.bincount(labels, minlength=10).min() > 0.08 * SIZES[split]
    assert not np.array_equal(indices, np.sort(indices)), "the permutation left the original order"


@needs_original
@pytest.mark.parametrize("split", make.SPLITS)
def test_images_and_labels_are_the_originals_at_the_stored_indices(split: make.Split) -> None:
    images, labels = read_split(split.name)
    indices = read_indices(split.name)
    assert np.array_equal(images, make.read_idx(ORIGINAL / f"{split.stem}-images-idx3-ubyte.gz")[indices])
    assert np.array_equal(labels, make.read_idx(ORIGINAL / f"{split.stem}-labels-idx1-ubyte.gz")[indices])


@needs_original
def test_the_stored_choice_is_the_makers() -> None:
    for split in make.SPLITS:
        assert np.array_equal(make.cut(ORIGINAL, split)[f"{split.name}_indices"], read_indices(split.name))


def test_the_maker_gives_the_same_bytes_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    for split in make.SPLITS:
        pixels = random.integers(0, 256, (12, 28, 28), dtype=np.uint8)
        write_idx(tmp_path / f"{split.stem}-images-idx3-ubyte.gz", pixels)
        write_idx(tmp_path / f"{split.stem}-labels-idx1-ubyte.gz", random.integers(0, 10, 12, dtype=np.uint8))
    for name in ("once", "twice"):
        monkeypatch.setattr(sys, "argv", ["make", "--source", str(tmp_path), "--out", str(tmp_path / name)])
        make.main()
    assert (tmp_path / "once").read_bytes() == (tmp_path / "twice").read_bytes()
    with np.load(tmp_path / "once") as arrays:
        assert arrays["train_images"].shape == (12, 28, 28)


def test_another_file_than_idx_is_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(b"PNG and so on"))
    with pytest.raises(DatasetError, match="no idx file"):
        make.read_idx(path)


def test_a_cut_idx_file_is_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(struct.pack(">HBB1I", 0, make.IDX_UINT8, 1, 9) + b"four"))
    with pytest.raises(DatasetError, match="holds 4 bytes"):
        make.read_idx(path)


def test_the_file_is_small_and_its_licence_lies_beside_it() -> None:
    assert FILE.stat().st_size < 6_000_000
    assert "Zalando" in FILE.with_name("LICENSE-fashion-mnist.txt").read_text(encoding="utf-8")


def test_the_hook_registers_a_card_that_says_what_the_data_set_is() -> None:
    found: list[DatasetCard] = []
    fashion_mnist.register_datasets(found.append)
    (card,) = found
    dataset = card.open()
    assert (card.name, card.num_classes, card.splits) == (dataset.name, dataset.num_classes, tuple(dataset.splits))
    assert card.image == dataset.image


def test_reading_gives_pixels_between_0_and_1_with_their_labels() -> None:
    dataset = open_dataset()
    images, labels = dataset.read("test", [3, 0])
    stored, stored_labels = read_split("test")
    assert images.shape == (2, 1, 28, 28) and images.dtype == torch.float32
    assert np.array_equal((images[0, 0] * 255).round().numpy(), stored[3])
    assert labels.tolist() == stored_labels[[3, 0]].tolist()
    assert len(CLASSES) == dataset.num_classes
