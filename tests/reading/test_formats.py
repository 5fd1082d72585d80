"""What a file is, by its bytes: pages, pointers, archives and damaged files get an error that says so."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

from preimage.harness.checkpoints import held_in, read_tensors
from preimage.harness.errors import WeightsError

from .conftest import Reading
from .watch import nothing_runs
from .written import Call, Global, Instance, legacy, pickled, snapshot

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 246000000\n"


def tar() -> bytes:
    """A tar archive with one file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        file.addfile(tarfile.TarInfo("G.pkl"))
    return buffer.getvalue()


def npy() -> bytes:
    """An array of objects, which numpy reads by unpickling."""
    buffer = io.BytesIO()
    np.save(buffer, np.array([print], dtype=object), allow_pickle=True)
    return buffer.getvalue()


KINDS: dict[str, tuple[bytes, str]] = {
    "a page": (b"<!DOCTYPE html><html><title>Google Drive</title>", "a page of HTML, not the file: .* Fetch it again"),
    "a page after spaces": (b"\xef\xbb\xbf\r\n  <HTML lang=en>", "a page of HTML"),
    "an error of a bucket": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "a page of HTML"),
    "a pointer": (POINTER, "a Git LFS pointer: a text that stands for the file. Type `git lfs pull`"),
    "empty": (b"", "it is empty. Fetch it again"),
    "gzip": (gzip.compress(pickled([1])), "compressed by gzip. Unpack it, and give the file inside"),
    "bzip2": (bz2.compress(pickled([1])), "compressed by bzip2. Unpack it"),
    "xz": (lzma.compress(pickled([1])), "compressed by xz. Unpack it"),
    "zstd": (b"\x28\xb5\x2f\xfd00", "compressed by zstd"),
    "7z": (b"7z\xbc\xaf\x27\x1c00", "a 7z archive"),
    "rar": (b"Rar!\x1a\x07", "a rar archive"),
    "tar": (tar(), "a tar archive"),
    "keras": (b"\x89HDF\r\n\x1a\n0000", "an HDF5 file, as Keras writes. Save its weights as a .safetensors file"),
    "npy": (npy(), "one numpy array, without names"),
    "png": (b"\x89PNG\r\n\x1a\n", "it is an image"),
    "jpeg": (b"\xff\xd8\xff\xe0", "it is an image"),
    "pdf": (b"%PDF-1.7", "a PDF document"),
    "settings": (b'{"z_dim": 512}', r"a text of settings \(JSON\), not the weights beside it"),
    "text": (b"hello", "it is no file of weights: neither .safetensors, nor of torch.save, nor any other pickle"),
    "zeros": (bytes(4096), "it is no file of weights"),
    "TensorFlow": (
        pickled(tuple(Instance(Global("dnnlib.tflib.network", "Network"), (), {"version": 4}) for _ in range(3)), 3),
        "a TensorFlow-era pickle: it holds dnnlib.tflib.network.Network. Convert it with `legacy.py` of NVlabs",
    ),
    "a cut snapshot": (pickled(snapshot())[:-1], "it is truncated: it ends after [0-9]+ bytes.* Fetch it again"),
    "a cut file of torch": (legacy([1])[:-3], "it is truncated"),
    "a damaged file of torch": (legacy([1]).replace(b"M\xe9\x03", b"M\xe8\x03", 1), "begins like a file of torch"),
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("suffix", [".pkl", ".pth", ".safetensors"])
def test_other_files_are_told(name: str, suffix: str, tmp_path: Path, refused: Reading) -> None:
    content, said = KINDS[name]
    path = tmp_path / f"file{suffix}"
    path.write_bytes(content)
    words = refused(path)
    if suffix == ".safetensors" and name in ("text", "zeros", "settings"):
        said = "it is no .safetensors file, whatever its name says|SafetensorError"
    with pytest.raises(WeightsError, match=said):
        held_in(path)
    assert words.endswith("Give a .safetensors file, or a .pth file that holds tensors alone")


def test_a_missing_file_and_a_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"cannot read the weights '.*absent.pkl': FileNotFoundError"):
        held_in(tmp_path / "absent.pkl")
    with pytest.raises(WeightsError, match=r"cannot read the weights '.*': IsADirectoryError"):
        held_in(tmp_path)


@pytest.mark.parametrize("suffix", [".pkl", ".pth", ".safetensors", ".bin", ""])
def test_names_are_no_matter(suffix: str, tmp_path: Path) -> None:
    path, table = tmp_path / f"file{suffix}", {"a": torch.arange(3.0)}
    path.write_bytes(save(table))
    assert torch.equal(read_tensors(path)["a"], table["a"])
    for zipped in (True, False):
        torch.save(table, path, _use_new_zipfile_serialization=zipped)
        assert torch.equal(read_tensors(path)["a"], table["a"])


def lying(header: dict[str, object] | bytes, data: bytes = bytes(8), length: int | None = None) -> bytes:
    """A .safetensors file with any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(shape: list[int], end: int, dtype: str = "F32", start: int = 0) -> dict[str, object]:
    """What a header says of a tensor."""
    return {"a": {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}}


@pytest.mark.parametrize(
    "content",
    [
        lying(entry([1 << 30], 8)),
        lying(entry([1 << 30], 1 << 32)),
        lying(entry([1 << 62, 1 << 62], 8)),
        lying(entry([2], 8), b""),
        lying(entry([2], 8, start=-8)),
        lying(entry([2], 8, dtype="O")),
        lying(entry([2], 8), length=1 << 40),
        lying(entry([2], 8), length=(1 << 64) - 1),
        lying(entry([2], 8), length=3),
        lying(b"{" * 100_000),
        lying({"__metadata__": {"a": ["os.system"]}, **entry([2], 8)}),
        lying({"a": entry([2], 8)["a"], "b": entry([2], 8)["a"]}),
    ],
)
def test_headers_that_lie_are_refused(content: bytes, tmp_path: Path, canary: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with nothing_runs(canary), pytest.raises(WeightsError, match=r"SafetensorError|whatever its name says"):
        held_in(path)
    path = path.rename(tmp_path / "a.pkl")
    with nothing_runs(canary), pytest.raises(WeightsError, match="cannot read the weights"):
        held_in(path)


def test_tables_of_something_else_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(pickled({"a": Instance(Global("somebody.program", "Thing"), (), {}), 3: torch.ones(1)}))
    with pytest.raises(WeightsError, match="hold dict, not a table of tensors by name"):
        read_tensors(path)
    path.write_bytes(pickled({"a": Call(Global("collections", "Counter"), ({"x": 2},)), "b": torch.ones(1)}))
    assert list(read_tensors(path)) == ["b"]
