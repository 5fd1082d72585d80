"""Arrays in files: mapped where they lie, decompressed once, and what each broken file is told."""

from __future__ import annotations

import gc
import gzip
import io
import struct
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from preimage.harness import Dataset
from preimage.harness.errors import DatasetError
from preimage.harness.readers import IdxDataset, NpzDataset
from preimage.harness.stored_arrays import idx_array, npz_arrays
from tests.array_files import idx, npz, old

rng = np.random.default_rng(5)
GREY = rng.integers(0, 256, (7, 5, 4), dtype=np.uint8)
LABELS = np.array([3, 1, 0, 2, 3, 1, 0], dtype=np.int32)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def everything(data: Dataset, split: str = "test") -> np.ndarray[Any, np.dtype[np.float32]]:
    return data.read(split, range(data.size(split)))[0].numpy()


def test_stored_arrays_are_mapped_where_they_lie(tmp_path: Path, cache: Path) -> None:
    data = NpzDataset("d", {"test": npz(tmp_path / "a.npz", pad=np.zeros(3, np.uint8), images=GREY)}, cache=cache)
    data.read("test", [0])
    opened = data._opened["test"]
    assert isinstance(opened, np.memmap)
    assert str(opened.filename).endswith("a.npz")
    assert not opened.flags.writeable
    assert not cache.exists()


def test_compressed_arrays_are_decompressed_once_and_when_read(tmp_path: Path, cache: Path) -> None:
    path = old(npz(tmp_path / "a.npz", packed=True, images=GREY, labels=LABELS))
    data = NpzDataset("d", {"test": path}, cache=cache)
    assert not cache.exists()
    assert np.array_equal(everything(data)[:, 0], GREY / np.float32(255))
    (file,) = (cache / "arrays").iterdir()
    assert file.read_bytes() == GREY.tobytes()
    written = file.stat().st_mtime_ns
    everything(NpzDataset("again", {"test": path}, cache=cache))
    assert [entry.stat().st_mtime_ns for entry in (cache / "arrays").iterdir()] == [written]


def test_a_cache_cut_short_is_written_again(tmp_path: Path, cache: Path) -> None:
    path = npz(tmp_path / "a.npz", packed=True, images=GREY)
    expected = everything(NpzDataset("d", {"test": path}, cache=cache))
    (file,) = (cache / "arrays").iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    assert np.array_equal(everything(NpzDataset("d", {"test": path}, cache=cache)), expected)


def test_a_changed_file_is_not_read_from_the_cache(tmp_path: Path, cache: Path) -> None:
    for images in (GREY, 255 - GREY):
        path = old(npz(tmp_path / "a.npz", packed=True, images=images))
        data = NpzDataset("d", {"test": path}, cache=cache)
        assert np.array_equal(everything(data)[:, 0], images / np.float32(255))


def test_many_readers_may_decompress_at_once(tmp_path: Path, cache: Path) -> None:
    path = npz(tmp_path / "a.npz", packed=True, images=GREY)
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(lambda _: everything(NpzDataset("d", {"test": path}, cache=cache)), range(8)))
    assert all(np.array_equal(images[:, 0], GREY / np.float32(255)) for images in read)
    assert len(list((cache / "arrays").iterdir())) == 1


def test_headers_parsed_in_many_threads_while_the_collector_runs(tmp_path: Path) -> None:
    """CPython 3.11's ast fails in one thread if the collector let another into it: then an .npz was not read."""
    path = npz(tmp_path / "a.npz", images=GREY)
    interval, threshold = sys.getswitchinterval(), gc.get_threshold()

    def give_way(*_: object) -> None:
        sum(range(50))  # bytecode, between which the interpreter changes threads

    gc.callbacks.append(give_way)
    try:
        sys.setswitchinterval(1e-6)
        gc.set_threshold(5)
        with ThreadPoolExecutor(8) as pool:
            read = list(pool.map(npz_arrays, [path] * 300))
    finally:
        gc.callbacks.remove(give_way)
        gc.set_threshold(*threshold)
        sys.setswitchinterval(interval)
    assert all(arrays["images"].shape == GREY.shape for arrays in read)


def member(path: Path, blob: bytes, name: str = "images.npy") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, blob)
    return path


def as_npy(array: Any, version: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, version=version)
    return buffer.getvalue()


def test_members_in_other_versions(tmp_path: Path) -> None:
    path = member(tmp_path / "a.npz", as_npy(GREY, (2, 0)))
    assert np.array_equal(everything(NpzDataset("d", {"test": path}))[:, 0], GREY / np.float32(255))
    with pytest.raises(DatasetError, match=r"is in version \(3, 0\) of the \.npy format; save it as a plain array"):
        NpzDataset("d", {"test": member(tmp_path / "a.npz", as_npy(GREY, (3, 0)))})


