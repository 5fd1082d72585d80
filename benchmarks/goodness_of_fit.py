"""Goodness of fit: how far, on average, real images are from the nearest image that the model can make."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from preimage.benchmarks.per_distance import PerDistance
from preimage.benchmarks.variants import variant
from preimage.harness.asking import recovery_of_split
from preimage.harness.benchmark import Ask, Data, MetricInfo, Model, Score
from preimage.harness.errors import Refused
from preimage.harness.options import RecoveryOptions
from preimage.harness.rows import Rows
from preimage.harness.settings import option


@dataclass(frozen=True, kw_only=True)
class GoodnessOfFitOptions(RecoveryOptions):
    """How images are recovered for F: as elsewhere, but by the norm, which is not squared.

    The square of a norm is least where the norm is, so ``squared-l2`` gives the same F, from rows that other benchmarks
    measure too.
    """

    distance: str = option("l2", "what is minimised over codes, and averaged; of squared-l2 the root, which is l2")


class GoodnessOfFit(PerDistance[GoodnessOfFitOptions]):
    """F(G, X), the mean distance of images X from the range of G; 0 is necessary for an optimal model.

    "A Goodness of Fit Measure for Generative Networks", section 3. F over a model's checkpoints is an early-stopping
    curve: falling on training images while it rises on validation images is overfitting.
    """

    name = "goodness-of-fit"
    version = 1
    question = "How far are real images from the nearest one that the model can make?"
    formula = "F(G, X) = 1/N Σₙ min_z ‖G(z) − xₙ‖₂"
    options = GoodnessOfFitOptions
    metrics: ClassVar[Mapping[str, MetricInfo]] = {
        "f_val": MetricInfo(
            "pixel norm", "lower", "mean over validation images of the distance to the model's range", ("val",)
        ),
        "f_train": MetricInfo(
            "pixel norm", "none", "mean over training images of the distance to the model's range", ("train",)
        ),
    }

    def requests_in_one(self, model: Model, data: Data, options: GoodnessOfFitOptions) -> dict[str, Ask]:
        """The model's training images, and validation images."""
        if "train" not in data.sizes:
            raise Refused(f"data set {data.name!r} has no training split")
        return {role: recovery_of_split(model, data, role, options) for role in ("train", "val")}

    def summarise_in_one(self, rows: Mapping[str, Rows], options: GoodnessOfFitOptions) -> list[Score]:
        """The mean distance of each."""
        from preimage.harness import statistics

        value = "l2" if options.distance in ("l2", "squared-l2") else "distance"
        suffix = variant(options if value == "distance" else dataclasses.replace(options, distance="l2"))
        return [Score(f"f_{role}{suffix}", statistics.mean(rows[role][value])) for role in ("train", "val")]
