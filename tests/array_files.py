"""Writes .npz and idx files for the tests of their readers."""

from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np

IDX_CODES = {"u1": 8, "i1": 9, ">i2": 11, ">i4": 12, ">f4": 13, ">f8": 14}


def npz(path: Path, *, packed: bool = False, **arrays: Any) -> Path:
    (np.savez_compressed if packed else np.savez)(path, **arrays)
    return path


def idx(path: Path, array: Any, dtype: str = "u1") -> Path:
    header = struct.pack(f">HBB{array.ndim}I", 0, IDX_CODES[dtype], array.ndim, *array.shape)
    blob = header + array.astype(dtype).tobytes()
    path.write_bytes(gzip.compress(blob) if path.suffix == ".gz" else blob)
    return path


def old(path: Path) -> Path:
    """The file, last modified long ago: hashes of fresh files are not remembered."""
    os.utime(path, (1e9, 1e9))
    return path
