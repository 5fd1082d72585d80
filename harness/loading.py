"""From a card to a generator that can be measured, and to the identity its results are stored under."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from preimage.harness.cards import Config, ModelCard
from preimage.harness.errors import CardError, GeneratorError, UnknownName
from preimage.harness.generator import Generator, prepare
from preimage.harness.plugins import Registry, installed
from preimage.harness.requests import ModelKey
from preimage.harness.weights import locate, sha256_of


def build(family: str, config: Config, weights: Mapping[str, Tensor]) -> Generator:
    """The generator of a registered family from the official constructor settings and weights, prepared on the CPU.

    Raises UnknownName for a family that is not installed, WeightsError for weights that do not fit.
    """
    return prepare(installed().families[family].build(config, weights))


def load(
    card: ModelCard, registry: Registry, device: torch.device | str = "cpu", *, offline: bool = False
) -> Generator:
    """The model's generator, prepared on the device.

    Raises CardError for a family that is not installed or a generator that is not what the card says.
    """
    if card.kind == "reference":
        raise CardError(f"{card.name!r} is a reference: it has no generator")
    if card.load is not None:
        generator = card.load(torch.device(device))
    else:
        try:
            family = registry.families[card.family]
        except UnknownName as error:
            raise CardError(f"card {card.name!r}: {error}") from error
        config, weights = (dict[str, object](), dict[str, Tensor]())
        if card.weights is not None:
            read_config, read_weights = family.read(locate(card.weights, offline=offline))
            config, weights = dict(read_config), dict(read_weights)
        generator = family.build({**config, **card.config}, weights)
    if not isinstance(generator, Generator):
        raise GeneratorError(
            f"model {card.name!r}: its loader returned {type(generator).__name__}, not a preimage Generator"
        )
    _check_against_card(generator, card)
    return prepare(generator, device)


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
    if card.space not in generator.spaces:
        raise CardError(
            f"card {card.name!r}: `space` is {card.space!r}, the generator has {', '.join(generator.spaces)}"
        )


def model_key(card: ModelCard, generator: Generator | None, *, offline: bool = False) -> ModelKey:
    """The model's identity: the hash of family, settings, weights and version (of its state, if it is code)."""
    said: dict[str, object] = {
        "family": card.family,
        "config": dict(card.config),
        "version": card.version,
        "kind": card.kind,
    }
    if card.load is not None and generator is not None:
        said["state"] = _state_hash(generator)
    elif card.weights is not None:
        said["weights"] = card.weights.sha256 or sha256_of(locate(card.weights, offline=offline))
    text = json.dumps(said, sort_keys=True, default=str)
    return ModelKey(card.name, hashlib.sha256(text.encode()).hexdigest())


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
