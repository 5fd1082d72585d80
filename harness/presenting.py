"""A model presented: its card in words, its size, and what each benchmark would say to it."""

from __future__ import annotations

from preimage.harness.cards import ModelCard, Weights
from preimage.harness.composites import is_composite, parts_of
from preimage.harness.errors import PreimageError, Refused, WeightsError
from preimage.harness.generator import Generator
from preimage.harness.loading import is_classifier, weights_of
from preimage.harness.plugins import Registry
from preimage.harness.weights import here
from preimage.harness.world import World


def presented(name: str, registry: Registry) -> list[tuple[str, str]]:
    """(label, text) lines about a model. What cannot be told, because the model fails to load, is told as such."""
    card = registry.models[name]
    weights = weights_of(card, registry)
    if weights is not None and _somewhere_else(weights):
        return [*_card(card), ("size", f"told once its weights are here: type `preimage fetch {name}`")]
    world = World(registry)
    return [*_card(card), *_size(card, world), *_refusals(card, world)]


def _somewhere_else(weights: Weights) -> bool:
    """Whether the weights would have to be downloaded: nothing is, to show a card."""
    try:
        return here(weights) is None
    except WeightsError:
        return False  # an address that is none: told where the model is loaded


def _card(card: ModelCard) -> list[tuple[str, str]]:
    lines = [
        ("model", card.name),
        ("kind", card.kind),
        ("family", card.family),
        ("data set", card.dataset),
        ("images", str(card.image)),
        ("classes", str(card.num_classes or "none (unconditional)")),
        (
            "trained on",
            "the whole training split" if card.trained_on is None else f"its first {card.trained_on} images",
        ),
        ("licence", card.licence or "not stated"),
        ("paper", card.paper or "not stated"),
        ("tags", ", ".join(card.tags) or "none"),
    ]
    if card.weights is not None:
        lines += [("weights", card.weights.uri), ("sha256", card.weights.sha256 or "not pinned")]
    if card.parent is not None:
        lines.append(("checkpoint", f"step {card.step} of {card.parent}"))
    return lines + [("reported", f"{metric} = {value:g}") for metric, value in card.reported.items()]


def _size(card: ModelCard, world: World) -> list[tuple[str, str]]:
    if is_classifier(card, world.registry):
        return _classifier(card, world)
    if card.kind == "reference":
        return [("size", "a reference: it has no codes; neighbours answer for it")]
    try:
        generator = world.generator(card.name)
    except Exception as error:  # a stranger's loader may raise anything; the card is shown all the same
        return [("size", f"cannot be loaded: {type(error).__name__}: {error}")]
    values = sum(tensor.numel() for tensor in generator.state_dict().values())
    spaces = ", ".join(
        f"{space.name} ({space.dim}, {type(space.prior).__name__ if space.prior else 'no prior'})"
        for space in generator.spaces.values()
    )
    return [("size", f"{values:,} values"), ("spaces", spaces), *_parts(card, generator, world)]


def _parts(card: ModelCard, generator: Generator, world: World) -> list[tuple[str, str]]:
    """The parts of a mixture and their weights: by name where a card lists them, else by number."""
    if not generator.part_weights:
        return []
    listed = is_composite(card, world.registry)
    names = [part.name for part in parts_of(card, world.registry)] if listed else range(len(generator.part_weights))
    shares = zip(names, generator.part_weights, strict=True)
    return [("parts", ", ".join(f"{name} ({share:.3g})" for name, share in shares))]


def _classifier(card: ModelCard, world: World) -> list[tuple[str, str]]:
    try:
        network = world.classifier(card.name)
    except Exception as error:  # as above
        return [("size", f"cannot be loaded: {type(error).__name__}: {error}")]
    values = sum(tensor.numel() for tensor in network.state_dict().values())
    return [("size", f"a classifier of {values:,} values: it makes no images"), ("preprocessing", network.rule)]


def _refusals(card: ModelCard, world: World) -> list[tuple[str, str]]:
    lines = []
    for name, benchmark in world.registry.benchmarks.items():
        try:
            asks = benchmark.requests(world.model(card.name), world.data(card.dataset), benchmark.options())
            evaluations = sum(ask.request.evaluations(ask.count) for ask in asks.values())
            own = [ask for ask in asks.values() if not any(count is None for _, count in ask.request.needs())]
            text = f"scores it: {sum(ask.count for ask in own):,} images, at most {evaluations:,} evaluations"
        except Refused as refusal:
            text = f"refuses it: {refusal}"
        except PreimageError as error:
            text = f"cannot say: {error}"
        except Exception as error:  # as above
            text = f"cannot say: {type(error).__name__}: {error}"
        lines.append((name, text))
    return lines
