"""What a card says about how its model was trained, and what a training function gets to work with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Protocol, TypeAlias, TypeVar, cast

import yaml
from torch import Tensor

from preimage.adapters.embedded.networks import AutoEncoder, Decoder, DecoderConfig
from preimage.harness.errors import CardError

Settings = TypeVar("Settings")
Card = dict[str, object]


@dataclass(frozen=True)
class Recipe:
    """One training run: everything that its weights depend on."""

    objective: str  # a key of `train.OBJECTIVES`
    steps: int  # updates of the decoder
    batch: int  # images a step
    seed: int
    stop: int | None = None  # ship the state after so many updates; the schedules stay those of all steps
    settings: Mapping[str, object] = field(default_factory=dict)  # the objective's own, e.g. learning rates

    @property
    def last(self) -> int:
        """The number of updates that are made."""
        return self.steps if self.stop is None else min(self.stop, self.steps)


@dataclass(frozen=True)
class Images:
    """The training images: float32 [n, 1, 28, 28] in [0, 1], and their labels, int64 [n]."""

    image: Tensor
    label: Tensor


class Report(Protocol):
    """Called every so often while training, with the losses of that step."""

    def __call__(self, step: int, losses: Mapping[str, float]) -> None: ...


Trained: TypeAlias = Decoder | AutoEncoder
Objective = Callable[[Recipe, DecoderConfig, Images, Report], Trained]


def read_card(path: Path) -> Card:
    """The card as written. Raises CardError if the file holds no mapping."""
    card = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(card, dict):
        raise CardError(f"{path} is no card: it holds a {type(card).__name__}")
    return cast(Card, card)


def read_recipe(card: Card) -> Recipe:
    """The ``training:`` block of a card. Raises CardError if there is none or it has other keys than a recipe's."""
    block = card.get("training")
    if not isinstance(block, dict):
        raise CardError(f"the card of {card.get('name')} has no training block, so there is nothing to train from")
    return parse_settings(Recipe, {key: value for key, value in block.items() if key != "minutes"})


def parse_settings(record: type[Settings], values: Mapping[str, object]) -> Settings:
    """A frozen dataclass from a card's keys. Raises CardError that lists the unknown and the known keys."""
    known = {item.name for item in fields(record)}  # type: ignore[arg-type]  # only ever called with dataclasses
    if unknown := set(values) - known:
        raise CardError(f"{record.__name__} does not know {sorted(unknown)}, it takes {sorted(known)}")
    return record(**values)
