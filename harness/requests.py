"""Requests: what can be measured, each named by everything that can change its numbers.

A request's identity is the hash of its content. Rows belong to fixed blocks of images ``[k B, (k + 1) B)``; how many
images a run asks for is not part of a request. Nothing here imports torch.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from preimage.harness.errors import UsageError
from preimage.harness.operators import Identity

if TYPE_CHECKING:
    from preimage.harness.operators import Operator
    from preimage.harness.rows import Block
    from preimage.harness.solvers.interface import Solver
    from preimage.harness.world import World

LabelRule: TypeAlias = Literal["none", "true", "every", "part"]
"""Under which label an image is recovered: none, its own, each of the model's in turn (one row per label), or by each
part of a mixture in turn (one row for all parts)."""


@dataclass(frozen=True)
class ModelKey:
    """A model's name and the hash of its family, settings and weights (of version and state, if defined in code)."""

    name: str
    identity: str


@dataclass(frozen=True)
class Split:
    """The images of a data set's split, by the hash of their content."""

    dataset: str
    split: str
    fingerprint: str


@dataclass(frozen=True)
class Samples:
    """The model's own samples: code i from the stream ``(seed, "samples", i)``, its label uniform, a mixture's part by
    the parts' weights."""

    seed: int = 0


Images: TypeAlias = Split | Samples


