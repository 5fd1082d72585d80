"""Backbone cards: fixed image networks that distances and feature metrics look through. YAML on disk, no torch here."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from preimage.harness.cards import Config, ModelCard, Weights, card_files, card_from, read_table, weights_from
from preimage.harness.errors import CardError


@dataclass(frozen=True)
class BackboneCard:
    """A fixed image network: its architecture, where its weights lie, their licence.

    architecture: ``alexnet``, ``vgg16``, ``vgg19``, ``squeezenet1_1``, ``inception_v3`` (torchvision's) or
    ``timm/NAME``. weights: as of a model, or ``torchvision://VGG16_Weights.IMAGENET1K_V1``; None: those that timm
    names. config: settings of the architecture, for timm's.
    """

    name: str
    architecture: str
    weights: Weights | None = None
    licence: str = ""
    paper: str = ""
    config: Config = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("name", "architecture"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value.strip():
                raise CardError(f"card {self.name!r}: `{name}` is {value!r}; it must be a text that is not empty")
        if not isinstance(self.config, Mapping):
            raise CardError(f"card {self.name!r}: `config` is {self.config!r}; it must be a table of settings")


_FIELDS = tuple(f.name for f in dataclasses.fields(BackboneCard))


def backbone_card_from(settings: Mapping[str, Any], *, source: str, folder: Path | None = None) -> BackboneCard:
    """A backbone's card from plain data. Raises CardError that names every unknown or missing field."""
    given = {key: value for key, value in settings.items() if key != "kind"}
    unknown = [str(key) for key in given if key not in _FIELDS]
    missing = [key for key in ("name", "architecture") if key not in given]
    if unknown or missing:
        close = {key: difflib.get_close_matches(key, _FIELDS, n=1) for key in unknown}
        said = [f"unknown field `{k}`" + (f" (did you mean `{c[0]}`?)" if c else "") for k, c in close.items()]
        said += [f"required field `{key}` is missing" for key in missing]
        raise CardError(f"{source}: {'; '.join(said)}. A backbone card's fields are: kind, {', '.join(_FIELDS)}")
    return BackboneCard(**{**given, "weights": weights_from(given.get("weights"), source, folder)})


def read_any_cards(path: Path) -> list[ModelCard | BackboneCard]:
    """The card in a file, or all of a folder: of models and, where it says ``kind: backbone``, of backbones."""
    cards: list[ModelCard | BackboneCard] = []
    for file in card_files(path):
        table, source, folder = read_table(file), f"card {str(file)!r}", file.resolve().parent
        make = backbone_card_from if table.get("kind") == "backbone" else card_from
        cards.append(make(table, source=source, folder=folder))
    return cards
