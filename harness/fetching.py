"""Bringing what runs need onto this machine ahead of them: weights of models and backbones, data sets."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from preimage.harness.cards import DatasetCard, ModelCard, Weights
from preimage.harness.derived_names import base_name
from preimage.harness.errors import DatasetError, PreimageError, UnknownName, WeightsError

if TYPE_CHECKING:
    from preimage.harness.plugins import Registry

Kind: TypeAlias = Literal["model", "backbone", "distance", "dataset"]


@dataclass(frozen=True)
class Fetched:
    """Something that is on this machine now.

    where: its file, or how much of it there is. size: bytes of a file. verified: its sha256 is the one that its card,
    or torchvision's name of the file, gives.
    """

    name: str
    kind: Kind
    where: str
    size: int | None = None
    verified: bool = False


def wanted(registry: Registry, patterns: Sequence[str]) -> list[tuple[Kind, str]]:
    """What names and shell globs mean, each once: models, backbones, data sets; of a distance its backbones.

    Raises UnknownName for one that means nothing.
    """
    found: dict[tuple[Kind, str], None] = {}
    for pattern in patterns:
        matches = _matches(registry, pattern)
        if not matches:
            raise _unknown(registry, pattern)
        for kind, name in matches:
            behind = registry.backbones_of(name) if kind == "distance" else []
            found.update(dict.fromkeys([("backbone", one) for one in behind] or [(kind, name)]))
    return list(found)


def fetch(registry: Registry, kind: Kind, name: str, *, offline: bool = False) -> list[Fetched]:
    """Fetch one thing and verify it; offline, only look whether it is here. A model made of others is several things.

    A backbone is loaded, so its weights are known to fit. Raises PreimageError where it cannot be had.
    """
    if kind == "backbone":
        backbone = registry.backbones[name]
        registry.backbone(name, offline=offline)
        return [_file(name, kind, backbone.weights, offline) or Fetched(name, kind, "in the cache of the Hub")]
    if kind == "model":
        nothing = Fetched(name, kind, "its card names no weights: nothing to fetch")
        return _files_of(registry, registry.models[name], offline) or [nothing]
    if kind == "distance":
        return [Fetched(name, kind, "it has no weights: nothing to fetch")]
    return [_dataset(registry, name, offline)]


def _files_of(registry: Registry, card: ModelCard, offline: bool) -> list[Fetched]:
    """The model's file, and those of the models that it is made of."""
    from preimage.harness.composites import is_composite, parts_of
    from preimage.harness.loading import weights_of

    own = _file(card.name, "model", weights_of(card, registry), offline)
    parts = parts_of(card, registry) if is_composite(card, registry) else []
    return ([own] if own else []) + [file for part in parts for file in _files_of(registry, part, offline)]


def _file(name: str, kind: Kind, weights: Weights | None, offline: bool) -> Fetched | None:
    if weights is None:
        return None
    from preimage.harness.weights import expected_hashes, locate

    try:
        path = locate(weights, offline=offline)
    except WeightsError as error:
        raise WeightsError(f"{kind} {name!r}: {error}") from error
    return Fetched(name, kind, str(path), path.stat().st_size, verified=bool(expected_hashes(weights, path)))


def _dataset(registry: Registry, name: str, offline: bool) -> Fetched:
    """Every split of it, its files hashed where it is one that downloads."""
    try:
        dataset = registry.dataset(name, offline=offline)
        sizes = {split: dataset.size(split) for split in dataset.splits}
        if _downloads(registry, name):
            for split in dataset.splits:
                dataset.fingerprint(split)
    except PreimageError:
        raise
    except Exception as error:  # a stranger's reader may raise anything
        raise DatasetError(f"data set {name!r} cannot be opened: {type(error).__name__}: {error}") from error
    return Fetched(name, "dataset", ", ".join(f"{split}: {size:,} images" for split, size in sizes.items()))


def _downloads(registry: Registry, name: str) -> bool:
    if name not in registry.datasets:
        return True  # an address on the Hub
    card = registry.datasets[name]
    return isinstance(card, DatasetCard) and card.downloads


def _matches(registry: Registry, pattern: str) -> list[tuple[Kind, str]]:
    catalogues: list[tuple[Kind, list[str]]] = [
        ("model", list(registry.models)),
        ("backbone", list(registry.backbones)),
        ("distance", list(registry.distances)),
        ("dataset", list(registry.datasets)),
    ]
    found = [(kind, name) for kind, names in catalogues for name in names if fnmatch.fnmatchcase(name, pattern)]
    if found:
        return found
    if registry.has_dataset(pattern):  # one derived from another, or on the Hub
        registry.check_dataset(pattern)
        return [("dataset", base_name(pattern, registry.datasets))]
    try:
        registry.check_distance(pattern)  # a weighted sum
    except PreimageError:
        return []
    return [("distance", pattern)]


def _unknown(registry: Registry, name: str) -> UnknownName:
    """Of the kind that has the name most like it."""
    kinds: dict[str, Iterable[str]] = {
        "model": registry.models,
        "backbone": registry.backbones,
        "distance": registry.distances,
        "dataset": registry.datasets,
    }
    likeness = {
        kind: max((difflib.SequenceMatcher(None, name, known).ratio() for known in names), default=0.0)
        for kind, names in kinds.items()
    }
    kind = max(likeness, key=lambda one: likeness[one])
    return UnknownName(kind, name, kinds[kind])