@dataclass(frozen=True, kw_only=True)
class Request:
    """A measurement that can be asked for. Subclasses are frozen dataclasses; every field is part of the identity.

    block: images per block, measured together. threads: threads of one measurement; matrix libraries sum in an order
    that depends on both, so they belong here. seed: of every random stream.
    """

    kind: ClassVar[str]
    version: ClassVar[int] = 1
    """Raised when the measurement's numbers change."""

    model: ModelKey
    block: int = 64
    threads: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("block", "threads"):
            if getattr(self, name) < 1:
                raise UsageError(f"`{name}` is {getattr(self, name)}; it must be at least 1")

    def describe(self) -> dict[str, Any]:
        """The request as plain data: what is hashed, stored and shown as the protocol."""
        return {
            "kind": self.kind,
            "version": self.version,
            **{f.name: _plain(getattr(self, f.name)) for f in dataclasses.fields(self)},
        }

    def key(self) -> str:
        """The request's identity: sha256 of its content, 64 hexadecimal digits."""
        text = json.dumps(self.describe(), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def needs(self) -> tuple[tuple[Request, int | None], ...]:
        """Requests that must be measured first, each with how many images of it; None: as many as of this one."""
        return ()

    def evaluations(self, images: int) -> int:
        """The most generator evaluations that measuring so many images takes."""
        raise NotImplementedError

    @property
    def spends_all(self) -> bool:
        """Whether measuring takes exactly ``evaluations``: no image can stop before its budget is spent.

        But for one whose search went non-finite: it starts again.
        """
        return True

    def measure(self, block: int, world: World) -> Block:
        """The rows of one block."""
        raise NotImplementedError

    def identified(self, distance: Callable[[str], str], extractor: Callable[[str], str] | None = None) -> Request:
        """The request with ``distance_identity`` filled in wherever it, or a request inside it, names a distance.

        distance: a distance's name to the hash of what its numbers depend on (see ``Distance``). extractor: likewise
        of an extractor's name, for ``extractor_identity``.
        """
        kinds = {"distance": distance} | ({} if extractor is None else {"extractor": extractor})
        named: Request = _identified(self, kinds)
        return named

    def blocks(self, count: int) -> range:
        """The numbers of the blocks that hold images 0 to count - 1."""
        return range(-(-count // self.block))


def _plain(value: Any) -> Any:
    if isinstance(value, Request):
        return value.describe()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        name = getattr(
            type(value), "name", None
        )  # solvers and operators have one; other records are told by their type
        kind = {"is": type(value).__name__.lower()} if name is None else {"name": name}
        return {**kind, **{f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}}
    if isinstance(value, (tuple, list)):
        return [_plain(part) for part in value]
    return value


def _identified(value: Any, identity: Mapping[str, Callable[[str], str]]) -> Any:
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    changed = {}
    for f in dataclasses.fields(value):
        kind, old = f.name.removesuffix("_identity"), getattr(value, f.name)
        named = f.name.endswith("_identity") and kind in identity
        new = identity[kind](getattr(value, kind)) if named else _identified(old, identity)
        if new is not old:
            changed[f.name] = new
    return dataclasses.replace(value, **changed) if changed else value


@dataclass(frozen=True, kw_only=True)
class ModelMetric(Request):
    """The model's metric (METHODS 13), one row per label: ``A = mean over draws of J^T J / D``, [dim, dim].

    operator: one that acts on both sides; the metric is then that of the operated images.
    """

    kind: ClassVar[str] = "metric"
    space: str
    distance: str
    distance_identity: str = ""
    operator: Operator = field(default_factory=Identity)
    dim: int
    labels: int
    """How many labels, or parts of a mixture: 0 for another unconditional model, which has one metric."""
    draws: int = 64
    block: int = 1

    def evaluations(self, images: int) -> int:
        return images * self.draws * self.dim

    def measure(self, block: int, world: World) -> Block:
        from preimage.harness.measurements.metric import measure_metric

        return measure_metric(self, block, world)


@dataclass(frozen=True, kw_only=True)
class First:
    """A run's first steps in another distance: ``squared-l2`` to start, LPIPS to finish. The solver is the same.

    steps: how many of the solver's; the others follow from the best code found, in the recovery's own distance.
    """

    distance: str
    distance_identity: str = ""
    steps: int
    metric: ModelMetric | None = None


@dataclass(frozen=True, kw_only=True)
class Recovery(Request):
    """Images projected onto the generator's range, ``argmin_z distance(phi(G(z, y)), phi(x)) + penalty(z)``, METHODS 1.

    draws: the start of each restart is the nearest, in l2, of so many prior samples; every restart has its own, shared
    by all images. first: another distance for the first steps of each run. penalty: Creswell's beta. project: keep
    codes in the prior's plausible set after every step. trained_start: the first restart of a training image begins at
    the code that the model was trained with. operator: phi; one that acts on the target alone leaves generated images
    as they are. Of a mixture's parts the one that ends at the least objective counts.
    """

    kind: ClassVar[str] = "recovery"
    images: Images
    label: LabelRule
    space: str
    distance: str
    distance_identity: str = ""
    solver: Solver[Any]
    operator: Operator = field(default_factory=Identity)
    restarts: int = 1
    draws: int = 1
    penalty: float = 0.0
    project: bool = False
    labels: int = 0
    metric: ModelMetric | None = None
    first: First | None = None
    trained_start: bool = False

    def describe(self) -> dict[str, Any]:
        said = super().describe()
        if not self.trained_start:  # so that recoveries without it are what they were before there was any
            del said["trained_start"]
        return said

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("restarts", "draws"):
            if getattr(self, name) < 1:
                raise UsageError(f"`{name}` is {getattr(self, name)}; it must be at least 1")
        if self.solver.steps < 1:
            raise UsageError(f"`solver.steps` is {self.solver.steps}; it must be at least 1")
        if self.first is not None and not 0 < self.first.steps < self.solver.steps:
            raise UsageError(
                f"{self.first.steps} of {self.solver.steps} steps would be in the first distance; both distances need "
                "at least one: set first_share or solver.steps"
            )

    def needs(self) -> tuple[tuple[Request, int | None], ...]:
        metrics = (self.metric, self.first.metric if self.first is not None else None)
        return tuple((metric, max(1, metric.labels)) for metric in metrics if metric is not None)

    def evaluations(self, images: int) -> int:
        passes = self.labels if self.label in ("every", "part") else 1
        own = images if isinstance(self.images, Samples) else 0
        return images * passes * (self.restarts * self.solver.steps + 1) + own

    @property
    def spends_all(self) -> bool:
        return self.solver.patience == 0 or self.solver.steps == 1

    def measure(self, block: int, world: World) -> Block:
        from preimage.harness.measurements.recovery import measure_recovery

        return measure_recovery(self, block, world)


@dataclass(frozen=True, kw_only=True)
class Neighbours(Request):
    """The nearest training image of each image (METHODS 7), or the nearest of each label: no codes, no generator.

    operator: as in a recovery; training images stand for generated ones. leave_one_out: an image that is itself a
    training image does not count as its own neighbour; off for scores, where a memoriser's training error is 0.
    """

    kind: ClassVar[str] = "neighbours"
    images: Split
    train: Split
    train_size: int
    label: LabelRule
    distance: str
    distance_identity: str = ""
    operator: Operator = field(default_factory=Identity)
    labels: int = 0
    leave_one_out: bool = False
    block: int = field(default=64)

    def evaluations(self, images: int) -> int:
        return 0

    def measure(self, block: int, world: World) -> Block:
        from preimage.harness.measurements.neighbours import measure_neighbours

        return measure_neighbours(self, block, world)
