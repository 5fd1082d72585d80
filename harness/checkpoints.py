"""Reading checkpoints as data, whoever wrote them: .safetensors, files of torch.save, snapshots of NVIDIA's training.

None of their code is run, nothing is imported for them, and their sizes are checked before memory is taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from preimage.harness.errors import WeightsError
from preimage.harness.limits import readable
from preimage.harness.reading.bounds import Budget, Damaged, ReadingLimits, Stream, Unreadable, shown
from preimage.harness.reading.formats import HEAD, Format, format_of
from preimage.harness.reading.inert import InertGlobal, InertObject
from preimage.harness.reading.networks import NetworkRecord, the_network
from preimage.harness.reading.snapshots import snapshot
from preimage.harness.reading.torch_files import legacy, zipped

ADVICE = "Give a .safetensors file, or a .pth file that holds tensors alone"
LIMITS = ReadingLimits()


def held_in(path: Path, limits: ReadingLimits = LIMITS) -> object:
    """What the file holds, on the CPU: tensors, containers, numbers, texts, `NetworkRecord`s, inert records.

    Raises WeightsError that says what the file is where it is none of the readable formats, is damaged or truncated,
    unfolds into more than the limits, or has something called: the error then names the global.
    """
    try:
        return _held(path, limits)
    except Unreadable as error:
        raise _unreadable(path, error.reason, error.advice) from error
    except Exception as error:  # a file that is missing; what nobody foresaw in one that a stranger wrote
        said = shown(str(error).strip().split("\n")[0], 300).rstrip(".")
        raise _unreadable(path, f"{type(error).__name__}{said and ': '}{said}", "") from error


def _held(path: Path, limits: ReadingLimits) -> object:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        if size > limits.file:
            raise Unreadable(f"it has {readable(size)}, and files of at most {readable(limits.file)} are read")
        file.seek(0)
        kind = format_of(file.read(HEAD), size, path.suffix)
        file.seek(0)
        stream, budget = Stream(file, size), Budget(size, limits)
        match kind:
            case Format.SAFETENSORS:
                return load_file(path)
            case Format.ZIP:
                held = zipped(file, size, budget)
            case Format.LEGACY:
                held = legacy(stream, budget)
            case Format.PICKLE:
                held = snapshot(stream, budget)
            case Format.TEXT_PICKLE:
                held = _perhaps_a_pickle(stream, budget)
    if isinstance(held, InertObject | InertGlobal):
        raise Unreadable(f"it holds {held}, a class of somebody's program, and no data")
    return held


def _perhaps_a_pickle(stream: Stream, budget: Budget) -> object:
    """What a pickle without a head holds: protocols 0 and 1 begin like any text."""
    try:
        return snapshot(stream, budget)
    except Damaged as error:
        said = "it is no file of weights: neither .safetensors, nor of torch.save, nor any other pickle"
        raise Unreadable(f"{said} ({error.reason})") from error


def _unreadable(path: Path, reason: str, advice: str) -> WeightsError:
    more = f"{advice}. " if advice else ""
    return WeightsError(f"cannot read the weights {str(path)!r}: {reason}. {more}{ADVICE}")


def network_in(path: Path, limits: ReadingLimits = LIMITS) -> NetworkRecord:
    """The generator of a snapshot: its `G_ema`, else its `G`, else the only network in it.

    Raises WeightsError as `held_in` does; that says what is in the file where it holds no such network; that names the
    global where the network holds what a call gave.
    """
    return the_network(held_in(path, limits), str(path))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of the file by name. Raises WeightsError where it cannot be read, or holds something else."""
    held = held_in(path)
    if not isinstance(held, dict) or not all(isinstance(name, str) for name in held):
        raise WeightsError(
            f"the weights {str(path)!r} hold {type(held).__name__}, not a table of tensors by name. Save a module's "
            "state_dict()"
        )
    return {name: value for name, value in held.items() if isinstance(value, Tensor)}


def misfits(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    """What keeps tensors out of a module's state, a line each: missing, left over, of another shape."""
    found = [f"missing: {name} {list(value.shape)}" for name, value in wanted.items() if name not in given]
    found += [f"left over: {name} {list(value.shape)}" for name, value in given.items() if name not in wanted]
    return found + [
        f"wrong shape: {name} is {list(given[name].shape)}, should be {list(value.shape)}"
        for name, value in wanted.items()
        if name in given and given[name].shape != value.shape
    ]


def not_finite(given: Mapping[str, Tensor]) -> list[str]:
    """The tensors that hold a number which is not finite, a line each."""
    return [f"not finite: {name}" for name, value in given.items() if not torch.isfinite(value).all()]
