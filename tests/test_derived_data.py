"""Data sets made from others by name: resized, inverted; and other data sets beside the one a model was trained on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from preimage.harness import ArrayDataset, Dataset, DatasetCard, ImageSpec
from preimage.harness.benchmark import Data
from preimage.harness.derived_data import Inverted, Resized, in_shape, resized
from preimage.harness.derived_names import Derivation, base_name, derivation, path_in
from preimage.harness.errors import DatasetError, Refused, UnknownName, UsageError
from preimage.harness.plugins import Registry, Sources
from preimage.harness.world import World
from tests.array_files import npz
from tests.tiny_world import Shell
from tests.tiny_world import shell as shell

RGB = np.random.default_rng(0).random((7, 3, 12, 10), dtype=np.float32)
GREY = np.random.default_rng(1).random((7, 1, 12, 10), dtype=np.float32)
LABELS = np.arange(7) % 3


def data_set(images: Any = RGB, name: str = "d") -> ArrayDataset:
    return ArrayDataset(name, {"train": (images[:2], LABELS[:2]), "test": (images, LABELS)})


def registry(*more: Dataset | DatasetCard) -> Registry:
    found = Registry(Sources(entry_points=False))
    for thing in (data_set(), data_set(GREY, "grey"), *more):
        found.datasets.add(thing.name, thing, "test")
    return found


def world(*more: Dataset | DatasetCard, offline: bool = False) -> World:
    return World(registry(*more), offline=offline)


@pytest.mark.parametrize(
    ("name", "means"),
    [
        ("digits", None),
        ("digits@1x28x28", Derivation("digits", ImageSpec(1, 28, 28))),
        ("inverted:digits", Derivation("digits", None)),
        ("inverted:digits@3x8x16", Derivation("inverted:digits", ImageSpec(3, 8, 16))),
        ("a@1x2x2@3x4x4", Derivation("a@1x2x2", ImageSpec(3, 4, 4))),
        ("hf://org/repo@main", None),
        ("hf://org/repo@main@3x4x4", Derivation("hf://org/repo@main", ImageSpec(3, 4, 4))),
    ],
)
def test_names_are_taken_apart_from_the_outside(name: str, means: Derivation | None) -> None:
    assert derivation(name) == means


@pytest.mark.parametrize("shape", ["28x28", "2x28x28", "1x0x28", "1x28x28x1", "1X28X28", "", "1x28x123456", "-1x2x2"])
def test_a_shape_that_is_none_is_an_error(shape: str) -> None:
    for name in (f"grey@{shape}", f"inverted:grey@{shape}"):
        with pytest.raises(UsageError, match=r"is not the shape of an image\. Write channels") as caught:
            registry().dataset(name)
        assert repr(shape) in str(caught.value)
        assert "e.g. grey@3x32x32" in str(caught.value)


@pytest.mark.parametrize("name", ["gray", "gray@1x2x2", "inverted:gray", "inverted:gray@1x2x2", "gray@nothing"])
def test_an_unknown_base_is_an_unknown_name(name: str) -> None:
    found = registry()
    assert not found.has_dataset(name)
    with pytest.raises(UnknownName, match=r"unknown dataset 'gray'. Did you mean 'grey'\?"):
        found.dataset(name)


def test_a_registered_name_is_taken_as_it_stands() -> None:
    odd = data_set(GREY, "inverted:it@home")
    found = registry(odd)
    assert found.dataset("inverted:it@home") is odd
    assert found.dataset("inverted:it@home@3x4x4").image == (3, 4, 4)
    assert base_name("inverted:it@home@3x4x4", found.datasets) == "inverted:it@home"


def test_names_are_read_without_torch() -> None:
    code = (
        "import sys; from preimage.harness.plugins import Registry; r = Registry();"
        "r.check_dataset('inverted:digits@1x28x28'); assert r.has_dataset('constant@1x2x2');"
        "assert 'torch' not in sys.modules and 'sklearn' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_derived_set_is_its_source_but_for_the_pixels() -> None:
    for name, image in (("d@1x6x5", (1, 6, 5)), ("inverted:d", (3, 12, 10))):
        found = registry().dataset(name)
        assert isinstance(found, Dataset)
        assert (found.name, found.image, found.num_classes, tuple(found.splits)) == (name, image, 3, ("train", "test"))
        assert (found.size("train"), found.size("test"), found.size("val")) == (2, 7, 7)
        images, labels = found.read("test", [5, 0])
        assert tuple(images.shape) == (2, *image)
        assert labels.tolist() == [2, 0]
        assert images.min() >= 0 and images.max() <= 1
        with pytest.raises(DatasetError, match="image 7 asked, it has 7"):
            found.read("test", [7])
        with pytest.raises(DatasetError, match="no split 'dev'"):
            found.fingerprint("dev")


@pytest.mark.parametrize(("height", "width"), [(6, 5), (5, 7), (24, 20), (31, 3)])
def test_resizing_is_pillows_bilinear_filter(height: int, width: int) -> None:
    """Pillow's filter is the usual antialiased one; on 32-bit floats it rounds nothing to levels."""
    images = resized(torch.from_numpy(GREY), ImageSpec(1, height, width))
    for mine, image in zip(images, GREY, strict=True):
        theirs = np.asarray(Image.fromarray(image[0], "F").resize((width, height), Image.Resampling.BILINEAR))
        assert np.abs(mine[0].numpy() - theirs).max() < 2e-6


