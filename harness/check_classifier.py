"""What every measurement takes for granted of a classifier, tested on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from preimage.harness.cards import ModelCard
from preimage.harness.check import COUNT, Broken, Finding
from preimage.harness.classifiers import Classifier
from preimage.harness.errors import GeneratorError
from preimage.harness.loading import load_classifier
from preimage.harness.measurements.predictions import checked_logits
from preimage.harness.plugins import Registry
from preimage.harness.streams import Streams, seed_of

Rule = Callable[[Classifier, Tensor], str]


@torch.no_grad()
def check_classifier(card: ModelCard, registry: Registry, device: str = "cpu") -> Iterator[Finding]:
    """Test every rule on a classifier, with images of noise. One that cannot be loaded has one finding."""
    try:
        network = load_classifier(card, registry, device)
        images = Streams([seed_of("check", i) for i in range(COUNT)], device).uniform(*card.image)
    except Exception as error:  # a stranger's family may raise anything
        yield Finding("load", "broken", f"{type(error).__name__}: {error}")
        return
    yield Finding("load", "held", f"a classifier of {network.num_classes} classes; {network.rule}")
    for name, rule in RULES.items():
        try:
            yield Finding(name, "held", rule(network, images))
        except Broken as error:
            yield Finding(name, "broken", str(error))
        except Exception as error:  # as above
            yield Finding(name, "broken", f"{type(error).__name__}: {error}")


def _logits(network: Classifier, images: Tensor) -> str:
    for count in (1, 3, COUNT):
        try:
            logits = checked_logits(network, images[:count], "it")
        except GeneratorError as error:
            raise Broken(str(error)) from error
    return f"[n, {network.num_classes}], finite, over [{float(logits.min()):.3g}, {float(logits.max()):.3g}]"


def _deterministic(network: Classifier, images: Tensor) -> str:
    torch.manual_seed(0)
    first = network.logits(images)
    torch.manual_seed(1)
    if not torch.equal(first, network.logits(images)):
        raise Broken("the same images gave other logits: no noise and no dropout may be left")
    return "the same images give the same bytes"


def _frozen(network: Classifier, images: Tensor) -> str:
    training = [name or "the network" for name, module in network.named_modules() if module.training]
    if training:
        raise Broken(f"in training mode: {', '.join(training[:3])}")
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.logits(images)
    changed = [name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])]
    if changed:
        raise Broken(f"logits change its own state: {', '.join(changed[:3])}")
    return "in eval mode; logits leave its state as it was"


def _independent(network: Classifier, images: Tensor) -> str:
    together = network.logits(images)
    alone = torch.cat([network.logits(images[i : i + 1]) for i in range(COUNT)])
    apart = float((together - alone).abs().max() / together.abs().max().clamp_min(1e-12))
    if not apart <= 1e-3:
        raise Broken(f"logits change by {apart:.3g} of the largest with the others of their batch: use eval mode")
    return f"logits are the same alone and in a batch, to {apart:.1g} of the largest"


def _identity(network: Classifier, images: Tensor) -> str:
    said = getattr(network, "identity", None)
    if not isinstance(said, str) or not said:
        raise Broken(f"its `identity` is {said!r}; it must hash all that its answers depend on")
    return f"identity {said[:12]}"


RULES: dict[str, Rule] = {
    "logits": _logits,
    "deterministic": _deterministic,
    "frozen": _frozen,
    "independent images": _independent,
    "identity": _identity,
}
