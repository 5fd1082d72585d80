"""From a card to a generator that can be measured, and to the identity its results are stored under."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from preimage.harness.cards import Config, ModelCard, Weights
from preimage.harness.classifiers import Classifier
from preimage.harness.composites import family_of, is_composite, parts_of, weights_of_part
from preimage.harness.errors import CardError, GeneratorError
from preimage.harness.generator import Generator, prepare
from preimage.harness.plugins import Registry, installed
from preimage.harness.requests import ModelKey
from preimage.harness.weights import locate, sha256_of


class Loaded(NamedTuple):
    """A model's generator, prepared, and the identity of the model."""

    generator: Generator
    key: ModelKey


def build(family: str, config: Config, weights: Mapping[str, Tensor]) -> Generator:
    """The generator of a registered family from the official constructor settings and weights, prepared on the CPU.

    Raises UnknownName for a family that is not installed, WeightsError for weights that do not fit, CardError for a
    family that makes something else.
    """
    built = installed().families[family].build(config, weights)
    if not isinstance(built, Generator):
        raise CardError(f"family {family!r} builds {type(built).__name__}, not a generator")
    return prepare(built)


def load(
    card: ModelCard, registry: Registry, device: torch.device | str = "cpu", *, offline: bool = False
) -> Generator:
    """The model's generator, prepared on the device.

    Raises CardError for a family that is not installed or a generator that is not what the card says.
    """
    return load_with_key(card, registry, device, offline=offline).generator


def load_with_key(
    card: ModelCard,
    registry: Registry,
    device: torch.device | str = "cpu",
    *,
    offline: bool = False,
    inside: Sequence[ModelCard] = (),
) -> Loaded:
    """The model's generator and its identity. inside: the models that it is a part of."""
    if card.kind == "reference":
        raise CardError(f"{card.name!r} is a reference: it has no generator")
    parts: list[str] = []
    generator: object
    if card.load is not None:
        generator = card.load(torch.device(device))
    elif is_composite(card, registry):
        generator, parts = _combined(card, registry, device, offline, inside)
    else:
        config, weights = _read(card, registry, offline)
        generator = family_of(card, registry).build(config, weights)
    if isinstance(generator, Classifier):
        raise CardError(f"card {card.name!r}: family {card.family!r} makes classifiers; write `kind: reference`")
    if not isinstance(generator, Generator):
        raise GeneratorError(
            f"model {card.name!r}: its loader returned {type(generator).__name__}, not a preimage Generator"
        )
    _check_against_card(generator, card)
    prepared = prepare(generator, device)
    return Loaded(prepared, model_key(card, prepared, parts=parts, offline=offline))


def is_classifier(card: ModelCard, registry: Registry) -> bool:
    """Whether the card is of a classifier: a reference whose family makes them."""
    known = card.kind == "reference" and card.family in registry.families
    return known and registry.families[card.family].makes == "classifier"


def load_classifier(
    card: ModelCard, registry: Registry, device: torch.device | str = "cpu", *, offline: bool = False
) -> Classifier:
    """The network of a classifier's card, on the device.

    Raises CardError where the card is of something else, or has another number of classes than the network.
    """
    if not is_classifier(card, registry):
        raise CardError(f"{card.name!r} is no classifier: its family {card.family!r} makes none")
    config, weights = _read(card, registry, offline)
    network = registry.families[card.family].build(config, weights)
    if not isinstance(network, Classifier):
        raise GeneratorError(
            f"model {card.name!r}: its family made {type(network).__name__}, not a preimage Classifier"
        )
    if network.num_classes != card.num_classes:
        raise CardError(
            f"card {card.name!r}: `num_classes` is {card.num_classes}, the network tells {network.num_classes} apart. "
            "Correct the card, or its config"
        )
    return network.to(device).eval().requires_grad_(False)


def weights_of(card: ModelCard, registry: Registry) -> Weights | None:
    """Where the model's weights lie: what the card says, else what its family says of released ones, if anything."""
    if card.weights is not None or card.load is not None or card.family not in registry.families:
        return card.weights
    released = registry.families[card.family].released
    return None if released is None else released(card.config)


