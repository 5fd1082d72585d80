"""Reading the tensors of a checkpoint: a .safetensors file, or one that torch has saved. None of its code is run."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from preimage.harness.errors import WeightsError


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of the file by name, on the CPU. Raises WeightsError where it is none, or holds something else."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        held = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        said = str(error).strip().split("\n")[0]
        raise WeightsError(
            f"cannot read the weights {str(path)!r}: {type(error).__name__}: {said}. Give a .safetensors file, or a "
            ".pth file that holds tensors alone"
        ) from error
    if not isinstance(held, dict) or not all(isinstance(name, str) for name in held):
        raise WeightsError(
            f"the weights {str(path)!r} hold {type(held).__name__}, not a table of tensors by name. Save a module's "
            "state_dict()"
        )
    return {name: value for name, value in held.items() if isinstance(value, Tensor)}
