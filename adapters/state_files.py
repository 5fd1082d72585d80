"""Files of torch.save that hold a generator's tensors: alone, or as one table among others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from preimage.harness.checkpoints import held_in
from preimage.harness.errors import WeightsError

PARALLEL = "module."  # what nn.DataParallel puts before every name


def generator_tensors(path: Path, names: Sequence[str]) -> dict[str, Tensor]:
    """The tensors of the file by name: those of its first table among ``names``, else those it holds itself.

    A ``module.`` before every name is left out. Raises WeightsError that says what the file holds instead.
    """
    return tensors_of(held_in(path), names, path)


def tensors_of(held: object, names: Sequence[str], path: Path) -> dict[str, Tensor]:
    """The same of what a file holds; ``path`` is named in the error."""
    tables = held if isinstance(held, Mapping) else {}
    table = next((tables[name] for name in names if isinstance(tables.get(name), Mapping)), tables)
    tensors = {str(name): value for name, value in table.items() if isinstance(value, Tensor)}
    if not tensors:
        seen = f"a table of {', '.join(map(str, tables)) or 'nothing'}" if tables is held else type(held).__name__
        raise WeightsError(
            f"{str(path)!r} holds {seen[:300]}; no generator is in it. Give a state dict, or a table that has one "
            f"under {', '.join(names)}"
        )
    if all(name.startswith(PARALLEL) for name in tensors):
        return {name.removeprefix(PARALLEL): value for name, value in tensors.items()}
    return tensors
