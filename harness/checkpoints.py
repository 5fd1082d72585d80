"""Reading the tensors of a checkpoint: a .safetensors file, or one that torch has saved. None of its code is run."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from preimage.harness.errors import WeightsError


def held_in(path: Path) -> object:
    """What the file holds, on the CPU. Raises WeightsError where it cannot be read without running code of it."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        held: object = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # bytes that are no checkpoint, or a damaged one, may raise anything
        said = str(error).strip().split("\n")[0].rstrip(".")
        if isinstance(error, pickle.UnpicklingError):  # torch's words tell how to run its code
            said = "it is damaged, or holds objects beside tensors, and no code of a checkpoint is run"
        raise WeightsError(
            f"cannot read the weights {str(path)!r}: {type(error).__name__}{said and ': '}{said}. Give a .safetensors "
            "file, or a .pth file that holds tensors alone"
        ) from error
    return held


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
