"""Any readable checkpoint made into a .safetensors file, and the card that loads it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import torch
import yaml
from torch import Tensor

from preimage.harness.cards import Config, Family, ImageSpec, ModelCard, Weights, card_from
from preimage.harness.classifiers import Classifier
from preimage.harness.converted import write_converted
from preimage.harness.errors import CardError, PreimageError, UsageError, WeightsError
from preimage.harness.generator import Generator
from preimage.harness.weights import locate, sha256_of

if TYPE_CHECKING:
    from preimage.harness.plugins import Registry

T = TypeVar("T")


@dataclass(frozen=True)
class Conversion:
    """What a checkpoint is to become.

    file: its path or address, as on a card. settings: of the architecture, where the file does not hold them; where
    both say something, these win. name: of the model; that of the new file where None. force: write over files.
    """

    file: str
    family: str
    out: Path
    dataset: str
    name: str | None = None
    licence: str = ""
    settings: Config = field(default_factory=dict)
    force: bool = False
    offline: bool = False

    @property
    def card(self) -> Path:
        """Where the card is written."""
        return self.out.with_suffix(".yaml")


class Converted(NamedTuple):
    """The card that was written, and how many tensors the file beside it holds."""

    card: ModelCard
    tensors: int


def convert(registry: Registry, wanted: Conversion) -> Converted:
    """Read the checkpoint, build the model from it, write its tensors and settings and a card beside them.

    Raises UsageError, UnknownName or CardError for what cannot be meant, WeightsError for a file that cannot be read
    or fits no such model. Nothing is written then.
    """
    family = registry.families[wanted.family]
    _check(wanted, family)
    source = locate(Weights(wanted.file), offline=wanted.offline)
    found, weights = _trying(lambda: family.read(source), f"family {family.name!r} cannot read {wanted.file!r}")
    config = _plain({**found, **wanted.settings}, wanted)
    about = _about(_built(family, config, weights), registry, wanted)
    about["training"] = {"converted_from": wanted.file, "sha256": sha256_of(source)}
    draft = wanted.out.with_name(f".{wanted.out.stem}.{os.getpid()}.safetensors")
    try:
        write_converted(draft, family.name, config, weights)
        about["weights"] = {"uri": wanted.out.name, "sha256": sha256_of(draft)}
        if left := _unread(family, draft, config, weights):
            about["config"] = left
        card = card_from(about, source=f"card {str(wanted.card)!r}", folder=wanted.out.resolve().parent)
        draft.replace(wanted.out)
    finally:
        draft.unlink(missing_ok=True)
    _write(wanted.card, yaml.safe_dump(about, sort_keys=False, allow_unicode=True))
    return Converted(card, len(weights))


def _check(wanted: Conversion, family: Family) -> None:
    if family.combine is not None:
        raise UsageError(
            f"family {family.name!r} combines models: it has no checkpoint of its own. Convert each of them, and list "
            "their cards under `models` (docs/writing-a-card.md)"
        )
    if wanted.out.suffix != ".safetensors":
        raise UsageError(f"{str(wanted.out)!r} is no name for the converted file. End it in .safetensors")
    taken = [str(path) for path in (wanted.out, wanted.card) if path.exists()]
    if taken and not wanted.force:
        raise UsageError(f"{' and '.join(taken)} exist{'s' * (len(taken) == 1)}. Give another name, or --force")


def _plain(config: Config, wanted: Conversion) -> Config:
    """The settings as a file can hold them."""
    try:
        plain: dict[str, object] = json.loads(json.dumps(config))
    except (TypeError, ValueError) as error:
        raise WeightsError(
            f"the settings of {wanted.file!r} are not plain data ({error}). Give them: --set KEY=VALUE"
        ) from error
    return plain


def _built(family: Family, config: Config, weights: Mapping[str, Tensor]) -> Generator | Classifier:
    said = f"family {family.name!r} builds no model of the settings {json.dumps(config)[:300]}"
    built = _trying(lambda: family.build(config, weights), said, "give what the file does not hold: --set KEY=VALUE")
    if not isinstance(built, (Generator, Classifier)):
        raise CardError(f"{said}, but {type(built).__name__}. Repair the plug-in that registers it")
    return built


def _about(built: Generator | Classifier, registry: Registry, wanted: Conversion) -> dict[str, object]:
    """What the card says of the model."""
    image: ImageSpec
    if isinstance(built, Classifier):  # it takes images of any size
        image = registry.dataset(wanted.dataset, offline=wanted.offline).image
    else:
        image = built.image
    about: dict[str, object] = {
        "name": wanted.out.stem if wanted.name is None else wanted.name,
        "family": wanted.family,
        "dataset": wanted.dataset,
        "image": list(image),
        "num_classes": built.num_classes,
    }
    if isinstance(built, Classifier):
        about["kind"] = "reference"
    elif built.native.name != "z":
        about["space"] = built.native.name
    if wanted.licence:
        about["licence"] = wanted.licence
    return about


def _unread(family: Family, written: Path, config: Config, weights: Mapping[str, Tensor]) -> dict[str, object]:
    """The settings that the family does not read from the converted file, so that the card must give them.

    Raises WeightsError where it reads other tensors than were written.
    """
    said = f"family {family.name!r} cannot read what was converted"
    again, tensors = _trying(lambda: family.read(written), said)
    if faults := [name for name in {*tensors, *weights} if not _same(tensors.get(name), weights.get(name))]:
        raise WeightsError(f"{said}: other tensors are read, {', '.join(sorted(faults)[:5])}. Use the file as it is")
    return {name: value for name, value in config.items() if name not in again or again[name] != value}


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None or one.dtype != other.dtype or one.shape != other.shape:
        return False
    return torch.equal(one.contiguous().flatten().view(torch.uint8), other.contiguous().flatten().view(torch.uint8))


def _trying(act: Callable[[], T], what: str, advice: str = "") -> T:
    """What the family gives; what a stranger's may raise is told as WeightsError."""
    try:
        return act()
    except PreimageError:
        raise
    except Exception as error:
        advice = advice or "Check that the file is of this family"
        raise WeightsError(f"{what}: {type(error).__name__}: {error}. {advice[0].upper()}{advice[1:]}") from error


def _write(path: Path, text: str) -> None:
    """The file whole, or not at all."""
    try:
        with NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", encoding="utf-8", delete=False) as draft:
            draft.write(text)
        Path(draft.name).chmod(0o644)
        Path(draft.name).replace(path)
    except OSError as error:
        raise WeightsError(f"cannot write the card {str(path)!r}: {error}. Check the folder and the disk") from error
