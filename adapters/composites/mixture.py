"""The family ``mixture``: several unconditional generators of the same images, each drawn from with its weight."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from preimage.adapters.composites.together import Together, built
from preimage.harness.cards import Config
from preimage.harness.errors import CardError, GeneratorError
from preimage.harness.generator import Generator


class Mixture(Together):
    """An unconditional model: draw a part k with probability ``weights[k]``, then a code, and decode it by part k.

    So ``p(x) = sum_k w_k p_k(x)``. In ``decode``, ``encode`` and ``push`` a row's part stands where labels do.
    """

    what = "a mixture"
    num_classes = 0

    def __init__(self, parts: Sequence[Generator], weights: Sequence[float] | None = None) -> None:
        if len(parts) < 2:
            raise CardError(f"{self.what} of {len(parts)} part: list at least 2 generators")
        super().__init__(parts)
        self.part_weights = _weights(weights, len(parts))

    def log_likelihood(self, image: Tensor, label: Tensor | None = None, *, sigma2: float, space: str = "z") -> Tensor:
        """``log sum_k w_k p_k(x)``; that of each row's own part alone where the parts are given."""
        if label is not None:
            return super().log_likelihood(image, label, sigma2=sigma2, space=space)
        each = [
            self._part(k).log_likelihood(image, sigma2=sigma2, space=space) + math.log(weight)
            for k, weight in enumerate(self.part_weights)
        ]
        return torch.stack(each).logsumexp(dim=0)

    def _without_label(self) -> GeneratorError:
        return GeneratorError(
            f"this model is a mixture of {len(self.part_weights)} generators: give the part of each row where labels "
            "go, [n] int64; draw it with the probabilities `part_weights`"
        )


def combine(config: Config, parts: Sequence[Generator]) -> Mixture:
    """The whole of its parts. Raises CardError for parts or weights that do not go together."""
    if unknown := sorted(set(config) - {"models", "weights"}):
        raise CardError(f"a mixture has no setting {unknown[0]!r}; its config has `models` and `weights`")
    weights = config.get("weights")
    if weights is not None and not isinstance(weights, (list, tuple)):
        raise CardError(f"a mixture: `weights` in its config is {weights!r}; {_wanted(len(parts))}")
    return Mixture(parts, weights)


def build_parts(config: Config, weights: Mapping[str, Tensor]) -> Mixture:
    """From tables of ``family`` and ``config`` under ``models``; the weights of part 3 have names that begin with 3."""
    return combine(config, built(config, weights, Mixture.what))


def _weights(weights: Sequence[object] | None, count: int) -> tuple[float, ...]:
    """The weights with the sum 1 to the last digit; equal ones for None. Raises CardError."""
    if weights is None:
        return (1 / count,) * count
    what, numbers = f"a mixture: `weights` in its config is {list(weights)}", []
    for weight in weights:
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 < weight < math.inf:
            raise CardError(f"{what}, of which {weight!r} is no number above 0; {_wanted(count)}")
        numbers.append(float(weight))
    if len(numbers) != count:
        raise CardError(f"{what}: {len(numbers)} of them for {count} parts; {_wanted(count)}")
    total = math.fsum(numbers)
    if abs(total - 1) > 1e-6:
        raise CardError(f"{what}, with the sum {total:.9g}; {_wanted(count)}")
    return tuple(number / total for number in numbers)


def _wanted(count: int) -> str:
    return f"write one number above 0 for each of the {count} parts, with the sum 1, or leave it out for equal ones"
