"""Make `fashion-mnist.npz`, the part of Fashion-MNIST that ships with the project, from the original idx files.

    python -m preimage.adapters.fashion_mnist.make --source /usr/share/datasets/fashion-mnist --out fashion-mnist.npz

The original order is kept out of the way by one seeded permutation per split; the file holds the first 8,192
training and the first 1,024 test images after it, and for each its index in the original, so the choice can be
checked without the generator that drew it. The same input gives the same bytes: entries are in a fixed order with a
fixed time stamp.

Data: Xiao, Rasul and Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms",
2017 (MIT).
"""

from __future__ import annotations

import argparse
import gzip
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from preimage.harness.errors import DatasetError

SEED = 1708
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip entry can bear
IDX_UINT8 = 0x08  # the idx type code of unsigned bytes


class Split(NamedTuple):
    """How one split is cut: the stem of its idx files and how many images are kept."""

    name: str
    stem: str
    keep: int


SPLITS = (Split("train", "train", 8192), Split("test", "t10k", 1024))


def read_idx(path: Path) -> NDArray[np.uint8]:
    """The array in a gzipped idx file of unsigned bytes (the format of LeCun's MNIST page).

    Raises DatasetError if the file is of another type or shorter than its header says.
    """
    with gzip.open(path, "rb") as file:
        blob = file.read()
    if blob[:2] != b"\x00\x00" or blob[2] != IDX_UINT8:
        raise DatasetError(f"{path} is no idx file of unsigned bytes: it starts with {blob[:4].hex()}")
    rank = blob[3]
    shape = tuple(int(n) for n in np.frombuffer(blob, dtype=">u4", count=rank, offset=4))
    values = np.frombuffer(blob, dtype=np.uint8, offset=4 + 4 * rank)
    if values.size != np.prod(shape):
        raise DatasetError(f"{path} holds {values.size} bytes, its header announces {shape}")
    return values.reshape(shape)


def cut(source: Path, split: Split) -> dict[str, NDArray[np.generic]]:
    """Images uint8 [n, 28, 28], labels uint8 [n] and original indices int32 [n] of one split, in stored order."""
    images = read_idx(source / f"{split.stem}-images-idx3-ubyte.gz")
    labels = read_idx(source / f"{split.stem}-labels-idx1-ubyte.gz")
    kept = np.random.default_rng([SEED, len(images)]).permutation(len(images))[: split.keep]
    return {
        f"{split.name}_images": images[kept],
        f"{split.name}_labels": labels[kept],
        f"{split.name}_indices": kept.astype(np.int32),
    }


def write_npz(path: Path, arrays: Mapping[str, NDArray[np.generic]]) -> None:
    """A compressed .npz whose bytes depend on the arrays alone (numpy's own writer stamps the time)."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # unix, wherever it is made
            entry.external_attr = 0o644 << 16
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(entry, buffer.getvalue(), compresslevel=9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True, help="folder with the four original *-ubyte.gz files")
    parser.add_argument("--out", type=Path, required=True, help="the .npz to write")
    options = parser.parse_args()
    arrays: dict[str, NDArray[np.generic]] = {}
    for split in SPLITS:
        arrays |= cut(options.source, split)
    write_npz(options.out, arrays)
    print(f"{options.out}: {options.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
