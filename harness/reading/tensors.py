"""Tensors that torch has pickled: views of storages, built where they lie within the bytes that are there."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from preimage.harness.reading.bounds import Budget, Unreadable, damaged, natural, told
from preimage.harness.reading.calling import Build, Known

STORED = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
    "UntypedStorage": torch.uint8,
}
DTYPES = {
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.uint16, torch.uint32, torch.uint64),
    *(torch.bool, torch.complex64, torch.complex128),
}
MOST_AXES = 64


@dataclass(frozen=True)
class StorageType:
    """A class of storages, by the type of its numbers."""

    dtype: torch.dtype


@dataclass(frozen=True, eq=False)
class Storage:
    """The numbers that tensors are views of, [n]."""

    numbers: Tensor


def allocated(kind: StorageType, count: int, held: int, budget: Budget) -> Storage:
    """Room for numbers that a file declares. held: bytes that it has left for them. Raises Unreadable for more."""
    size = count * kind.dtype.itemsize
    if size > held:
        raise Unreadable(f"a storage of it declares {size} bytes, and there are {held}: it is truncated or damaged")
    budget.take(size)
    return Storage(torch.empty(count, dtype=kind.dtype))


def raw_bytes(storage: Storage) -> memoryview:
    """The bytes of a storage, to be written."""
    return storage.numbers.view(torch.uint8).numpy().data


def rebuild_tensor(args: tuple[object, ...], _: Budget) -> Tensor:
    """torch._utils._rebuild_tensor and its later versions (storage, offset, sizes, strides, ...): a view.

    Raises Unreadable where the view leaves its storage, or has more numbers than that.
    """
    match args:
        case (Storage() as storage, int(offset), tuple(sizes), tuple(strides), *_):
            return _view(storage.numbers, offset, sizes, strides)
        case _:
            raise damaged("a tensor of it is built of something else than a storage, a shape and strides")


def rebuild_typed(args: tuple[object, ...], budget: Budget) -> Tensor:
    """torch._utils._rebuild_tensor_v3: (storage of bytes, offset, sizes, strides, grad, hooks, dtype, ...)."""
    match args:
        case (Storage() as storage, int(), tuple(), tuple(), _, _, torch.dtype() as dtype, *_):
            whole = storage.numbers.view(torch.uint8)
            numbers = whole[: len(whole) // dtype.itemsize * dtype.itemsize].view(dtype)
            return rebuild_tensor((Storage(numbers), *args[1:]), budget)
        case _:
            raise damaged("a tensor of it is built of something else than a storage, a shape, strides and a dtype")


def _view(numbers: Tensor, offset: int, sizes: tuple[object, ...], strides: tuple[object, ...]) -> Tensor:
    shape = tuple(size for size in sizes if natural(size))
    steps = tuple(step for step in strides if natural(step))
    whole = natural(offset) and len(shape) == len(sizes) == len(steps) == len(strides) <= MOST_AXES
    if not whole or math.prod(max(1, size) for size in shape) >= 1 << 60:
        raise damaged(f"a tensor of it has the shape {told(sizes)}, the strides {told(strides)}, offset {told(offset)}")
    last = offset + sum((size - 1) * step for size, step in zip(shape, steps, strict=True))
    if 0 not in shape and (last >= len(numbers) or math.prod(shape) > len(numbers)):
        raise damaged(f"a tensor of it has the shape {told(sizes)} and a storage of {len(numbers)} numbers")
    return numbers.new_empty(shape) if 0 in shape else numbers.as_strided(shape, steps, offset)


def parameter(args: tuple[object, ...], _: Budget) -> Tensor:
    """torch._utils._rebuild_parameter(data, requires_grad, hooks): its data."""
    match args:
        case (Tensor() as data, *_):
            return data
        case _:
            raise damaged("a parameter of it is no tensor")


def with_attributes(args: tuple[object, ...], budget: Budget) -> Tensor:
    """torch._tensor._rebuild_from_type_v2(function, type, arguments, attributes): the tensor without attributes."""
    match args:
        case (Known() as function, _, tuple(inner), *_):
            return parameter((function.build(inner, budget),), budget)
        case _:
            raise damaged("a tensor of it is built by something that builds no tensors")


def size(args: tuple[object, ...], _: Budget) -> tuple[object, ...]:
    """torch.Size(sizes): a tuple."""
    match args:
        case (tuple(sizes),):
            return sizes
        case _:
            raise damaged("a torch.Size of it is none")


def device(args: tuple[object, ...], _: Budget) -> str:
    """torch.device(kind, index): its name."""
    return ":".join(str(part)[:20] for part in args if isinstance(part, str | int) and told(part))


_BUILDS: dict[str, Build] = {
    "_rebuild_tensor": rebuild_tensor,
    "_rebuild_tensor_v2": rebuild_tensor,
    "_rebuild_tensor_v3": rebuild_typed,
    "_rebuild_parameter": parameter,
    "_rebuild_parameter_with_state": parameter,
}
TENSORS: dict[tuple[str, str], object] = {
    **{("torch._utils", name): Known(f"torch._utils.{name}", build) for name, build in _BUILDS.items()},
    ("torch._tensor", "_rebuild_from_type_v2"): Known("torch._tensor._rebuild_from_type_v2", with_attributes),
    ("torch", "Size"): Known("torch.Size", size),
    ("torch", "device"): Known("torch.device", device),
    **{("torch", str(dtype).removeprefix("torch.")): dtype for dtype in DTYPES},
    **{
        (module, name): StorageType(dtype)
        for module in ("torch", "torch.cuda", "torch.storage")
        for name, dtype in STORED.items()
    },
}
"""What pickled tensors refer to."""
