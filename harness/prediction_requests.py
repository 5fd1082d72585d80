"""Predictions: what a classifier takes images for. The supervised ceiling of generative classification (METHODS 5)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from preimage.harness.benchmark import Ask, Data, Model
from preimage.harness.errors import Refused
from preimage.harness.operators import Identity
from preimage.harness.options import RecoveryOptions
from preimage.harness.requests import Request, Split

if TYPE_CHECKING:
    from preimage.harness.operators import Operator
    from preimage.harness.rows import Block
    from preimage.harness.world import World


@dataclass(frozen=True, kw_only=True)
class Predictions(Request):
    """The class that a classifier takes each image for, and its probability: one row per image, no generator.

    labels: how many classes. operator: what is done to the images before the classifier sees them.
    """

    kind: ClassVar[str] = "predictions"
    images: Split
    labels: int
    operator: Operator = field(default_factory=Identity)

    def evaluations(self, images: int) -> int:
        return 0

    def measure(self, block: int, world: World) -> Block:
        from preimage.harness.measurements.predictions import measure_predictions

        return measure_predictions(self, block, world)


def predictions_of_split(model: Model, data: Data, split: str, options: RecoveryOptions) -> Ask:
    """The classifier's answers for the first ``options.limit`` images of a split; of any size, it makes them ready.

    Raises Refused where it tells other classes apart, or takes one channel and images have three.
    """
    if data.num_classes < 2:
        raise Refused(f"data set {data.name!r} has no classes")
    if model.card.num_classes != data.num_classes:
        raise Refused(
            f"a classifier of {model.card.num_classes} classes; data set {data.name!r} has {data.num_classes}"
        )
    if model.card.image.channels < data.image.channels:
        raise Refused(
            f"a classifier of images of {model.card.image}; data set {data.name!r} has {data.image}. "
            f"Add @{model.card.image} to the data set's name or path to have them converted"
        )
    size = data.size(split)
    options.operator.check(data.image)
    request = Predictions(
        model=model.key,
        images=data.split(split),
        labels=data.num_classes,
        operator=options.operator,
        block=options.block,
        threads=options.threads,
        seed=options.seed,
    )
    return Ask(request, size if options.limit is None else min(options.limit, size))
