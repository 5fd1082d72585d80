"""Data sets in .npz and idx files, and what ``-d PATH`` means."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from preimage.harness import Dataset, ImageSpec
from preimage.harness.errors import DatasetError
from preimage.harness.readers import FolderDataset, IdxDataset, NpzDataset, dataset_from
from tests.array_files import idx, npz

rng = np.random.default_rng(5)
GREY = rng.integers(0, 256, (7, 5, 4), dtype=np.uint8)
RGB = rng.random((7, 3, 5, 4), dtype=np.float32)
LABELS = np.array([3, 1, 0, 2, 3, 1, 0], dtype=np.int32)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def everything(data: Dataset, split: str = "test") -> np.ndarray[Any, np.dtype[np.float32]]:
    return data.read(split, range(data.size(split)))[0].numpy()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("stored", "read"),
    [
        (GREY, GREY[:, None] / np.float32(255)),
        (GREY[:, None], GREY[:, None] / np.float32(255)),
        (GREY[..., None], GREY[:, None] / np.float32(255)),
        (RGB, RGB),
        (RGB.transpose(0, 2, 3, 1), RGB),
        (np.asfortranarray(RGB), RGB),
        (RGB.astype(">f8"), RGB),
        (RGB.astype(np.float16), RGB.astype(np.float16)),
        (RGB[:, :, :3, :3], RGB[:, :, :3, :3]),
        (RGB[:0], RGB[:0]),
    ],
    ids=["nhw", "n1hw", "nhw1", "nchw", "nhwc", "fortran", "big-endian", "half", "n333", "empty"],
)
def test_every_layout_is_read(tmp_path: Path, cache: Path, packed: bool, stored: Any, read: Any) -> None:
    data = NpzDataset("d", {"test": npz(tmp_path / "a.npz", packed=packed, images=stored)}, cache=cache)
    assert isinstance(data, Dataset)
    assert data.image == ImageSpec(*read.shape[1:])
    images, labels = data.read("test", range(len(read)))
    assert images.dtype == torch.float32
    assert images.is_contiguous()
    assert np.array_equal(images.numpy(), read.astype(np.float32))
    assert labels.tolist() == [-1] * len(read)
    assert data.num_classes == 0
    assert (cache / "arrays").exists() == (packed and len(read) > 0)


@pytest.mark.parametrize("packed", [False, True])
def test_images_come_with_their_labels_in_any_order(tmp_path: Path, cache: Path, packed: bool) -> None:
    data = NpzDataset("d", {"test": npz(tmp_path / "a.npz", packed=packed, x=RGB, y=LABELS[:, None])}, cache=cache)
    images, labels = data.read("val", [6, 0, 6])
    assert np.array_equal(images.numpy(), RGB[[6, 0, 6]])
    assert labels.tolist() == [0, 3, 0]
    assert labels.dtype == torch.int64
    assert data.num_classes == 4
    assert data.read("test", [])[0].shape == (0, 3, 5, 4)


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("test_images", "test_labels"),
        ("test_x", "test_y"),
        ("x_test", "y_test"),
        ("images", "labels"),
        ("x", "y"),
        ("data", "targets"),
        ("arr_0", "arr_1"),
    ],
)
def test_usual_names_are_found(tmp_path: Path, images: str, labels: str) -> None:
    arrays: dict[str, Any] = {images: RGB, labels: LABELS}
    data = NpzDataset("d", {"test": npz(tmp_path / "a.npz", **arrays)})
    assert data.read("test", [3])[1].tolist() == [2]


def test_names_of_the_split_come_first_and_names_given_before_all(tmp_path: Path) -> None:
    path = npz(tmp_path / "a.npz", images=RGB, test_x=RGB[:2], test_y=LABELS[:2], odd=RGB[:3], ids=LABELS[4:])
    assert NpzDataset("d", {"test": path}).size("test") == 2
    assert NpzDataset("d", {"test": (path, "images", None)}).read("test", [0])[1].tolist() == [-1]
    assert NpzDataset("d", {"test": (str(path), "odd", "ids")}).read("test", [0])[1].tolist() == [3]
    assert NpzDataset("d", {"test": (path, "test_x")}).read("test", [1])[1].tolist() == [1]


def test_one_file_may_hold_all_splits(tmp_path: Path) -> None:
    path = npz(tmp_path / "all.npz", train_x=GREY, train_y=LABELS, test_x=GREY[:2], test_y=LABELS[:2])
    data = dataset_from(path)
    assert (data.name, tuple(data.splits), data.num_classes) == ("all", ("train", "test"), 4)
    assert (data.size("train"), data.size("test")) == (7, 2)
    assert np.array_equal(everything(data, "train")[:2], everything(data))


@pytest.mark.parametrize("packed", [False, True])
def test_a_reader_can_be_sent_to_another_process(tmp_path: Path, cache: Path, packed: bool) -> None:
    images = np.zeros((1, 400, 400), np.uint8)
    data = NpzDataset("d", {"test": npz(tmp_path / "a.npz", packed=packed, images=images)}, cache=cache)
    everything(data)
    sent = pickle.dumps(data)
    assert len(sent) < 10_000
    copy = pickle.loads(sent)
    assert np.array_equal(everything(copy), everything(data))
    assert copy.fingerprint("test") == data.fingerprint("test")


def test_the_fingerprint_follows_the_file_and_the_arrays_read(tmp_path: Path, cache: Path) -> None:
    path = npz(tmp_path / "a.npz", images=GREY, other=GREY[::-1], labels=LABELS)
    copy = tmp_path / "b.npz"
    copy.write_bytes(path.read_bytes())
    changed = npz(tmp_path / "c.npz", images=GREY, other=GREY[::-1], labels=LABELS[::-1])
    sources: list[Any] = [path, (path, "images", None), (path, "other"), changed]
    seen = [NpzDataset("d", {"test": source}, cache=cache).fingerprint("test") for source in sources]
    assert len(set(seen)) == 4
    assert NpzDataset("e", {"train": copy}, cache=cache).fingerprint("train") == seen[0]


def test_pixels_out_of_range_are_seen_when_they_are_read(tmp_path: Path) -> None:
    images = RGB.copy()
    images[4] *= 300
    images[5, 0, 0, 0] = np.nan
    data = NpzDataset("d", {"test": npz(tmp_path / "a.npz", images=images)})
    assert data.read("test", [3])[0].shape == (1, 3, 5, 4)
    with pytest.raises(DatasetError, match=r"a\.npz', array 'images\.npy': pixels range over .*divide uint8"):
        data.read("test", [3, 4])
    with pytest.raises(DatasetError, match="some pixels are not finite"):
        data.read("test", [5])


@pytest.mark.parametrize("ask", [lambda d: d.read("test", [7]), lambda d: d.read("test", [-1])])
def test_an_index_outside_is_refused(tmp_path: Path, ask: Callable[[Dataset], object]) -> None:
    with pytest.raises(DatasetError, match=r"image (7|-1) asked, it has 7"):
        ask(NpzDataset("d", {"test": npz(tmp_path / "a.npz", images=GREY)}))


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        (
            {"faces": RGB},
            r"has no array test_images or .* or arr_0 for split 'test'; it has faces. Give \(path, name of",
        ),
        ({}, "it has none"),
        ({"images": RGB.astype(np.int64)}, r"array 'images\.npy': images are int64; save floats in \[0, 1\] or uint8"),
        ({"images": RGB[0, 0]}, r"images have shape \(5, 4\); save \[n, height, width\]"),
        ({"images": RGB.reshape(7, 1, 3, 5, 4)}, r"images have shape \(7, 1, 3, 5, 4\)"),
        ({"images": np.zeros((7, 2, 5, 4))}, r"images have shape \(7, 2, 5, 4\)"),
        (
            {"images": RGB, "labels": LABELS[:6]},
            r"'labels\.npy': labels are int32 of shape \(6,\); 7 whole numbers are needed",
        ),
        ({"images": RGB, "labels": LABELS.astype(float)}, r"labels are float64 of shape \(7,\)"),
        ({"images": RGB, "labels": LABELS - 3}, r"label -3 seen; labels are 0, 1, .*none"),
        ({"images": np.array([None] * 7)}, r"'images\.npy' holds pickled Python objects, which are never loaded"),
    ],
)
def test_wrong_arrays_are_told(tmp_path: Path, arrays: dict[str, Any], said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        NpzDataset("d", {"test": npz(tmp_path / "a.npz", **arrays)})


def test_a_name_that_is_not_there_lists_the_others(tmp_path: Path) -> None:
    path = npz(tmp_path / "a.npz", images=RGB, labels=LABELS)
    with pytest.raises(DatasetError, match=r"has no array faces for split 'test'; it has images, labels\."):
        NpzDataset("d", {"test": (path, "faces")})
    with pytest.raises(DatasetError, match=r"has no array ids for split 'test'"):
        NpzDataset("d", {"test": (path, "images", "ids")})


def test_splits_agree(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="data set 'd' has no split; give at least 'test' and its file"):
        NpzDataset("d", {})
    path = npz(tmp_path / "a.npz", train_x=RGB, test_x=GREY, train_y=LABELS)
    with pytest.raises(DatasetError, match=r"'d': its splits have images of different shapes: train 3x5x4, test 1x5x4"):
        NpzDataset("d", {"train": path, "test": path})
    assert NpzDataset("d", {"train": path}, num_classes=9).num_classes == 9
    with pytest.raises(DatasetError, match="data set 'd': label 3 seen, but num_classes is 3"):
        NpzDataset("d", {"train": path}, num_classes=3)
    with pytest.raises(DatasetError, match="data set 'd' has no split 'test'; it has train"):
        NpzDataset("d", {"train": path}).read("test", [0])


def idx_folder(folder: Path, ending: str = "", point: str = "-") -> Path:
    folder.mkdir()
    for stem, count in (("train", 7), ("t10k", 3)):
        idx(folder / f"{stem}-images{point}idx3-ubyte{ending}", GREY[:count])
        idx(folder / f"{stem}-labels{point}idx1-ubyte{ending}", LABELS[:count])
    return folder


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("point", ["-", "."])
def test_a_folder_of_idx_files(tmp_path: Path, cache: Path, ending: str, point: str) -> None:
    data = dataset_from(idx_folder(tmp_path / "digits.v2", ending, point), cache=cache)
    assert isinstance(data, IdxDataset)
    assert (data.name, tuple(data.splits), data.num_classes) == ("digits.v2", ("train", "test"), 4)
    assert data.image == ImageSpec(1, 5, 4)
    assert not cache.exists()
    images, labels = data.read("val", [2, 0])
    assert np.array_equal(images[:, 0].numpy(), GREY[[2, 0]] / np.float32(255))
    assert labels.tolist() == [0, 3]
    assert cache.exists() == (ending == ".gz")
    assert data.fingerprint("train") != data.fingerprint("test")


def test_idx_files_named_outright(tmp_path: Path) -> None:
    images, labels = idx(tmp_path / "i", RGB, ">f4"), idx(tmp_path / "l", LABELS, ">i4")
    splits: dict[str, tuple[str | Path, str | None]] = {"train": (images, str(labels)), "test": (str(images), None)}
    data = IdxDataset("d", splits, num_classes=6, cache=tmp_path)
    assert np.array_equal(everything(data), RGB)
    assert data.read("train", [3])[1].tolist() == [2]
    assert data.read("test", [3])[1].tolist() == [-1]
    assert data.num_classes == 6
    assert data.fingerprint("train") != data.fingerprint("test")
    with pytest.raises(
        DatasetError, match=r"labels are uint8 of shape \(7, 5, 4\); 7 whole numbers are needed, one for each"
    ):
        IdxDataset("d", {"test": (images, idx(tmp_path / "x", GREY))})
    with pytest.raises(DatasetError, match="data set 'd' has no split"):
        IdxDataset("d", {})


def test_images_without_labels_and_plain_before_gzipped(tmp_path: Path) -> None:
    idx(tmp_path / "test-images-idx3-ubyte", GREY)
    idx(tmp_path / "test-images-idx3-ubyte.gz", GREY[:2])
    data = dataset_from(tmp_path)
    assert data.size("test") == 7
    assert data.num_classes == 0


def test_an_npz_without_splits_is_a_test_set(tmp_path: Path) -> None:
    data = dataset_from(str(npz(tmp_path / "faces.npz", images=RGB)), image=ImageSpec(3, 5, 4))
    assert (data.name, tuple(data.splits)) == ("faces", ("test",))


def test_arrays_are_not_resized(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"data set 'faces' has images of 3x5x4; 3x8x8 is asked. Arrays are not resized"
    ):
        dataset_from(npz(tmp_path / "faces.npz", images=RGB), image=ImageSpec(3, 8, 8))


def test_a_folder_of_images(tmp_path: Path) -> None:
    for name, side in (("one", 4), ("two", 6)):
        Image.new("L", (side, side)).save(tmp_path / f"{name}.png")
    data = dataset_from(tmp_path, image=ImageSpec(3, 2, 2))
    assert isinstance(data, FolderDataset)
    assert data.name == tmp_path.name
    assert everything(data).shape == (2, 3, 2, 2)
    taken = dataset_from(tmp_path)
    assert taken.image in (ImageSpec(1, 4, 4), ImageSpec(1, 6, 6))
    with pytest.raises(DatasetError, match=r"Give the size and resize='bilinear'"):
        everything(taken)
    assert len(everything(dataset_from(tmp_path, resize="box"))) == 2


def test_the_folder_here_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    assert dataset_from(".").name == tmp_path.name


def test_other_paths_are_told_what_was_seen(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "words" / "deep").mkdir(parents=True)
    for name in ("a.txt", "b.txt", "c.csv", "README"):
        (tmp_path / "words" / name).write_text("no image")
    for path, said in (
        (
            tmp_path / "none",
            "does not exist (for a data set that is installed, give its name: `preimage list datasets`)",
        ),
        (tmp_path / "empty", "holds no images: it is empty"),
        (tmp_path / "words" / "c.csv", "is a file (.csv)"),
        (tmp_path / "words" / "README", "is a file (without ending)"),
    ):
        with pytest.raises(DatasetError) as caught:
            dataset_from(path)
        assert str(caught.value).startswith(f"{str(path)!r} {said}. Give a folder of images (a sub-folder per class")
    with pytest.raises(DatasetError, match=r"holds no images: 2 \.txt files, .*1 folders"):
        dataset_from(tmp_path / "words")
