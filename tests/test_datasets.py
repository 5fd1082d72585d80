"""Data sets from arrays, and the rules that every data set keeps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from preimage.harness import ArrayDataset, Dataset, DatasetCard, ImageSpec
from preimage.harness.datasets import check_pixels, known_indices, to_float
from preimage.harness.errors import DatasetError

FLOATS = np.random.default_rng(0).random((5, 3, 4, 6), dtype=np.float32)
BYTES = np.random.default_rng(1).integers(0, 256, (5, 3, 4, 6), dtype=np.uint8)
LABELS = np.array([2, 0, 1, 0, 2], dtype=np.uint8)


def one(images: Any = FLOATS, labels: Any = LABELS, **options: Any) -> ArrayDataset:
    return ArrayDataset("d", {"test": (images, labels)}, **options)


def test_arrays_make_a_data_set() -> None:
    data = ArrayDataset("d", {"train": (FLOATS, LABELS), "test": (BYTES[:2], None)})
    assert isinstance(data, Dataset)
    assert (data.name, data.image, data.num_classes) == ("d", ImageSpec(3, 4, 6), 3)
    assert tuple(data.splits) == ("train", "test")
    assert (data.size("train"), data.size("test")) == (5, 2)
    images, labels = data.read("train", [4, 0, 4])
    assert images.dtype == torch.float32
    assert np.array_equal(images.numpy(), FLOATS[[4, 0, 4]])
    assert labels.tolist() == [2, 2, 2]
    assert labels.dtype == torch.int64
    assert data.read("test", [1])[1].tolist() == [-1]


def test_bytes_become_levels_between_0_and_1() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    assert np.array_equal(one(levels, None).read("test", [0])[0].numpy(), levels.astype(np.float32) / np.float32(255))


@given(st.lists(st.integers(0, 4), max_size=8))
@settings(deadline=None, max_examples=30)
def test_reading_together_is_reading_alone(indices: list[int]) -> None:
    data = one(BYTES)
    images, labels = data.read("test", indices)
    assert images.shape == (len(indices), 3, 4, 6)
    assert labels.shape == (len(indices),)
    for k, index in enumerate(indices):
        assert torch.equal(images[k], data.read("test", [index])[0][0])
        assert labels[k] == LABELS[index]


def test_one_channel_may_go_without_saying() -> None:
    assert one(FLOATS[:, 0]).image == ImageSpec(1, 4, 6)
    assert np.array_equal(one(FLOATS[:, 0]).read("test", [3])[0][0, 0].numpy(), FLOATS[3, 0])


def test_reading_does_not_hand_out_the_array_itself() -> None:
    data = one(FLOATS.copy())
    data.read("test", [0])[0].zero_()
    assert np.array_equal(data.read("test", [0])[0][0].numpy(), FLOATS[0])


def test_val_is_test_where_there_is_none() -> None:
    both = ArrayDataset("d", {"test": (FLOATS[:2], None), "val": (FLOATS[:3], None)})
    assert both.size("val") == 3
    data = one()
    assert data.size("val") == 5
    assert data.fingerprint("val") == data.fingerprint("test")
    assert torch.equal(data.read("val", [1])[0], data.read("test", [1])[0])


@pytest.mark.parametrize("ask", [lambda d, s: d.size(s), lambda d, s: d.fingerprint(s), lambda d, s: d.read(s, [0])])
def test_an_unknown_split_lists_those_there_are(ask: Any) -> None:
    with pytest.raises(DatasetError, match="data set 'd' has no split 'train'; it has test"):
        ask(one(), "train")
    with pytest.raises(DatasetError, match="no split 'val'; it has train"):
        ask(ArrayDataset("d", {"train": (FLOATS, None)}), "val")


@pytest.mark.parametrize(("indices", "culprit"), [([0, 5], 5), ([-1, 3], -1), ([4, 99, 7], 99)])
def test_an_index_outside_the_split_is_named(indices: list[int], culprit: int) -> None:
    with pytest.raises(DatasetError, match=f"data set 'd', split 'test': image {culprit} asked, it has 5"):
        one().read("test", indices)


def test_no_index_at_all_reads_nothing() -> None:
    assert one().read("test", [])[0].shape == (0, 3, 4, 6)
    assert known_indices(one(), "test", []).dtype == np.int64


def test_an_empty_split_is_a_split() -> None:
    data = one(FLOATS[:0], LABELS[:0])
    assert data.size("test") == 0
    assert data.num_classes == 0
    assert len(data.fingerprint("test")) == 64


def test_a_data_set_without_splits() -> None:
    with pytest.raises(DatasetError, match=r"data set 'd' has no split; give at least \{'test': \(images, labels\)\}"):
        ArrayDataset("d", {})


@pytest.mark.parametrize("factor", [255.0, -1.0])
def test_another_range_is_told_how_to_mend_it(factor: float) -> None:
    with pytest.raises(DatasetError, match=r"d/test: pixels range over \[.*\]; images are in \[0, 1\]: divide"):
        one(FLOATS * factor)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_are_finite(value: float) -> None:
    images = FLOATS.copy()
    images[3, 1, 2, 2] = value
    with pytest.raises(DatasetError, match="d/test: some pixels are not finite"):
        one(images)


def test_the_ends_of_the_range_belong_to_it() -> None:
    assert one(np.array([[[0.0, 1.0]]]), None).read("test", [0])[0].flatten().tolist() == [0.0, 1.0]


@pytest.mark.parametrize("shape", [(5, 2, 4, 6), (5, 4, 6, 3), (5, 6), (5,), (5, 1, 3, 4, 6)])
def test_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(DatasetError, match=r"d/test: images have shape .*; give \[n, channels, height, width\]"):
        one(np.zeros(shape))


@pytest.mark.parametrize("dtype", [np.int64, np.bool_, np.complex64])
def test_another_type(dtype: Any) -> None:
    with pytest.raises(DatasetError, match=f"d/test: images are {np.dtype(dtype)}; give floats in .* or uint8"):
        one(FLOATS.astype(dtype))


def test_splits_have_images_of_one_shape() -> None:
    with pytest.raises(DatasetError, match=r"'d': its splits have images of different shapes: \[\(1,.*\(3, 4, 6\)\]"):
        ArrayDataset("d", {"train": (FLOATS, None), "test": (FLOATS[:, :1], None)})


@pytest.mark.parametrize("labels", [LABELS[:4], LABELS[:, None], LABELS.astype(float), LABELS > 0, ["a"] * 5])
def test_labels_are_whole_numbers_one_each(labels: Any) -> None:
    with pytest.raises(DatasetError, match=r"d/test: labels are .* of shape .*; give 5 whole numbers"):
        one(FLOATS, labels)


def test_labels_start_at_0() -> None:
    assert one(FLOATS, [-1, 0, 1, 2, 3]).num_classes == 4
    with pytest.raises(DatasetError, match="d/test: label -2 seen; labels are 0, 1, "):
        one(FLOATS, [-2, 0, 1, 2, 3])


def test_there_may_be_more_classes_than_labels_but_not_fewer() -> None:
    assert one(num_classes=10).num_classes == 10
    with pytest.raises(DatasetError, match="data set 'd': label 2 seen, but num_classes is 2"):
        one(num_classes=2)


def test_the_fingerprint_is_that_of_the_content() -> None:
    assert one().fingerprint("test") == ArrayDataset("e", {"train": (FLOATS.copy(), LABELS)}).fingerprint("train")
    pixel, label = FLOATS.copy(), LABELS.copy()
    pixel[4, 2, 3, 5] = 0.5
    label[4] = 0
    transposed = np.ascontiguousarray(FLOATS.transpose(0, 1, 3, 2))
    others = [
        one(pixel),
        one(FLOATS, label),
        one(FLOATS, None),
        one(FLOATS[::-1]),
        one(FLOATS[:4], LABELS[:4]),
        one(BYTES),
        one(transposed),
        one(FLOATS.reshape(5, 3, 6, 4)),
    ]
    assert len({data.fingerprint("test") for data in [one(), *others]}) == 9


def test_views_count_as_what_they_show() -> None:
    assert one(np.repeat(FLOATS, 2, axis=0)[::2]).fingerprint("test") == one().fingerprint("test")


def test_check_pixels_holds_images_against_their_data_set() -> None:
    good = torch.rand(2, 3, 4, 6)
    assert check_pixels(good, ImageSpec(3, 4, 6), "it") is good
    assert check_pixels(good[:0], ImageSpec(3, 4, 6), "it").shape[0] == 0
    with pytest.raises(DatasetError, match=r"it: images are \(3, 4, 6\) torch.float32; the data set says 3x6x4"):
        check_pixels(good, ImageSpec(3, 6, 4), "it")
    with pytest.raises(DatasetError, match=r"it: images are \(3, 4, 6\) torch.float64"):
        check_pixels(good.double(), ImageSpec(3, 4, 6), "it")


def test_to_float_keeps_floats() -> None:
    assert to_float(np.array([0.25], dtype=np.float64)).dtype == torch.float32
    assert float(to_float(np.array([0.25], dtype=np.float16))) == 0.25


def test_a_card_names_a_data_set_without_opening_it() -> None:
    opened: list[Dataset] = []

    def open_it() -> Dataset:
        opened.append(one())
        return opened[-1]

    card = DatasetCard("d", ImageSpec(3, 4, 6), 3, ("test",), open_it)
    assert not opened
    assert card.open().image == card.image
    assert len(opened) == 1
