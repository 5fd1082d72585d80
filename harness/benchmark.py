"""Benchmarks: which rows they need and how rows become scores. Both are pure; neither imports torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar

from preimage.harness.cards import ImageSpec, ModelCard
from preimage.harness.errors import NotFiniteRows, Refused, UsageError
from preimage.harness.metric_names import declared
from preimage.harness.requests import ModelKey, Request, Split
from preimage.harness.rows import Estimate, Rows

Options = TypeVar("Options", contravariant=True)


@dataclass(frozen=True)
class MetricInfo:
    """What a metric is: its unit, which way is better, and one sentence.

    roles: the roles in `Benchmark.requests` whose images it is computed from; none: all of them. Two models are
    compared on a metric where they were measured on the same images in each of these.
    """

    unit: str
    better: Literal["higher", "lower", "none"]
    meaning: str
    roles: tuple[str, ...] = ()


class Score(NamedTuple):
    """A metric's estimate. A variant of a metric has a ``/`` suffix: ``auroc/constant/lpips-alex``.

    A family of metrics is declared once, by a name that ends in ``*``: ``share_*`` is that of ``share_svhn/50``.
    """

    metric: str
    estimate: Estimate


@dataclass(frozen=True)
class Ask:
    """A request and how many images of it are wanted."""

    request: Request
    count: int


@dataclass(frozen=True)
class Model:
    """What a benchmark may know of a model: its card, its identity, its latent spaces and their dimensions."""

    card: ModelCard
    key: ModelKey
    dims: Mapping[str, int]
    has_encoder: bool = False
    native: str = "z"
    priors: frozenset[str] | None = None
    """The spaces that have a prior; None: all."""
    densities: frozenset[str] | None = None
    """The spaces whose prior has a density; None: all."""
    classifies: bool = False
    """A reference that is a classifier: it answers predictions, and nothing else."""
    trained_codes: int = 0
    """How many of its training images' codes it keeps."""
    parts: int = 0
    """How many generators a mixture is made of; 0: it is none."""

    @property
    def labels(self) -> int:
        """What its codes are decoded under: so many classes, or the parts of a mixture; 0: under nothing."""
        return self.card.num_classes or self.parts

    @property
    def is_reference(self) -> bool:
        """Whether the model has no codes: neighbours answer for it, or predictions."""
        return self.card.kind == "reference"


@dataclass(frozen=True)
class Data:
    """What a benchmark may know of a data set: its images' shape, its classes, its splits by content.

    open_other: how ``other`` finds further data sets; None: there are none.
    """

    name: str
    image: ImageSpec
    num_classes: int
    sizes: Mapping[str, int]
    fingerprints: Mapping[str, str]
    open_other: Callable[[str, Data, bool], Data] | None = field(default=None, repr=False, compare=False)

    def other(self, name: str, *, if_present: bool = False) -> Data:
        """Another data set, its images in this one's shape: for images that the model was not trained on.

        name: ``inverted`` (this one's own images, inverted), or the name of any data set, registered or derived; where
        its images have another shape it is taken as ``NAME@CxHxW``. The result bears the whole name.
        if_present: download nothing. Raises Refused with the reason where it is not installed or cannot be opened.
        """
        if self.open_other is None:
            raise Refused(f"data set {self.name!r} is alone: {name!r} cannot be opened beside it")
        return self.open_other(name, self, if_present)

    def split(self, name: str) -> Split:
        """The split's identity; ``val`` is ``test`` where a set has none. Raises Refused."""
        resolved = self.resolve(name)
        return Split(self.name, resolved, self.fingerprints[resolved])

    def size(self, name: str) -> int:
        """How many images the split has."""
        return self.sizes[self.resolve(name)]

    def resolve(self, name: str) -> str:
        """The name of the split that answers to it."""
        if name == "val" and "val" not in self.sizes:
            name = "test"
        if name not in self.sizes:
            raise Refused(f"data set {self.name!r} has no split {name!r}; it has {', '.join(self.sizes)}")
        return name


class Benchmark(Protocol, Generic[Options]):
    """An evaluation. ``options`` is a frozen dataclass whose fields and their defaults are its options.

    It may have a ``formula``: one line of plain text, shown on its page.
    """

    name: str
    version: int
    question: str
    metrics: Mapping[str, MetricInfo]
    options: type[Any]

    def requests(self, model: Model, data: Data, options: Options) -> dict[str, Ask]:
        """What has to be measured, by role. Raises Refused with the reason where the model cannot be scored."""
        ...

    def summarise(self, rows: Mapping[str, Rows], options: Options) -> list[Score]:
        """Scores from the rows of each role: first images first, as many as were asked."""
        ...


def metric_info(benchmark: Benchmark[Any], metric: str) -> MetricInfo:
    """What a metric or a variant of it (``auroc/constant``) is."""
    return benchmark.metrics[declared(metric, benchmark.metrics) or metric]


def scored(
    benchmark: Benchmark[Any], rows: Mapping[str, Rows], options: Any
) -> tuple[list[Score], dict[str, MetricInfo]]:
    """The benchmark's scores from rows, and what each of their metrics is.

    Raises NotFiniteRows for a score that is not a number, UsageError for a metric that it does not declare.
    """
    scores = benchmark.summarise(rows, options)
    for score in scores:
        if not math.isfinite(score.estimate.value):
            raise NotFiniteRows(f"benchmark {benchmark.name!r} gives {score.metric} = {score.estimate.value}")
        if declared(score.metric, benchmark.metrics) is None:
            raise UsageError(
                f"benchmark {benchmark.name!r} gives the metric {score.metric!r}, which it does not declare: "
                f"add it to its `metrics` ({', '.join(benchmark.metrics)})"
            )
    return scores, {score.metric: metric_info(benchmark, score.metric) for score in scores}


def same_images(model: Model, data: Data) -> None:
    """Raises Refused where the model makes no images, or makes them in another shape than the data set's."""
    if model.classifies:
        raise Refused("a classifier: it makes no images")
    if model.card.image != data.image:
        raise Refused(
            f"makes images of {model.card.image}; data set {data.name!r} has {data.image}. "
            f"Add @{model.card.image} to the data set's name or path to have them resized"
        )
