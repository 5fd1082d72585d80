"""The family ``per-class``: one unconditional generator for each class, behind one conditional interface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from preimage.adapters.composites.together import Together, built
from preimage.harness.cards import Config
from preimage.harness.errors import CardError, GeneratorError
from preimage.harness.generator import Generator


class PerClass(Together):
    """A conditional model: part number y draws class y."""

    what = "a per-class model"

    def __init__(self, parts: Sequence[Generator]) -> None:
        if len(parts) < 2:
            raise CardError(f"{self.what} of {len(parts)} part: list one generator for each of at least 2 classes")
        super().__init__(parts)
        self.num_classes = len(parts)

    def _without_label(self) -> GeneratorError:
        return GeneratorError(f"this model has {self.num_classes} classes: give a label per row, [n] int64")


def combine(config: Config, parts: Sequence[Generator]) -> PerClass:
    """The whole of its parts. Raises CardError for parts that do not go together."""
    if unknown := sorted(set(config) - {"models"}):
        raise CardError(f"a per-class model has no setting {unknown[0]!r}; its config has `models` alone")
    return PerClass(parts)


def build_parts(config: Config, weights: Mapping[str, Tensor]) -> PerClass:
    """From tables of ``family`` and ``config`` under ``models``; the weights of part 3 have names that begin with 3."""
    return combine(config, built(config, weights, PerClass.what))
