"""What generators that stand behind one interface have in common, whatever a label means there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from preimage.harness import build
from preimage.harness.cards import Config
from preimage.harness.composites import listed_in, table_of, weights_of_part
from preimage.harness.errors import CardError, GeneratorError
from preimage.harness.generator import Generator


class Together(Generator):
    """``G(z, y) = G_y(z)``: a code is decoded by the generator of its label.

    parts: at least two unconditional generators of the same images, whose spaces have the same names, dimensions and
    priors. The whole has an encoder where all parts have, and so with a likelihood in closed form.
    """

    what: str
    """The model in words, for errors."""

    def __init__(self, parts: Sequence[Generator]) -> None:
        super().__init__()
        _check(parts, self.what)
        self.parts = nn.ModuleList(parts)
        self.spaces = parts[0].spaces
        self.image = parts[0].image

    def decode(self, code: Tensor, label: Tensor | None = None, *, space: str = "z") -> Tensor:
        self.space(space)
        return self._by_label(code, label, lambda part, rows: part.decode(rows, space=space))

    def encode(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        """By the encoder of each image's label. Raises GeneratorError where the parts have none."""
        return self._by_label(image, label, lambda part, rows: part.encode(rows))

    def push(self, code: Tensor, label: Tensor | None = None, *, source: str, target: str) -> Tensor:
        return self._by_label(code, label, lambda part, rows: part.push(rows, source=source, target=target))

    def log_likelihood(self, image: Tensor, label: Tensor | None = None, *, sigma2: float, space: str = "z") -> Tensor:
        """log p(x | y): that of the generator of each image's label."""
        return self._by_label(image, label, lambda part, rows: part.log_likelihood(rows, sigma2=sigma2, space=space))

    @property
    def has_encoder(self) -> bool:
        """Whether every part has an encoder."""
        return all(self._part(label).has_encoder for label in range(len(self.parts)))

    @property
    def has_log_likelihood(self) -> bool:
        """Whether every part has a closed form."""
        return all(self._part(label).has_log_likelihood for label in range(len(self.parts)))

    def _without_label(self) -> GeneratorError:
        """What to say where no label is given."""
        raise NotImplementedError

    def _by_label(self, rows: Tensor, label: Tensor | None, run: Callable[[Generator, Tensor], Tensor]) -> Tensor:
        """Each row through the generator of its label; all rows of a label together. Rows come back in their order."""
        if label is None:
            raise self._without_label()
        known = torch.unique(label).tolist() or [0]
        if not 0 <= known[0] <= known[-1] < len(self.parts):
            wrong = known[0] if known[0] < 0 else known[-1]
            raise GeneratorError(f"label {wrong} seen; this model has labels from 0 to {len(self.parts) - 1}")
        if len(known) == 1:  # as where a model is recovered label by label: nothing to sort
            return run(self._part(known[0]), rows)
        places = [(label == one).nonzero()[:, 0] for one in known]
        done = [run(self._part(one), rows[place]) for one, place in zip(known, places, strict=True)]
        return torch.cat(done)[torch.cat(places).argsort()]

    def _part(self, label: int) -> Generator:
        part = self.parts[label]
        assert isinstance(part, Generator)
        return part


def built(config: Config, weights: Mapping[str, Tensor], what: str) -> list[Generator]:
    """From tables of ``family`` and ``config`` under ``models``; the weights of part 3 have names that begin with 3."""
    parts = []
    for number, entry in enumerate(listed_in(config, what)):
        family, own = table_of(entry, f"{what}: part {number} of `models`")
        parts.append(build(family, own, weights_of_part(weights, number)))
    return parts


def _check(parts: Sequence[Generator], whole: str) -> None:
    """Raises CardError that names the part which is unlike the first, and what is unlike."""
    for number, part in enumerate(parts):
        what = f"{whole}: part {number} of `models`"
        if part.num_classes:
            raise CardError(f"{what} is conditional on {part.num_classes} classes; every part must be unconditional")
        if part.part_weights:
            raise CardError(f"{what} is itself a mixture of {len(part.part_weights)} generators; list these instead")
        if tuple(part.image) != tuple(parts[0].image):
            raise CardError(f"{what} makes images of {part.image}, part 0 of {parts[0].image}; they must be the same")
        if _laws(part) != _laws(parts[0]):
            own, first = (", ".join(f"{name} ({dim}, {law})" for name, dim, law in _laws(p)) for p in (part, parts[0]))
            raise CardError(f"{what} has the latent spaces {own}; part 0 has {first}; they must be the same")


def _laws(part: Generator) -> list[tuple[str, int, str]]:
    """Names, dimensions and priors of the spaces; a prior is what its class and its settings say."""
    return [
        (s.name, s.dim, "" if s.prior is None else f"{type(s.prior).__qualname__} {vars(s.prior)}")
        for s in part.spaces.values()
    ]