def model_key(
    card: ModelCard,
    loaded: Generator | Classifier | None,
    *,
    parts: Sequence[str] = (),
    offline: bool = False,
) -> ModelKey:
    """The model's identity: the hash of family, settings, weights and version (of its state, if it is code).

    parts: the identities of the models that it is made of. A classifier is identified by what it says of itself: name,
    settings, tensors, preprocessing.
    """
    said: dict[str, object] = {
        "family": card.family,
        "config": dict(card.config),
        "version": card.version,
        "kind": card.kind,
    }
    if parts:  # where their cards lie is no part of it
        said["config"] = {name: value for name, value in card.config.items() if name != "models"}
        said["parts"] = list(parts)
    if isinstance(loaded, Classifier):
        said["network"] = loaded.identity
    elif card.load is not None and loaded is not None:
        said["state"] = _state_hash(loaded)
    elif card.weights is not None:
        said["weights"] = card.weights.sha256 or sha256_of(locate(card.weights, offline=offline))
    text = json.dumps(said, sort_keys=True, default=str)
    return ModelKey(card.name, hashlib.sha256(text.encode()).hexdigest())


def _read(card: ModelCard, registry: Registry, offline: bool) -> tuple[dict[str, object], dict[str, Tensor]]:
    """Settings and weights: those of the file, and the card's settings where both say something."""
    family, found = family_of(card, registry), weights_of(card, registry)
    if found is None:
        return dict(card.config), {}
    config, weights = family.read(locate(found, offline=offline))
    return {**config, **card.config}, dict(weights)


def _combined(
    card: ModelCard, registry: Registry, device: torch.device | str, offline: bool, inside: Sequence[ModelCard]
) -> tuple[Generator, list[str]]:
    """The generator of a model that is made of others, and the identities of these."""
    combine = family_of(card, registry).combine
    assert combine is not None  # is_composite has seen to it
    config, weights = _read(card, registry, offline)
    generators, identities = [], []
    for number, part in enumerate(parts_of(card, registry, inside)):
        own = weights_of_part(weights, number)
        if own and part.weights is None and part.load is None:
            generator = prepare(_built(part, registry, own), device)
            loaded = Loaded(generator, model_key(part, None, offline=offline))
        else:
            loaded = load_with_key(part, registry, device, offline=offline, inside=[*inside, card])
        generators.append(loaded.generator)
        identities.append(loaded.key.identity)
    return combine(config, generators), identities


def _built(part: ModelCard, registry: Registry, weights: Mapping[str, Tensor]) -> Generator:
    built = family_of(part, registry).build(part.config, weights)
    if not isinstance(built, Generator):
        raise CardError(f"{part.name!r}: family {part.family!r} builds {type(built).__name__}, not a generator")
    _check_against_card(built, part)
    return built


def _check_against_card(generator: Generator, card: ModelCard) -> None:
    for name in ("spaces", "image", "num_classes"):
        if not hasattr(generator, name):
            raise GeneratorError(f"model {card.name!r}: its generator does not set `{name}`")
    if tuple(generator.image) != tuple(card.image):
        raise CardError(f"card {card.name!r}: `image` is {card.image}, the generator makes {tuple(generator.image)}")
    if generator.num_classes != card.num_classes:
        raise CardError(
            f"card {card.name!r}: `num_classes` is {card.num_classes}, the generator has {generator.num_classes}"
        )
    shares = generator.part_weights
    if shares and (generator.num_classes or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6):
        raise GeneratorError(
            f"model {card.name!r}: its generator has `part_weights` {list(shares)} and {generator.num_classes} "
            "classes; the weights of a mixture are above 0 with the sum 1, and it has no classes"
        )
    if card.space not in generator.spaces:
        raise CardError(
            f"card {card.name!r}: `space` is {card.space!r}, the generator has {', '.join(generator.spaces)}"
        )


def _state_hash(generator: Generator) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(generator.state_dict().items()):
        digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(_bytes(tensor))
    for path, module in generator.named_modules():  # what decode reads need not be a buffer
        for name, value in sorted(vars(module).items()):
            if name.startswith("_") or name == "training":
                continue
            if isinstance(value, (Tensor, np.ndarray)):
                digest.update(f"{path}.{name}".encode() + _bytes(torch.as_tensor(value)))
            elif isinstance(value, (bool, int, float, str)):
                digest.update(f"{path}.{name}={value!r}".encode())
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
