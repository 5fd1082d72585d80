"""Models made of other models: a card that lists them under ``models`` in its ``config``. No torch here.

Each entry is a registered model's name, the path of a card (``*.yaml``, from this card's folder), or a table of
``family``, ``config`` and ``weights``. A part in a table may have no weights of its own: they are then those of the
whole model's file whose names begin with its number, ``0.``, ``1.``, ...
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from preimage.harness.cards import Config, Family, ModelCard, read_card, weights_from
from preimage.harness.errors import CardError, UnknownName
from preimage.harness.plugins import Registry

T = TypeVar("T")
FIELDS = ("family", "config", "weights")
"""What a part in a table says. Its images are the whole model's; it is unconditional."""


def family_of(card: ModelCard, registry: Registry) -> Family:
    """The card's family. Raises CardError where it is not installed."""
    try:
        return registry.families[card.family]
    except UnknownName as error:
        raise CardError(f"card {card.name!r}: {error}") from error


def is_composite(card: ModelCard, registry: Registry) -> bool:
    """Whether the card lists other models."""
    return card.load is None and card.kind == "generator" and family_of(card, registry).combine is not None


def parts_of(card: ModelCard, registry: Registry, inside: Sequence[ModelCard] = ()) -> list[ModelCard]:
    """The cards of the models that a composite lists.

    inside: the composites around this one. Raises CardError for an entry that is none, and for a model inside itself.
    """
    listed = listed_in(card.config, f"card {card.name!r}")
    parts = [_part(entry, number, card, registry) for number, entry in enumerate(listed)]
    around = [*inside, card]
    for part in parts:
        if part in around:
            road = " -> ".join(one.name for one in [*around, part])
            raise CardError(f"card {card.name!r}: a model cannot be a part of itself: {road}. Correct `models`")
    return parts


def listed_in(config: Config, what: str) -> list[object]:
    """The entries of ``models``. Raises CardError where there are none."""
    listed = config.get("models")
    if not isinstance(listed, (list, tuple)) or not listed:
        raise CardError(
            f"{what}: `models` in its config is {listed!r}; list the models that it is made of: names, paths of cards, "
            f"or tables of {', '.join(FIELDS)}"
        )
    return list(listed)


def table_of(entry: object, what: str) -> tuple[str, Config]:
    """The family and config of a part in a table. Raises CardError for an unknown field or a missing family."""
    table = entry if isinstance(entry, Mapping) else {}
    family, config = table.get("family"), table.get("config", {})
    if not isinstance(family, str) or not isinstance(config, Mapping) or not set(table) <= set(FIELDS):
        raise CardError(f"{what} is {entry!r}; write a table of {', '.join(FIELDS)}, of which family is needed")
    return family, config


def weights_of_part(weights: Mapping[str, T], number: int) -> dict[str, T]:
    """The weights whose names begin with the part's number, without it."""
    start = f"{number}."
    return {name.removeprefix(start): value for name, value in weights.items() if name.startswith(start)}


def _part(entry: object, number: int, card: ModelCard, registry: Registry) -> ModelCard:
    what = f"card {card.name!r}: part {number} of `models`"
    if isinstance(entry, str):
        try:
            part = read_card(Path(entry)) if entry.endswith((".yaml", ".yml")) else registry.models[entry]
        except (CardError, UnknownName) as error:
            raise CardError(f"{what}: {error}") from error
        if part.kind == "reference":
            raise CardError(f"{what}: {part.name!r} is a reference: it makes no images. Name a generator")
        return part
    family, config = table_of(entry, what)
    assert isinstance(entry, Mapping)  # table_of has seen to it
    return ModelCard(
        name=f"{card.name}[{number}]",
        family=family,
        dataset=card.dataset,
        image=card.image,
        num_classes=0,
        config=config,
        weights=weights_from(entry.get("weights"), what, None),
    )