def test_channels_become_luminance_or_are_repeated() -> None:
    grey = resized(torch.from_numpy(RGB), ImageSpec(1, 12, 10))[:, 0].numpy()
    assert np.abs(grey - (0.299 * RGB[:, 0] + 0.587 * RGB[:, 1] + 0.114 * RGB[:, 2])).max() < 1e-6
    rgb = resized(torch.from_numpy(GREY), ImageSpec(3, 12, 10)).numpy()
    assert all(np.array_equal(rgb[:, channel], GREY[:, 0]) for channel in range(3))
    white = resized(torch.ones(1, 3, 9, 9), ImageSpec(1, 28, 5))
    assert white.max() <= 1 and white.min() > 1 - 1e-6


def test_its_own_shape_is_the_set_itself() -> None:
    found = registry()
    assert found.dataset("d@3x12x10") is found.dataset("d")


@given(st.lists(st.integers(0, 6), max_size=7))
@settings(deadline=None, max_examples=20)
def test_reading_together_is_reading_alone(indices: list[int]) -> None:
    for data in (Resized(data_set(), ImageSpec(1, 5, 7)), Inverted(Resized(data_set(), ImageSpec(3, 20, 21)))):
        images, _ = data.read("test", indices)
        assert len(images) == len(indices)
        for k, index in enumerate(indices):
            assert torch.equal(images[k], data.read("test", [index])[0][0])


def test_inverted_is_one_minus_the_image_and_twice_is_the_image() -> None:
    found = registry()
    images = found.dataset("d").read("test", range(7))[0]
    assert torch.equal(found.dataset("inverted:d").read("test", range(7))[0], 1 - images)
    assert torch.allclose(found.dataset("inverted:inverted:d").read("test", range(7))[0], images, atol=1e-7)
    here, there = (found.dataset(n).read("test", [3])[0] for n in ("inverted:d@1x5x5", "d@1x5x5"))
    assert torch.allclose(here, 1 - there, atol=1e-6)


def test_fingerprints_tell_source_and_transformation_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    found = registry(data_set(1 - RGB, "other"))
    names = ("d", "other", "d@1x6x5", "d@1x5x6", "other@1x6x5", "inverted:d", "inverted:d@1x6x5", "inverted:other")
    seen = {found.dataset(name).fingerprint(split) for name in names for split in ("train", "test")}
    assert len(seen) == 2 * len(names)
    for kind, source in ((Resized, Resized(data_set(), ImageSpec(1, 6, 5))), (Inverted, Inverted(data_set()))):
        before = source.fingerprint("test")
        assert before == source.fingerprint("val")
        monkeypatch.setattr(kind, "version", 2)
        assert source.fingerprint("test") != before


