"""Model cards: everything that can be said of a model without torch or its weights. YAML on disk."""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import yaml

from preimage.harness.errors import CardError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from preimage.harness.classifiers import Classifier
    from preimage.harness.datasets import Dataset
    from preimage.harness.generator import Generator

Config: TypeAlias = Mapping[str, object]
"""The official constructor settings of an architecture, as plain data."""


class ImageSpec(NamedTuple):
    """The shape of one image; pixels are float32 in [0, 1], RGB or one channel."""

    channels: int
    height: int
    width: int

    @property
    def values(self) -> int:
        """D, the number of values of an image."""
        return self.channels * self.height * self.width

    def __str__(self) -> str:
        return f"{self.channels}x{self.height}x{self.width}"


@dataclass(frozen=True)
class Weights:
    """Where weights lie: ``package://pkg/file``, ``hf://org/repo@revision/file`` or a path; and their sha256."""

    uri: str
    sha256: str | None = None


@dataclass(frozen=True)
class ModelCard:
    """A model: its architecture's settings, its weights, its data, its licence.

    A reference (``kind="reference"``) has no codes. Neighbours answer the recovery requests of 1nn; a classifier is
    one whose family makes classifiers, and is asked for predictions alone.
    ``load`` is for models defined in code; ``family`` is then a free label and ``version`` is part of the identity.
    """

    name: str
    family: str
    dataset: str
    image: ImageSpec
    num_classes: int
    config: Config = field(default_factory=dict)
    weights: Weights | None = None
    space: str = "z"
    paper: str = ""
    licence: str = ""
    reported: Mapping[str, float] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    version: int = 1
    trained_on: int | None = None
    parent: str | None = None
    step: int | None = None
    load: Callable[[torch.device], Generator] | None = None
    kind: Literal["generator", "reference"] = "generator"
    training: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "image", _image(self.image, self.name))
        if not isinstance(self.tags, (list, tuple)) or not all(isinstance(tag, str) for tag in self.tags):
            raise CardError(f"card {self.name!r}: `tags` is {self.tags!r}; write a list of texts, e.g. [gan, digits]")
        object.__setattr__(self, "tags", tuple(self.tags))
        for name in ("name", "family", "dataset", "space"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value.strip():
                raise CardError(f"card {self.name!r}: `{name}` is {value!r}; it must be a text that is not empty")
        for name, least in (("num_classes", 0), ("version", 1), ("trained_on", 1), ("step", 0)):
            value = getattr(self, name)
            if value is None and name in ("trained_on", "step"):
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise CardError(f"card {self.name!r}: `{name}` is {value!r}; it must be a whole number from {least} up")
        if self.kind not in ("generator", "reference"):
            raise CardError(f"card {self.name!r}: `kind` is {self.kind!r}; it must be generator or reference")
        for metric, value in self.reported.items() if isinstance(self.reported, Mapping) else ():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise CardError(f"card {self.name!r}: `reported` says {metric} = {value!r}; it must be a finite number")
        for name in ("config", "reported", "training"):
            value = getattr(self, name)
            if not isinstance(value, Mapping):
                raise CardError(f"card {self.name!r}: `{name}` is {value!r}; it must be a table of settings")


def _image(value: object, name: str) -> ImageSpec:
    sides = list(value) if isinstance(value, (list, tuple)) else []
    if len(sides) != 3 or not all(isinstance(s, int) and not isinstance(s, bool) and s > 0 for s in sides):
        raise CardError(f"card {name!r}: `image` is {value!r}; write [channels, height, width], e.g. [3, 32, 32]")
    return ImageSpec(*sides)


@dataclass(frozen=True)
class DatasetCard:
    """A data set that can be named without opening it; ``open`` reads it when it is needed.

    downloads: ``open`` may fetch files, and is called as ``open(offline=...)``. description: one line; where images
    are resized or cropped, how.
    """

    name: str
    image: ImageSpec
    num_classes: int
    splits: tuple[str, ...]
    open: Callable[..., Dataset]
    licence: str = ""
    description: str = ""
    downloads: bool = False


@dataclass(frozen=True)
class Family:
    """An architecture: how to build it and how to read its checkpoints.

    build: (official constructor settings, weights) -> Generator. read: released file -> (settings, weights), never
    running its code; settings of the card win over the file's.
    makes: a classifier's cards are references (``kind: reference``), and ``build`` gives a Classifier. released: where
    the weights lie of a card that names none. combine: (settings, generators) -> Generator, of a family whose models
    are made of others; its cards list these under ``models`` in ``config`` (see ``composites.py``).
    """

    name: str
    build: Callable[[Config, Mapping[str, Tensor]], Generator | Classifier]
    read: Callable[[Path], tuple[Config, Mapping[str, Tensor]]]
    makes: Literal["generator", "classifier"] = "generator"
    released: Callable[[Config], Weights] | None = None
    combine: Callable[[Config, Sequence[Generator]], Generator] | None = None


_FIELDS = {f.name: f for f in dataclasses.fields(ModelCard) if f.name != "load"}
_REQUIRED = ("name", "family", "dataset", "image", "num_classes")


def card_from(settings: Mapping[str, Any], *, source: str, folder: Path | None = None) -> ModelCard:
    """A card from plain data. Raises CardError that names every unknown or missing field.

    source: what to call it in errors. folder: what a relative path of weights is relative to.
    """
    unknown = [key for key in settings if key not in _FIELDS]
    missing = [key for key in _REQUIRED if key not in settings]
    if unknown or missing:
        said = [_unknown_field(key) for key in unknown] + [f"required field `{key}` is missing" for key in missing]
        raise CardError(f"{source}: {'; '.join(said)}. A card's fields are: {', '.join(_FIELDS)}")
    values = dict(settings)
    values["weights"] = weights_from(values.get("weights"), source, folder)
    if isinstance(values.get("config"), Mapping) and folder is not None:
        values["config"] = _beside(values["config"], folder)
    try:
        return ModelCard(**values)
    except TypeError as error:
        raise CardError(f"{source}: {error}") from error


def _unknown_field(key: object) -> str:
    close = difflib.get_close_matches(str(key), _FIELDS, n=1)
    return f"unknown field `{key}`" + (f" (did you mean `{close[0]}`?)" if close else "")


def weights_from(value: object, source: str, folder: Path | None) -> Weights | None:
    """What a card says under ``weights``: a path, or uri and sha256. Raises CardError for anything else."""
    if value is None:
        return None
    if isinstance(value, str):
        value = {"uri": value}
    if not isinstance(value, Mapping) or not set(value) <= {"uri", "sha256"} or not isinstance(value.get("uri"), str):
        raise CardError(
            f"{source}: `weights` is {value!r}; write a path, or uri and sha256: "
            "weights: {uri: hf://org/repo@revision/file, sha256: ...}"
        )
    uri, sha256 = value["uri"], value.get("sha256")
    if sha256 is not None and not (isinstance(sha256, str) and re.fullmatch("[0-9a-fA-F]{64}", sha256)):
        raise CardError(f"{source}: `sha256` is {sha256!r}; it must be 64 hexadecimal digits in quotes")
    if "://" not in uri and folder is not None and not Path(uri).expanduser().is_absolute():
        uri = str(folder / uri)
    return Weights(uri, sha256.lower() if sha256 else None)


def _beside(config: Config, folder: Path) -> Config:
    """The config with the paths of cards that it lists under ``models`` (a model made of others) from the folder on."""
    listed = config.get("models")
    if not isinstance(listed, list):
        return config
    return {**config, "models": [_beside_one(part, folder) for part in listed]}


def _beside_one(part: object, folder: Path) -> object:
    if isinstance(part, str) and part.endswith((".yaml", ".yml")):
        return str(folder / Path(part).expanduser())
    if isinstance(part, Mapping):
        own = {
            key: _beside(value, folder) for key, value in part.items() if key == "config" and isinstance(value, dict)
        }
        weights = weights_from(part.get("weights"), "a part of `models`", folder)
        return {**part, **own, **({} if weights is None else {"weights": vars(weights)})}
    return part


def read_card(path: Path) -> ModelCard:
    """The card in a YAML file. Raises CardError where the file is missing, is not YAML or is not a card."""
    return card_from(read_table(path), source=f"card {str(path)!r}", folder=path.resolve().parent)


def plain_yaml(text: str) -> Any:
    """What a YAML text says, as plain data; by libyaml where it is there, which is ten times faster."""
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def read_table(path: Path) -> dict[str, Any]:
    """The fields that a card's YAML file holds. Raises CardError where it is missing or holds no table."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CardError(f"cannot read the card {str(path)!r}: {error}. Give the path of a YAML file") from error
    try:
        settings = plain_yaml(text)
    except yaml.YAMLError as error:
        raise CardError(f"the card {str(path)!r} is not YAML: {error}") from error
    if not isinstance(settings, dict):
        raise CardError(
            f"the card {str(path)!r} holds {type(settings).__name__}, not a table of fields: "
            f"{', '.join(_REQUIRED)}, ..."
        )
    return settings


def read_cards(path: Path) -> list[ModelCard]:
    """The card in a file, or all cards (``*.yaml``) of a folder, by name."""
    return [read_card(file) for file in card_files(path)]


def card_files(path: Path) -> list[Path]:
    """The file, or all ``*.yaml`` of a folder, by name. Raises CardError for a folder without any."""
    if not path.is_dir():
        return [path]
    if files := sorted(path.glob("*.yaml")):
        return files
    raise CardError(f"the folder {str(path)!r} holds no *.yaml card")