@pytest.mark.parametrize("blob", [b"PK\x05\x06", b"", b"no zip at all"])
def test_a_file_that_is_no_zip(tmp_path: Path, blob: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(blob)
    with pytest.raises(DatasetError, match=r"cannot read '.*a\.npz': "):
        NpzDataset("d", {"test": tmp_path / "a.npz"})


def test_a_member_that_is_no_array_or_not_all_of_it(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"cannot read '.*a\.npz': .*magic"):
        NpzDataset("d", {"test": member(tmp_path / "a.npz", b"x" * 200)})
    whole = as_npy(GREY, (1, 0))
    with pytest.raises(DatasetError, match=r"should hold 140 bytes .* of shape \(7, 5, 4\); it is cut short after 139"):
        NpzDataset("d", {"test": member(tmp_path / "a.npz", whole[:-1])})
    with pytest.raises(DatasetError, match="it holds more"):
        NpzDataset("d", {"test": member(tmp_path / "a.npz", whole + b"x")})


def test_compressed_bytes_that_rot(tmp_path: Path, cache: Path) -> None:
    path = npz(tmp_path / "a.npz", packed=True, images=rng.integers(0, 256, (9, 40, 40), dtype=np.uint8))
    blob = bytearray(path.read_bytes())
    blob[len(blob) // 2] ^= 0xFF
    path.write_bytes(blob)
    data = NpzDataset("d", {"test": path}, cache=cache)
    with pytest.raises(DatasetError, match=r"cannot read '.*a\.npz', array 'images\.npy': "):
        data.read("test", [0])
    assert list((cache / "arrays").iterdir()) == []


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be")
    data = NpzDataset("d", {"test": npz(tmp_path / "a.npz", packed=True, images=GREY)}, cache=tmp_path / "cache")
    with pytest.raises(DatasetError, match=r"is compressed; its 140 bytes cannot be written into .*cache=\.\.\."):
        data.read("test", [0])


def test_a_gigabyte_is_read_without_being_loaded(tmp_path: Path, cache: Path) -> None:
    images = tmp_path / "sparse"
    with images.open("wb") as file:  # a hole: it takes no room on disk
        file.write(struct.pack(">HBB3I", 0, 8, 3, 2**20, 32, 32))
        file.seek(16 + 2**30 - 1)
        file.write(b"\xff")
    last, _ = IdxDataset("d", {"test": (images, None)}, cache=cache).read("test", [2**20 - 1])
    assert float(last[0, 0, 31, 31]) == 1.0
    assert float(last.sum()) == 1.0


def test_the_header_says_what_an_array_is(tmp_path: Path) -> None:
    arrays = npz_arrays(npz(tmp_path / "a.npz", images=np.asfortranarray(GREY), labels=LABELS))
    assert list(arrays) == ["images", "labels"]
    assert (arrays["images"].shape, arrays["images"].nbytes) == ((7, 5, 4), 140)
    assert arrays["images"].dtype == np.uint8
    assert arrays["images"].fortran
    assert np.array_equal(arrays["labels"].load(), LABELS)
    assert np.array_equal(arrays["images"].load(), GREY)


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("dtype", ["u1", "i1", ">i2", ">i4", ">f4", ">f8"])
def test_every_type_of_idx_is_read(tmp_path: Path, cache: Path, ending: str, dtype: str) -> None:
    values = np.arange(24).reshape(2, 3, 4)
    array = idx_array(idx(tmp_path / f"a{ending}", values, dtype))
    assert (array.shape, array.compressed) == ((2, 3, 4), ending == ".gz")
    assert np.array_equal(array.load(), values)
    assert np.array_equal(array.open(cache), values)
    assert array.open(cache).dtype == np.dtype(dtype)


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize(
    "blob", [b"", b"\0\0\x08", b"\x89PNG....", b"\0\0\x07\x03....", b"\0\0\x08\0", b"\0\1\x08\3...."]
)
def test_a_file_that_is_no_idx(tmp_path: Path, ending: str, blob: bytes) -> None:
    path = tmp_path / f"a{ending}"
    path.write_bytes(gzip.compress(blob) if ending else blob)
    with pytest.raises(DatasetError) as caught:
        idx_array(path)
    assert f"is no idx file: it starts with {blob[:4].hex() or 'nothing'}; an idx file starts with" in str(caught.value)


def test_a_header_that_ends_too_soon(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\0\0\x08\x03\0\0\0\1\0\0")
    with pytest.raises(DatasetError, match=r"ends within its header. Fetch the file again"):
        idx_array(tmp_path / "a")


@pytest.mark.parametrize(
    ("change", "said"), [(lambda b: b[:-1], "it is cut short after 139"), (lambda b: b + b"x", "it holds more")]
)
def test_values_missing_or_over(tmp_path: Path, cache: Path, change: Any, said: str) -> None:
    blob = idx(tmp_path / "whole", GREY).read_bytes()
    (tmp_path / "plain").write_bytes(change(blob))
    with pytest.raises(DatasetError, match=rf"plain' should hold 140 bytes for an array of shape \(7, 5, 4\); {said}"):
        idx_array(tmp_path / "plain")
    (tmp_path / "packed").write_bytes(gzip.compress(change(blob)))
    packed = idx_array(tmp_path / "packed")
    for read in (packed.load, lambda: packed.open(cache)):
        with pytest.raises(DatasetError, match=rf"packed' should hold 140 bytes .*; {said}"):
            read()
    assert list((cache / "arrays").iterdir()) == []


def test_a_gzip_cut_short(tmp_path: Path, cache: Path) -> None:
    path = idx(tmp_path / "a.gz", rng.integers(0, 256, (9, 40, 40)))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(DatasetError, match=r"cannot read '.*a\.gz': .*end-of-stream"):
        idx_array(path).open(cache)


def test_a_missing_file(tmp_path: Path) -> None:
    for read in (idx_array, npz_arrays):
        with pytest.raises(DatasetError, match=r"cannot read '.*none': .*No such file"):
            read(tmp_path / "none")


def test_a_file_that_shrank_since_it_was_opened(tmp_path: Path, cache: Path) -> None:
    path = idx(tmp_path / "a", GREY)
    array = idx_array(path)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DatasetError, match=r"cannot read '.*a': mmap length"):
        array.open(cache)
