"""Folders of image files: how a file becomes an image, and what each broken file is told."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms import functional  # type: ignore[import-untyped]  # it has no types

from preimage.harness import FolderDataset, ImageSpec
from preimage.harness.errors import DatasetError
from preimage.harness.image_files import Resize

rng = np.random.default_rng(11)
GREY = ImageSpec(1, 4, 4)


def saved(root: Path, picture: Image.Image, name: str = "a.png", **options: Any) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    picture.save(root / name, **options)
    return root


def only(root: Path, channels: int, height: int, width: int, **options: Any) -> NDArray[np.float32]:
    image = ImageSpec(channels, height, width)
    pixels: NDArray[np.float32] = FolderDataset("d", root, image=image, **options).read("test", [0])[0][0].numpy()
    assert pixels.shape == (channels, height, width)
    return pixels


def test_pixels_are_those_of_the_file(tmp_path: Path) -> None:
    colours = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    root = saved(tmp_path, Image.fromarray(colours))
    assert np.array_equal(only(root, 3, 5, 7), colours.transpose(2, 0, 1) / np.float32(255))
    luma = np.asarray(Image.fromarray(colours).convert("L")) / np.float32(255)
    assert np.array_equal(only(root, 1, 5, 7)[0], luma)
    assert np.allclose(luma, colours @ np.array([0.299, 0.587, 0.114]) / 255, atol=1 / 255)


def test_grey_becomes_colour(tmp_path: Path) -> None:
    grey = rng.integers(0, 256, (5, 7), dtype=np.uint8)
    assert np.array_equal(only(saved(tmp_path, Image.fromarray(grey)), 3, 5, 7), np.stack([grey / np.float32(255)] * 3))


def test_other_modes(tmp_path: Path) -> None:
    deep = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    assert np.array_equal(only(saved(tmp_path / "16", Image.fromarray(deep)), 1, 1, 4) * 255, [[[0, 1, 128, 255]]])
    assert np.array_equal(only(tmp_path / "16", 3, 1, 4)[2] * 255, [[0, 1, 128, 255]])
    bits = Image.fromarray(np.array([[0, 255]], dtype=np.uint8)).convert("1")
    assert np.array_equal(only(saved(tmp_path / "1", bits), 1, 1, 2), [[[0, 1]]])
    cmyk = Image.new("CMYK", (2, 1), (0, 255, 255, 0))
    assert only(saved(tmp_path / "cmyk", cmyk, "a.tif"), 3, 1, 2)[:, 0, 0].tolist() == [1, 0, 0]


def test_what_is_transparent_lies_over_white(tmp_path: Path) -> None:
    clear = Image.fromarray(np.array([[[10, 20, 30, 0], [10, 20, 30, 255], [0, 0, 0, 128]]], dtype=np.uint8))
    expected = np.array([[255, 10, 127], [255, 20, 127], [255, 30, 127]])
    assert np.array_equal(only(saved(tmp_path / "rgba", clear), 3, 1, 3)[:, 0] * 255, expected)
    palette = clear.convert("RGB").quantize(4)
    root = saved(tmp_path / "p", palette, transparency=bytes([0] * 4))
    assert np.array_equal(only(root, 1, 1, 3), np.ones((1, 1, 3)))
    la = Image.merge("LA", [Image.new("L", (2, 1), 40), Image.fromarray(np.array([[0, 255]], dtype=np.uint8))])
    assert np.array_equal(only(saved(tmp_path / "la", la), 1, 1, 2) * 255, [[[255, 40]]])


@pytest.mark.parametrize("size", [(9, 23), (23, 9), (16, 16), (8, 30), (31, 8), (5, 6), (8, 8)])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_the_shorter_side_is_resized_and_the_centre_cut_as_torchvision_does(
    tmp_path: Path, size: tuple[int, int], mode: str
) -> None:
    picture = Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).convert(mode)
    expected = functional.center_crop(functional.resize(picture, 8), [8, 8])
    pixels = only(saved(tmp_path, picture), len(mode), 8, 8)
    assert np.array_equal(pixels, functional.to_tensor(expected).numpy())


@pytest.mark.parametrize(("size", "between"), [((20, 60), (10, 30)), ((60, 20), (18, 6)), ((20, 12), (10, 6))])
def test_an_oblong_is_covered_and_cut(tmp_path: Path, size: tuple[int, int], between: tuple[int, int]) -> None:
    picture = Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8))
    resized = functional.resize(picture, list(between))
    expected = functional.to_tensor(functional.center_crop(resized, [10, 6])).numpy()
    assert np.array_equal(only(saved(tmp_path, picture), 1, 10, 6), expected)


def test_resizing_is_antialiased(tmp_path: Path) -> None:
    stripes = np.zeros((64, 64), dtype=np.uint8)
    stripes[:, ::2] = 255
    pixels = only(saved(tmp_path, Image.fromarray(stripes)), 1, 8, 8)
    assert np.allclose(pixels, 0.5, atol=0.02)


def test_every_filter_and_no_crop(tmp_path: Path) -> None:
    picture = Image.fromarray(rng.integers(0, 256, (20, 30), dtype=np.uint8))
    root = saved(tmp_path, picture)
    names: Iterable[str] = (name for name in get_args(Resize) if name != "none")
    for name in names:
        resample = Image.Resampling[name.upper()]
        expected = np.asarray(picture.resize((5, 8), resample)) / np.float32(255)
        assert np.array_equal(only(root, 1, 8, 5, resize=name, crop="none")[0], expected)


def test_without_resizing_the_size_must_be_right(tmp_path: Path) -> None:
    saved(tmp_path, Image.new("L", (6, 4)))
    assert float(only(tmp_path, 1, 4, 6, resize="none").max()) == 0
    with pytest.raises(
        DatasetError, match=r"a\.png' is 4x6, its data set is 6x4\. Give the size and resize='bilinear'"
    ):
        only(tmp_path, 1, 6, 4, resize="none")


def test_the_first_image_gives_the_size(tmp_path: Path) -> None:
    for mode, channels in (("1", 1), ("L", 1), ("LA", 1), ("I;16", 1), ("RGB", 3), ("RGBA", 3), ("P", 3)):
        root = saved(tmp_path / mode.replace(";", ""), Image.new(mode, (7, 5)))
        assert FolderDataset("d", root).image == ImageSpec(channels, 5, 7)


@pytest.mark.parametrize(
    ("content", "name"), [(b"", "a.png"), (b"no image", "a.jpg"), (b"\x89PNG\r\n\x1a\n" + b"x" * 40, "a.png")]
)
def test_a_broken_file_is_named(tmp_path: Path, content: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=rf"cannot read the image '.*{name}': .*Error.*Repair it or remove it"):
        FolderDataset("d", tmp_path, image=GREY).read("test", [0])
    with pytest.raises(DatasetError, match=rf"cannot read the image '.*{name}'"):
        FolderDataset("d", tmp_path)


@pytest.mark.parametrize("ending", ["png", "jpg", "tif", "bmp", "gif", "webp"])
def test_a_file_cut_short_is_named(tmp_path: Path, ending: str) -> None:
    picture = Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8))
    file = saved(tmp_path, picture, f"a.{ending}") / f"a.{ending}"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(DatasetError, match=rf"cannot read the image '.*a\.{ending}'"):
        FolderDataset("d", tmp_path, image=GREY).read("test", [0])


def test_a_file_that_went_away_is_named(tmp_path: Path) -> None:
    file = saved(tmp_path, Image.new("L", (4, 4))) / "a.png"
    data = FolderDataset("d", tmp_path, image=GREY)
    file.unlink()
    with pytest.raises(DatasetError, match=r"cannot read the image '.*a\.png': FileNotFoundError"):
        data.read("test", [0])


@pytest.mark.parametrize(("mode", "name"), [("F", "a.tif"), ("I", "a.tif")])
def test_pixels_of_unknown_range_are_refused(tmp_path: Path, mode: str, name: str) -> None:
    root = saved(tmp_path, Image.new(mode, (4, 4)), name)
    with pytest.raises(DatasetError, match=rf"a\.tif' has pixels of mode {mode} \(32 bits\), whose range is unknown"):
        FolderDataset("d", root, image=GREY).read("test", [0])


@pytest.mark.parametrize("resize", get_args(Resize))
def test_another_shape_is_made_from_the_files(tmp_path: Path, resize: Resize) -> None:
    root = saved(tmp_path, Image.fromarray(rng.integers(0, 256, (12, 9, 3), dtype=np.uint8)))
    data = FolderDataset("d", root, resize=resize)
    small = data.at(GREY)
    assert (small.name, small.image, data.name, data.image) == ("d@1x4x4", GREY, "d", ImageSpec(3, 12, 9))
    rule: Resize = "bilinear" if resize == "none" else resize
    same = FolderDataset("d", root, image=GREY, resize=rule)
    assert np.array_equal(small.read("test", [0])[0], same.read("test", [0])[0])
    assert small.fingerprint("test") == same.fingerprint("test") != data.fingerprint("test")
