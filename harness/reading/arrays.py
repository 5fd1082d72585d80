"""Numbers that numpy has pickled, built from their bytes: real, whole, complex or true and false, never objects."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from preimage.harness.reading.bounds import Budget, Unreadable, damaged, natural, told
from preimage.harness.reading.calling import Known

KINDS = {"b1", *(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)), "f2", "f4", "f8", "c8", "c16"}
MOST_AXES = 32


@dataclass(eq=False)
class NumberType:
    """A numpy.dtype of plain numbers. order: of their bytes."""

    kind: str
    order: str = "="

    def fill(self, state: object) -> None:
        """Take the byte order of a pickled state. Raises Unreadable for fields and the like."""
        match state:
            case (int(), "<" | ">" | "=" | "|" as order, None, None, None, *_):
                self.order = order
            case _:
                raise damaged(f"its numpy.dtype {self.kind} has fields, or a state that is none")

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """As numpy has it."""
        return np.dtype(f"{self.order}{self.kind}")


def number_type(args: tuple[object, ...], _: Budget) -> NumberType:
    """numpy.dtype(kind, align, copy). Raises Unreadable for objects, texts and whatever else is no number."""
    match args:
        case (str(kind), *_) if kind.lstrip("<>=|") in KINDS:
            return NumberType(kind.lstrip("<>=|"), kind[0] if kind[0] in "<>" else "=")
        case (NumberType() as other, *_):
            return NumberType(other.kind, other.order)
        case _:
            raise Unreadable(f"it holds values of numpy.dtype {told(args[0] if args else None)}, not plain numbers")


def scalar(args: tuple[object, ...], budget: Budget) -> object:
    """numpy.core.multiarray.scalar(dtype, bytes), as a number of Python. Raises Unreadable where they do not fit."""
    match args:
        case (NumberType() as kind, bytes(raw)) if len(raw) == kind.dtype.itemsize:
            budget.take(len(raw))
            return np.frombuffer(raw, kind.dtype)[0].item()
        case _:
            raise damaged("its numpy scalar has other bytes than its dtype")


def empty_array(args: tuple[object, ...], _: Budget) -> NDArray[np.generic]:
    """numpy.core.multiarray._reconstruct(type, shape, dtype): an array that its state fills."""
    return np.empty(0, np.uint8)


def fill_array(target: NDArray[np.generic], state: object, budget: Budget) -> None:
    """Give an array the shape, dtype and bytes of its pickled state. Raises Unreadable where they do not fit."""
    match state:
        case (1 as version, tuple(shape), NumberType() as kind, bool() | int() as fortran, bytes(raw)):
            sizes = _fits(shape, kind.dtype.itemsize, len(raw))
            budget.take(len(raw))
            target.__setstate__((version, sizes, kind.dtype, bool(fortran), raw))  # type: ignore[arg-type]  # a plain bool
        case _:
            raise damaged("its numpy array has a state that is none, or holds objects")


def array_of_dill(args: tuple[object, ...], budget: Budget) -> NDArray[np.generic]:
    """dill._dill._create_array(function, arguments, state, attributes). Raises Unreadable where they do not fit."""
    match args:
        case (Known(), tuple(), state, *_):
            target = np.empty(0, np.uint8)
            fill_array(target, state, budget)
            return target
        case _:
            raise damaged("its numpy array is made by something that makes no arrays")


def array_of_buffer(args: tuple[object, ...], budget: Budget) -> NDArray[np.generic]:
    """numpy._core.numeric._frombuffer(buffer, dtype, shape, order). Raises Unreadable where they do not fit."""
    match args:
        case (bytes() | bytearray() as raw, NumberType() as kind, tuple(shape), "C" | "F" as order, *_):
            sizes = _fits(shape, kind.dtype.itemsize, len(raw))
            budget.take(len(raw))
            numbers = np.frombuffer(raw, kind.dtype)
            return np.array(numbers.reshape(sizes, order="C" if order == "C" else "F"))
        case _:
            raise damaged("its numpy array has a buffer that is none")


def latin_bytes(args: tuple[object, ...], budget: Budget) -> bytes:
    """_codecs.encode(text, "latin1"), as protocols up to 2 write bytes. Raises Unreadable for any other call."""
    match args:
        case (str(text), "latin1" | "latin-1"):
            budget.take(len(text))
            return text.encode("latin1")  # a letter that is none of it: a ValueError, as of any damaged pickle
        case _:
            raise damaged("its pickle encodes a text as something else than bytes")


def _fits(shape: tuple[object, ...], itemsize: int, given: int) -> tuple[int, ...]:
    """The shape, where so many bytes have it."""
    sizes = tuple(size for size in shape if natural(size))
    count = math.prod(sizes) if len(sizes) == len(shape) <= MOST_AXES else -1
    if count * itemsize != given or math.prod(max(1, size) for size in sizes) >= 1 << 60:
        raise damaged(f"its numpy array has the shape {told(shape)} and {given} bytes")
    return sizes


NUMPY = {
    ("numpy", "dtype"): Known("numpy.dtype", number_type),
    ("numpy", "ndarray"): Known("numpy.ndarray", empty_array),
    ("dill._dill", "_create_array"): Known("dill._dill._create_array", array_of_dill),
    ("_codecs", "encode"): Known("_codecs.encode", latin_bytes),
    **{
        (f"numpy.{core}.{module}", name): Known(f"numpy.{name}", build)
        for core in ("core", "_core")
        for module, name, build in (
            ("multiarray", "scalar", scalar),
            ("multiarray", "_reconstruct", empty_array),
            ("numeric", "_frombuffer", array_of_buffer),
        )
    },
}
"""What the pickles of numpy refer to."""
