"""Plans: what a command will measure, known before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from preimage.harness.benchmark import Ask, Benchmark, Data, Model
from preimage.harness.cards import ModelCard
from preimage.harness.derived_names import HUB
from preimage.harness.distances import identity_of
from preimage.harness.errors import Refused, UsageError
from preimage.harness.failures import Failure
from preimage.harness.options import distances_named, extractor_named, guess, merged, options_from
from preimage.harness.plugins import Registry, expand
from preimage.harness.requests import ModelKey, Request, Split
from preimage.harness.suites import Suite
from preimage.harness.world import World


@dataclass(frozen=True)
class Selection:
    """What a command asks for: names and globs, settings, a suite."""

    models: tuple[str, ...] = ()
    benchmarks: tuple[str, ...] = ()
    dataset: str | None = None
    suite: Suite | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Evaluation:
    """A benchmark applied to a model. Status "" until it is decided; then ok, refused or failed, with the reason."""

    card: ModelCard
    dataset: str
    benchmark: Benchmark[Any]
    suite: str
    options: Any
    key: ModelKey
    asks: dict[str, Ask] = field(default_factory=dict)
    status: str = ""
    reason: str = ""
    trace: str = ""

    def fail(self, failure: Failure) -> None:
        """Decide that it failed, and why."""
        self.status, self.reason, self.trace = "failed", failure.reason, failure.trace


@dataclass(frozen=True)
class Work:
    """A request, how many of its images are wanted, and which blocks of them are not stored yet.

    images: how many the missing blocks hold; a block is measured whole, and ends where the split does.
    """

    request: Request
    key: str
    count: int
    missing: tuple[int, ...]
    images: int

    @property
    def evaluations(self) -> int:
        """The generator evaluations that the missing blocks take: exactly, or at most where images can stop early."""
        return self.request.evaluations(self.images) if self.missing else 0


@dataclass(frozen=True)
class Plan:
    """Evaluations, and the work they need in stages, each building on those before."""

    evaluations: list[Evaluation]
    stages: list[list[Work]]
    left_out: tuple[str, ...] = ()
    """Models that would be downloaded, and that nobody has asked for by name."""

    @property
    def work(self) -> list[Work]:
        """All work, in order."""
        return [work for stage in self.stages for work in stage]


def make_plan(registry: Registry, world: World, selection: Selection, stored: Callable[[str], set[int]]) -> Plan:
    """The plan of a command. stored: which blocks of a request (by key) are there already.

    A model that cannot be loaded becomes a failed evaluation, one that a benchmark refuses a refused one.
    Raises UsageError for unknown names and options.
    """
    evaluations: list[Evaluation] = []
    suite = selection.suite
    chosen = expand(
        registry.benchmarks, selection.benchmarks or (tuple(suite.benchmarks) if suite else tuple(registry.benchmarks))
    )
    options = _options(registry, chosen, selection)
    for distance in dict.fromkeys(d for chosen_options in options.values() for d in distances_named(chosen_options)):
        world.distance(distance)  # weights that cannot be had end the command before anything is measured
    for extractor in dict.fromkeys(map(extractor_named, options.values())):
        if extractor is not None:
            world.backbone(extractor)
    if selection.dataset is not None:
        registry.check_dataset(selection.dataset)  # an unknown name is a usage error here, a refusal from a card
    names, left_out = _models(registry, selection)
    for name in names:
        card = registry.models[name]
        dataset = selection.dataset or (suite.dataset if suite and suite.dataset else None) or card.dataset
        mine = [
            Evaluation(
                card, dataset, registry.benchmarks[b], suite.name if suite else "", options[b], ModelKey(name, "")
            )
            for b in chosen
        ]
        evaluations += mine
        _ask(mine, name, dataset, world)
    return Plan(evaluations, stages_of(evaluations, stored, world), left_out)


def _models(registry: Registry, selection: Selection) -> tuple[list[str], tuple[str, ...]]:
    """The models that are asked for, and those left out: where none are named, installed ones with weights on the Hub.

    A run must not depend on what happens to be downloaded, nor download every model there is. What the command brings
    itself (``--card``, ``--plugin``) it means.
    """
    patterns = selection.models or (selection.suite.models if selection.suite else ("*",))
    names = expand(registry.models, patterns)
    if patterns != ("*",):
        return names, ()
    left_out = tuple(name for name in names if _on_the_hub(registry.models[name]) and not registry.brought(name))
    return [name for name in names if name not in left_out], left_out


def _on_the_hub(card: ModelCard) -> bool:
    return card.weights is not None and card.weights.uri.startswith(HUB)


def _options(registry: Registry, chosen: Sequence[str], selection: Selection) -> dict[str, Any]:
    suite = selection.suite
    used: set[str] = set()
    if suite is not None:
        _check_suite(suite, registry)
    options = {}
    for name in chosen:
        kind = registry.benchmarks[name].options
        known = set(kind.__dataclass_fields__)
        source = f"suite {suite.name!r}, benchmark {name!r}" if suite else f"benchmark {name!r}"
        settings: dict[str, Any] = {}
        if suite is not None:
            settings = merged(_known(suite.options, known), suite.benchmarks.get(name, {}))
        own = _known(selection.settings, known)
        used |= set(own)
        options[name] = options_from(kind, merged(settings, own), registry.choices, source=source)
        for distance in distances_named(options[name]):
            registry.check_distance(distance)  # an unknown name is a usage error, not a failed row
        if (extractor := extractor_named(options[name])) is not None:
            registry.backbones[extractor]
    if unknown := sorted(set(selection.settings) - used):
        every = {key for name in chosen for key in registry.benchmarks[name].options.__dataclass_fields__}
        raise UsageError(
            f"--set {unknown[0]}=...: no benchmark of this run has that option.{guess(unknown[0], every)} "
            f"Options: {', '.join(sorted(every))}"
        )
    return options


def _check_suite(suite: Suite, registry: Registry) -> None:
    """Raises UsageError for a shared option that none of the suite's benchmarks has: it would be ignored."""
    known = {key for name in suite.benchmarks for key in registry.benchmarks[name].options.__dataclass_fields__}
    for key in suite.options:
        if key.partition(".")[0] not in known:
            raise UsageError(
                f"suite {suite.name!r}: none of its benchmarks has the option {key!r}.{guess(key, known)} "
                f"Options: {', '.join(sorted(known))}"
            )


