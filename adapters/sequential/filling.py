"""Which tensors of a checkpoint belong to which layer of a card, and into it they go."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from preimage.harness.checkpoints import misfits
from preimage.harness.errors import WeightsError

COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class Slot:
    """A layer that has tensors: where it stands on the card, and the name of its group in the file where the card says.

    optional: tensors that the file need not have; they keep what the layer was made with.
    """

    layer: nn.Module
    where: str
    source: str | None = None
    optional: tuple[str, ...] = ()


def fill(slots: Sequence[Slot], weights: Mapping[str, Tensor], prefix: str, ignored: Sequence[str]) -> None:
    """Fill the layers from a checkpoint: each from the group that its card names, the others in the order of the file.

    A group is the tensors whose names are one up to the last dot (``main.3.weight``, ``main.3.bias``). prefix: only
    names that start so are meant, and it is cut off. ignored: globs of names that belong to something else.
    Raises WeightsError that lists the tensors that are missing, left over or of the wrong shape; nothing is filled.
    """
    groups: dict[str, dict[str, Tensor]] = {}
    for name, value in weights.items():
        short = name.removeprefix(prefix)
        if not name.startswith(prefix) or any(fnmatch.fnmatchcase(short, glob) for glob in ignored):
            continue
        group, _, last = short.rpartition(".")
        if last != COUNTER:
            groups.setdefault(group, {})[last] = value
    named = {slot.source for slot in slots}
    rest = iter([name for name in groups if name not in named])
    chosen = [(slot, slot.source if slot.source is not None else next(rest, None)) for slot in slots]
    faults = [fault for slot, own in chosen for fault in _faults(slot, own, groups)]
    faults += [f"left over: {name}.{last} {list(v.shape)}" for name in rest for last, v in groups[name].items()]
    if faults:
        listed = "\n  ".join(faults)
        raise WeightsError(
            f"the weights do not fit the card's layers:\n  {listed}\nCorrect `layers`; name a layer's tensors by "
            "`from`, a part of the file by `prefix`, what belongs to something else by `ignore`"
        )
    for slot, own in chosen:
        given = groups[own or ""]
        with torch.no_grad():
            for name, value in _state(slot.layer).items():
                if name in given:
                    value.copy_(given[name])


def _faults(slot: Slot, group: str | None, groups: Mapping[str, Mapping[str, Tensor]]) -> list[str]:
    state = _state(slot.layer)
    if group is None or group not in groups:
        what = f"no tensors named {group!r}" if group is not None else "no tensors left in the file"
        return [f"{slot.where}: {what}; it needs {', '.join(f'{n} {list(v.shape)}' for n, v in state.items())}"]
    given = groups[group]
    needed = {name: value for name, value in state.items() if name in given or name not in slot.optional}
    return [f"{slot.where}: {fault} (of {group!r})" for fault in misfits(needed, given)]


def _state(layer: nn.Module) -> dict[str, Tensor]:
    return {name: value for name, value in layer.state_dict().items() if name != COUNTER}
