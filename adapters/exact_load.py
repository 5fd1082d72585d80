"""Weights into a module, all or none: what is missing, left over or of another shape is an error that lists it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from preimage.harness.checkpoints import misfits
from preimage.harness.errors import WeightsError

COUNTER = "num_batches_tracked"  # of batch norms: no part of what a model computes, and not shipped


def load_exactly(module: nn.Module, weights: Mapping[str, Tensor], what: str) -> None:
    """Fill every parameter and buffer of the module from the weights of the same name, as float32.

    Raises WeightsError that lists the names that are missing, left over or of another shape; the module is then
    untouched.
    """
    state = {name: value for name, value in module.state_dict().items() if not name.endswith(COUNTER)}
    given = {name: value for name, value in weights.items() if not name.endswith(COUNTER)}
    if faults := misfits(state, given):
        listed = "\n  ".join(faults)
        advice = "Give the file that belongs to the card's config"
        raise WeightsError(f"the weights do not fit {what}:\n  {listed}\n{advice}")
    for name, value in state.items():
        value.copy_(given[name])


def read_safetensors(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of a .safetensors file. Raises WeightsError where it is missing or something else."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            return metadata, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no mapping
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"cannot read {str(path)!r} as safetensors: {error}. Give a .safetensors file") from error