def _known(settings: Mapping[str, Any], known: set[str]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key.partition(".")[0] in known}


def _ask(evaluations: list[Evaluation], name: str, dataset: str, world: World) -> None:
    try:
        world.registry.check_dataset(dataset)
    except UsageError as unknown:
        for evaluation in evaluations:
            evaluation.status, evaluation.reason = "refused", f"its data set is not installed: {unknown}"
        return
    try:
        data, model = world.data(dataset), world.model(name)
    except Exception as error:  # a stranger's data or model may raise anything; the others go on
        for evaluation in evaluations:
            evaluation.fail(Failure.of(error))
        return
    for evaluation in evaluations:
        _ask_one(evaluation, model, data, world)


def asks_of(benchmark: Benchmark[Any], model: Model, data: Data, options: Any, world: World) -> dict[str, Ask]:
    """What a benchmark asks for, by role, each request with the identities of what it names: distances, extractors."""
    return {
        role: Ask(
            ask.request.identified(
                lambda name: identity_of(world.distance(name)), lambda name: world.backbone(name).identity
            ),
            ask.count,
        )
        for role, ask in benchmark.requests(model, data, options).items()
    }


def _ask_one(evaluation: Evaluation, model: Model, data: Data, world: World) -> None:
    evaluation.key = model.key
    try:
        evaluation.asks = asks_of(evaluation.benchmark, model, data, evaluation.options, world)
    except Refused as refusal:
        evaluation.status, evaluation.reason = "refused", str(refusal)
    except UsageError:
        raise
    except Exception as error:
        evaluation.fail(Failure.of(error))


def stages_of(evaluations: list[Evaluation], stored: Callable[[str], set[int]], world: World) -> list[list[Work]]:
    """The work that evaluations need, in stages, each building on those before."""
    counts: dict[Request, int] = {}
    depth: dict[Request, int] = {}

    def visit(request: Request, count: int) -> int:
        counts[request] = max(count, counts.get(request, 0))
        depth[request] = max([1 + visit(needed, count if n is None else n) for needed, n in request.needs()], default=0)
        return depth[request]

    for evaluation in evaluations:
        for ask in evaluation.asks.values():
            visit(ask.request, ask.count)
    stages: list[list[Work]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for request, count in counts.items():
        key = request.key()
        have = stored(key)
        missing = tuple(number for number in request.blocks(count) if number not in have)
        stages[depth[request]].append(Work(request, key, count, missing, _images(request, count, missing, world)))
    return stages


def _images(request: Request, count: int, missing: Sequence[int], world: World) -> int:
    """How many images the missing blocks hold. A request of no images has one row per thing counted."""
    source = getattr(request, "images", None)
    if isinstance(source, Split):
        size = world.dataset(source.dataset).size(source.split)
    else:
        size = count if source is None else max(request.blocks(count), default=-1) * request.block + request.block
    return sum(min(request.block, size - number * request.block) for number in missing)