class Shapely:
    """A set that can be drawn in any shape."""

    def __init__(self, *image: int) -> None:
        self.name, self.image, self.num_classes, self.splits = "shapely", ImageSpec(*image), 0, ("test",)

    def at(self, image: ImageSpec) -> Shapely:
        return Shapely(*image)

    def size(self, split: str) -> int:
        return 1

    def fingerprint(self, split: str) -> str:
        return str(self.image)

    def read(self, split: str, indices: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.full((len(indices), *self.image), 0.25), torch.full((len(indices),), -1)


def test_what_can_be_drawn_in_any_shape_is_not_resized() -> None:
    found = registry(Shapely(3, 4, 4))
    drawn = found.dataset("shapely@1x9x9")
    assert isinstance(drawn, Shapely)
    assert drawn.image == (1, 9, 9)
    inverted = in_shape(Inverted(Shapely(3, 4, 4)), ImageSpec(1, 9, 9))
    assert isinstance(inverted, Inverted)
    assert torch.equal(inverted.read("test", [0])[0], torch.full((1, 1, 9, 9), 0.75))


def opened_with(downloads: bool) -> tuple[list[dict[str, bool]], DatasetCard]:
    calls: list[dict[str, bool]] = []

    def open_it(**options: bool) -> Dataset:
        calls.append(options)
        return data_set(name="far")

    return calls, DatasetCard("far", ImageSpec(3, 12, 10), 3, ("train", "test"), open_it, downloads=downloads)


@pytest.mark.parametrize("offline", [False, True])
def test_what_may_download_is_told_whether_it_may(offline: bool) -> None:
    for name in ("far", "inverted:far@1x2x2"):
        calls, card = opened_with(downloads=True)
        world(card, offline=offline).dataset(name)
        assert calls == [{"offline": offline}]
        calls, card = opened_with(downloads=False)
        world(card, offline=offline).dataset(name)
        assert calls == [{}]


def test_another_data_set_comes_in_this_ones_shape() -> None:
    here = world(Shapely(3, 4, 4))
    data = here.data("d")
    other = data.other("grey@3x12x10")
    assert (other.name, other.image, other.sizes) == ("grey@3x12x10", data.image, {"train": 2, "test": 7})
    for name, whole in (
        ("inverted", "inverted:d"),
        ("grey", "grey@3x12x10"),
        ("shapely", "shapely@3x12x10"),
        ("inverted:grey", "inverted:grey@3x12x10"),
    ):
        other = data.other(name)
        assert (other.name, other.image) == (whole, data.image)
        split = other.split("test")
        assert split.dataset == whole
        images, _ = here.images(split, [0])  # as a worker reads them
        assert tuple(images.shape[1:]) == data.image
        assert torch.equal(images, here.dataset(whole).read("test", [0])[0])
    assert data.other("inverted").other("inverted").name == "inverted:inverted:d"


def test_another_data_set_that_cannot_be_had_is_refused_with_the_reason() -> None:
    def lost() -> Dataset:
        raise OSError("the disk is gone")

    def away() -> Dataset:
        raise DatasetError("not downloaded")

    cards = [DatasetCard(name, ImageSpec(1, 2, 2), 0, ("test",), open_) for name, open_ in (("a", lost), ("b", away))]
    data = world(*cards).data("d")
    for name, reason in (
        ("shapeless", "other data set 'shapeless': unknown dataset 'shapeless'"),
        ("d@7", "other data set 'd@7': data set 'd@7': '7' is not the shape"),
        ("a", "other data set 'a' cannot be opened: OSError: the disk is gone"),
        ("b", "other data set 'b': not downloaded"),
    ):
        with pytest.raises(Refused) as caught:
            data.other(name)
        assert str(caught.value).startswith(reason)
    with pytest.raises(Refused, match="data set 'd' is alone: 'grey' cannot be opened beside it"):
        replace(data, open_other=None).other("grey")


def test_what_stands_beside_is_no_part_of_what_a_data_set_is() -> None:
    data = world().data("d")
    assert data == replace(data, open_other=None)
    assert data == Data(data.name, data.image, data.num_classes, data.sizes, data.fingerprints)


def test_a_path_may_bear_a_shape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "it@1x8x8").mkdir()
    for text, path in (
        ("a/b.npz@1x8x8", "a/b.npz"),
        ("inverted:a/b.npz@3x4x4@1x8x8", "a/b.npz"),
        ("it@1x8x8", "it@1x8x8"),
        ("it@1x8x8@3x4x4", "it@1x8x8"),
        ("a@home/b", "a@home/b"),
    ):
        assert path_in(text) == path


def test_a_path_of_a_name_that_is_taken_goes_by_the_files_name(tmp_path: Path) -> None:
    npz(tmp_path / "digits.npz", images=np.zeros((2, 8, 8), dtype=np.uint8))
    (tmp_path / "constant").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "constant" / "a.png")
    paths = tuple((str(tmp_path / name), None) for name in ("digits.npz", "constant"))
    found = Registry(Sources(datasets=paths))
    assert found.dataset("digits").size("test") == 1000
    assert found.dataset("digits.npz").size("test") == 2
    assert found.dataset("inverted:constant/@1x2x2").size("test") == 1
    assert found.dataset("constant").size("test") == 10_000


def test_the_command_line_takes_derived_names_and_paths(shell: Shell) -> None:
    npz(shell.folder / "faces.npz", images=(GREY * 255).astype(np.uint8))
    few = ("-b", "recovery", "-m", "tiny-good", "--limit", "2", "--set", "block=2", "--set", "solver.steps=2")
    for name, whole in (
        ("inverted:tiny", "inverted:tiny"),
        ("faces.npz@1x8x8", "faces@1x8x8"),
        ("inverted:./faces.npz@1x8x8", "inverted:faces@1x8x8"),
    ):
        ended = shell.run(*few, "-d", name)
        assert ended.status == 0, ended.said
        assert whole in {row["dataset"] for row in shell.scores()}
    npz(shell.folder / "tiny.npz", images=np.zeros((2, 8, 8), dtype=np.uint8))
    ended = shell.run(*few, "-d", "tiny.npz")  # not the installed data set of that name
    assert ended.status == 0, ended.said
    assert "tiny.npz" in {row["dataset"] for row in shell.scores()}
    ended = shell.run(*few, "-d", "faces.npz")
    assert "Add @1x8x8 to the data set's name or path to have them resized" in ended.said
    assert ended.status == 1
    for name, said in (("tinny@1x8x8", "Did you mean 'tiny'?"), ("tiny@8x8", "'8x8' is not the shape of an image")):
        ended = shell.run(*few, "-d", name)
        assert ended.status == 2
        assert said in ended.said
