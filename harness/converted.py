"""Converted checkpoints: a .safetensors file that holds a model's settings beside its tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import NamedTemporaryFile

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from preimage.harness.cards import Config
from preimage.harness.checkpoints import read_tensors
from preimage.harness.errors import WeightsError

_LENGTH = 8  # bytes at the start of the file: how long its header is


def write_converted(path: Path, family: str, config: Config, weights: Mapping[str, Tensor]) -> None:
    """Write tensors, in their own dtypes, and in the metadata the family's name and its settings (JSON).

    The file is there whole or not at all; the same content gives the same bytes. Raises WeightsError for settings
    that are no plain data, a disk that cannot be written.
    """
    try:
        metadata = {"family": family, "config": json.dumps(dict(config), sort_keys=True)}
    except (TypeError, ValueError) as error:
        raise WeightsError(
            f"the settings of {str(path)!r} are not plain data ({error}). Give numbers, texts, lists and tables"
        ) from error
    held = {name: weights[name].detach().cpu().contiguous().clone() for name in sorted(weights)}  # none shares memory
    try:
        with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as draft:
            drafted = Path(draft.name)
        try:
            save_file(held, drafted, metadata)
            _order_header(drafted)
            drafted.chmod(0o644)
            drafted.replace(path)
        finally:
            drafted.unlink(missing_ok=True)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"cannot write {str(path)!r}: {error}. Check the folder and the disk") from error


def read_converted(path: Path) -> tuple[Config, dict[str, Tensor]]:
    """Settings and tensors of a .safetensors file; no settings where its metadata has none.

    Raises WeightsError where the file cannot be read, or its settings are no table in JSON.
    """
    weights = read_tensors(path)
    with safe_open(path, framework="pt") as file:
        said = (file.metadata() or {}).get("config", "{}")
    try:
        config = json.loads(said)
    except ValueError as error:
        raise WeightsError(
            f"{str(path)!r}: the `config` in its metadata is not JSON ({error}). Write the settings on the card, and "
            "give a file without any"
        ) from error
    if not isinstance(config, dict):
        raise WeightsError(f"{str(path)!r}: the `config` in its metadata is {said!r}; it must be a table of settings")
    return config, weights


def _order_header(path: Path) -> None:
    """The entries of the header in a fixed order, which the writer draws anew each time."""
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(_LENGTH), "little")
        header = json.loads(file.read(length))
        ordered = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        if len(ordered) <= length:  # always, where both write JSON alike; a longer one would run into the tensors
            file.seek(_LENGTH)
            file.write(ordered.ljust(length))
