"""Folders of image files: splits, classes, order, fingerprints, and what each broken folder is told."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from preimage.harness import Dataset, FolderDataset, ImageSpec
from preimage.harness.errors import DatasetError

GREY = ImageSpec(1, 4, 4)


@pytest.fixture
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def put(path: Path, level: int = 0, size: tuple[int, int] = (4, 4)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, level).save(path)
    return path


def levels(root: Any, split: str = "test", image: ImageSpec = GREY, **options: Any) -> list[int]:
    """The grey level of every image of a split, in order."""
    data = FolderDataset("d", root, image=image, **options)
    images, _ = data.read(split, range(data.size(split)))
    return [round(float(level) * 255) for level in images[:, 0, 0, 0]]


def order(data: Dataset, split: str) -> list[tuple[int, int]]:
    images, labels = data.read(split, range(data.size(split)))
    return [(round(float(x) * 255), int(y)) for x, y in zip(images[:, 0, 0, 0], labels, strict=True)]


def test_folders_of_classes_in_folders_of_splits(tmp_path: Path) -> None:
    for level, name in enumerate(["train/cat/a.png", "train/dog/a.png", "test/dog/b.png", "test/emu/deep/c.PNG"]):
        put(tmp_path / name, level)
    data = FolderDataset("pets", tmp_path, image=GREY)
    assert isinstance(data, Dataset)
    assert (data.name, tuple(data.splits), data.num_classes) == ("pets", ("train", "test"), 3)
    assert data.classes == ("cat", "dog", "emu")  # over all splits
    assert sorted(order(data, "train")) == [(0, 0), (1, 1)]
    assert sorted(order(data, "test")) == [(2, 1), (3, 2)]
    assert sorted(order(data, "val")) == [(2, 1), (3, 2)]


def test_a_folder_without_splits_is_a_test_set_and_images_need_no_class(tmp_path: Path) -> None:
    put(tmp_path / "a.png", 5)
    data = FolderDataset("d", str(tmp_path), image=GREY)
    assert tuple(data.splits) == ("test",)
    assert data.num_classes == 0
    assert order(data, "test") == [(5, -1)]


def test_splits_in_any_case_in_their_usual_order(tmp_path: Path) -> None:
    for name in ("Test", "VAL", "train"):
        put(tmp_path / name / "a.png")
    assert tuple(FolderDataset("d", tmp_path, image=GREY).splits) == ("train", "val", "test")


def test_classes_are_sorted_as_text(tmp_path: Path) -> None:
    for name in ("2", "10", "B", "a"):
        put(tmp_path / name / "x.png")
    assert FolderDataset("d", tmp_path, image=GREY).classes == ("10", "2", "B", "a")


def test_folders_may_be_named_outright(tmp_path: Path) -> None:
    put(tmp_path / "vehicles" / "train" / "a.png", 1)
    put(tmp_path / "vehicles" / "car" / "a.png", 2)
    with pytest.raises(DatasetError, match=r"has the split train, and images in car beside it: splits or classes\?"):
        FolderDataset("d", tmp_path / "vehicles", image=GREY)
    data = FolderDataset("d", {"test": str(tmp_path / "vehicles")}, image=GREY)
    assert data.classes == ("car", "train")
    assert sorted(order(data, "test")) == [(1, 1), (2, 0)]


def test_images_beside_splits_are_refused_but_other_files_are_not(tmp_path: Path) -> None:
    put(tmp_path / "test" / "a.png")
    (tmp_path / "README.md").write_text("about")
    (tmp_path / "docs").mkdir()
    assert FolderDataset("d", tmp_path, image=GREY).size("test") == 1
    put(tmp_path / "stray.png")
    with pytest.raises(DatasetError, match=r"and images in stray\.png beside it"):
        FolderDataset("d", tmp_path, image=GREY)


def test_hidden_and_other_files_are_skipped(tmp_path: Path) -> None:
    put(tmp_path / "a" / "x.png", 3)
    for name in ("a/.x.png", ".hidden/y.png", "a/.thumbs/z.png", "__MACOSX/a/._x.png"):
        put(tmp_path / name, 9)
    (tmp_path / "a" / "notes.txt").write_text("no image")
    (tmp_path / "a" / "folder.png").mkdir()
    (tmp_path / "empty").mkdir()
    data = FolderDataset("d", tmp_path, image=GREY)
    assert data.classes == ("a",)
    assert order(data, "test") == [(3, 0)]


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    elsewhere = put(tmp_path / "elsewhere" / "y.png", 7)
    root = tmp_path / "root"
    put(root / "test" / "a" / "x.png", 3)
    (root / "test" / "b").symlink_to(elsewhere.parent)
    (root / "test" / "a" / "again.png").symlink_to(elsewhere)
    for loop, target in (("test/a/up", root / "test"), ("test/top", root), ("loop", root), ("test/a/self", "self")):
        (root / loop).symlink_to(target)
    (root / "test" / "a" / "self.png").symlink_to("self.png")
    data = FolderDataset("d", root, image=GREY)
    assert sorted(order(data, "test")) == [(3, 0), (7, 0), (7, 1)]


def test_a_link_to_nothing_is_named(tmp_path: Path) -> None:
    put(tmp_path / "x.png")
    (tmp_path / "gone.png").symlink_to("nowhere.png")
    with pytest.raises(DatasetError, match=r"gone\.png' is a link that leads nowhere; fetch the image"):
        FolderDataset("d", tmp_path, image=GREY)


def test_the_order_is_a_fixed_mixture_of_the_names(tmp_path: Path) -> None:
    for k in range(60):
        put(tmp_path / "one" / f"{k // 20}" / f"{k:02}.png", k)
    for k in reversed(range(60)):
        put(tmp_path / "two" / "deeper" / f"{k // 20}" / f"{k:02}.png", k)
    seen = levels(tmp_path / "one")
    assert seen[:6] == [18, 22, 2, 34, 59, 30]  # sorted by `printf 0/18.png | b2sum`
    assert sorted(seen) == list(range(60))
    assert levels(tmp_path / "two" / "deeper") == seen
    assert min(np.bincount([level // 20 for level in seen[:30]])) >= 5  # a class is not at the end
    for k in (13, 37):
        (tmp_path / "one" / f"{k // 20}" / f"{k:02}.png").unlink()
    assert levels(tmp_path / "one") == [level for level in seen if level not in (13, 37)]


def test_accents_composed_or_apart_make_no_difference_to_the_order(tmp_path: Path) -> None:
    composed = [f"caf\u00e9{k}" for k in range(8)]
    apart = [f"cafe\u0301{k}" for k in range(8)]
    for folder, names in (("composed", composed), ("apart", apart)):
        for level, name in enumerate(names):
            put(tmp_path / folder / f"{name}.png", level)
    assert levels(tmp_path / "composed") == levels(tmp_path / "apart")


def test_folders_that_hold_nothing(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"there is no folder '.*none'; give a folder of images, or of train/ and test/"
    ):
        FolderDataset("d", tmp_path / "none")
    with pytest.raises(DatasetError, match=r"there is no folder '.*none' for split 'train'"):
        FolderDataset("d", {"train": tmp_path / "none"})
    with pytest.raises(DatasetError, match=r"of split 'test' holds no image: no \.png, \.jpg"):
        FolderDataset("d", tmp_path)
    put(tmp_path / "test" / "a.png")
    (tmp_path / "val").mkdir()
    with pytest.raises(DatasetError, match=r"val' of split 'val' holds no image"):
        FolderDataset("d", tmp_path)
    with pytest.raises(DatasetError, match=r"data set 'd' has no split; give at least \{'test': folder\}"):
        FolderDataset("d", {})


def test_some_with_a_class_and_some_without(tmp_path: Path) -> None:
    put(tmp_path / "a.png")
    put(tmp_path / "b" / "c.png")
    with pytest.raises(
        DatasetError, match=r"holds images \(a\.png\) and folders of images \(b/c\.png\): give every image a"
    ):
        FolderDataset("d", tmp_path)


def test_options_that_are_none(tmp_path: Path) -> None:
    put(tmp_path / "a.png")
    with pytest.raises(
        DatasetError, match="resize='cubic' is unknown; give one of none, box, bilinear, bicubic, lanczos"
    ):
        levels(tmp_path, resize="cubic")
    with pytest.raises(DatasetError, match="crop='left' is unknown; give one of center, none"):
        levels(tmp_path, crop="left")
    with pytest.raises(DatasetError, match="data set 'd': images have 1 or 3 channels, not 4"):
        FolderDataset("d", tmp_path, image=ImageSpec(4, 4, 4))


@pytest.mark.parametrize("index", [-1, 2])
def test_an_index_outside_is_refused(tmp_path: Path, index: int) -> None:
    for name in ("a.png", "b.png"):
        put(tmp_path / name)
    with pytest.raises(DatasetError, match=f"image {index} asked, it has 2"):
        FolderDataset("d", tmp_path).read("test", [0, index])
    assert FolderDataset("d", tmp_path).read("test", [])[0].shape == (0, 1, 4, 4)


def test_the_fingerprint_follows_names_labels_content_and_rule(tmp_path: Path, cache: Path) -> None:
    root = tmp_path / "root"
    for level, name in enumerate(["train/a/x.png", "train/b/y.png", "test/b/z.png"]):
        put(root / name, level)

    def prints(folder: Path = root, image: ImageSpec = GREY, **options: Any) -> tuple[str, str]:
        data = FolderDataset("d", folder, image=image, cache=cache, **options)
        return data.fingerprint("train"), data.fingerprint("test")

    before = prints()
    assert FolderDataset("other", root, image=GREY, cache=cache).fingerprint("val") == before[1]
    shutil.copytree(root, tmp_path / "copy")
    assert prints(tmp_path / "copy") == before
    options: list[dict[str, Any]] = [{"resize": "box"}, {"crop": "none"}, {"image": ImageSpec(3, 4, 4)}]
    assert len({before, *(prints(**option) for option in options)}) == 4
    put(root / "train" / "a" / "x.png", 9)
    content = prints()
    assert content[0] != before[0]
    assert content[1] == before[1]
    (root / "train" / "b").rename(root / "train" / "c")
    renamed = prints()
    assert renamed[0] != content[0]
    assert renamed[1] == content[1]
    (root / "train" / "a").rename(root / "train" / "d")
    label = prints()
    assert label[1] != renamed[1]  # "b" was class 1 and is class 0
    put(root / "test" / "b" / "more.png")
    assert prints()[0] == label[0]
    assert prints()[1] != label[1]


def test_images_are_read_alone_and_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for k in range(5):
        put(tmp_path / f"{k}.png", k)
    opened: list[str] = []
    really = Image.open

    def watched(file: Path) -> Image.Image:
        opened.append(file.name)
        return really(file)

    monkeypatch.setattr(Image, "open", watched)
    data = FolderDataset("d", tmp_path, image=GREY)
    assert opened == []
    images, _ = data.read("test", [3, 0, 3])
    assert len(opened) == 3
    assert torch.equal(images[0], images[2])
    copy = pickle.loads(pickle.dumps(data))
    assert order(copy, "test") == order(data, "test")


def test_a_folder_that_may_not_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DatasetError, match=r"cannot list the folder '.*': Permission denied"):
        FolderDataset("d", {"test": tmp_path})
