"""Overfitting: does the model recover the images it was trained on better than images it has never seen?"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from preimage.benchmarks.per_distance import PerDistance
from preimage.benchmarks.variants import operator_suffix, variant
from preimage.harness.asking import recovery_of_samples, recovery_of_split
from preimage.harness.benchmark import Ask, Data, MetricInfo, Model, Score
from preimage.harness.errors import Refused, UsageError
from preimage.harness.operators import Identity, Operator, Warp
from preimage.harness.options import RecoveryOptions
from preimage.harness.rows import Rows
from preimage.harness.settings import choice

if TYPE_CHECKING:
    from preimage.harness.rows import Floats


@dataclass(frozen=True, kw_only=True)
class OverfittingOptions(RecoveryOptions):
    """How images are recovered, and how validation images are distorted for comparison."""

    distortion: Operator = field(
        default_factory=Warp,
        metadata=choice(
            "operator", "validation images so changed are recovered too; identity: none; set by distortion.sigma=..."
        ),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.distortion.both_sides:
            name = self.distortion.name
            raise UsageError(
                f"`distortion` is {name!r}, which acts on generated images too; choose one that changes targets alone, "
                f"e.g. warp, or measure everything under it: --set operator={name}"
            )

    @property
    def distorts(self) -> bool:
        """Whether distorted images are recovered: not where another operator is at work on all."""
        return not isinstance(self.distortion, Identity) and isinstance(self.operator, Identity)


class Overfitting(PerDistance[OverfittingOptions]):
    """Median recovery errors of training, validation and generated images (Webster et al., CVPR 2019).

    Flagged by ``ks_p_value < 0.01`` and, separately, by ``mre_gap > 0.10``. An operator that changes targets alone is
    not applied to the model's own samples. Distorted images are left out where another operator is at work on all.
    """

    name = "overfitting"
    version = 2
    question = "Has the model memorised its training images?"
    formula = "MRE(Y) = median over y in Y of min_z ‖G(z) − y‖₂² / D; gap = (MRE(val) − MRE(train)) / MRE(val)"
    options = OverfittingOptions
    metrics: ClassVar[Mapping[str, MetricInfo]] = {
        "mre_gap": MetricInfo(
            "share",
            "lower",
            "(median val error - median train error) / median val error; flagged > 0.10",
            ("train", "val"),
        ),
        "mre_train": MetricInfo("squared pixel", "none", "median recovery error of training images", ("train",)),
        "mre_val": MetricInfo("squared pixel", "none", "median recovery error of validation images", ("val",)),
        "mre_generated": MetricInfo(
            "squared pixel", "none", "median recovery error of the model's own samples", ("generated",)
        ),
        "mre_distorted": MetricInfo(
            "squared pixel", "none", "median recovery error of distorted validation images", ("distorted",)
        ),
        "ks_statistic": MetricInfo(
            "share", "lower", "largest distance between the two laws of errors", ("train", "val")
        ),
        "ks_p_value": MetricInfo(
            "probability",
            "none",
            "of errors as different as these if train and val were alike; flagged < 0.01",
            ("train", "val"),
        ),
    }

    def requests_in_one(self, model: Model, data: Data, options: OverfittingOptions) -> dict[str, Ask]:
        """The model's training images, validation images as they are and distorted, and its own samples."""
        if "train" not in data.sizes:
            raise Refused(f"data set {data.name!r} has no training split")
        asks = {
            "train": recovery_of_split(model, data, "train", options),
            "val": recovery_of_split(model, data, "val", options),
            "generated": recovery_of_samples(model, data, "val", options),
        }
        if options.distorts:
            distorted = dataclasses.replace(options, operator=options.distortion)
            asks["distorted"] = recovery_of_split(model, data, "val", distorted)
        return asks

    def summarise_in_one(self, rows: Mapping[str, Rows], options: OverfittingOptions) -> list[Score]:
        """The gap, the two-sample test and the medians (Webster's Table 1)."""
        from preimage.harness import statistics

        error = {role: _squared(rows[role], options) for role in rows}
        ks, p_value = statistics.kolmogorov_smirnov(error["train"], error["val"])
        estimates = {
            "mre_gap": statistics.median_recovery_gap(error["train"], error["val"]),
            "mre_train": statistics.median(error["train"]),
            "mre_val": statistics.median(error["val"]),
            "mre_generated": statistics.median(error["generated"]),
            "ks_statistic": ks,
            "ks_p_value": p_value,
        }
        scores = [Score(f"{name}{variant(options)}", estimate) for name, estimate in estimates.items()]
        if "distorted" in error:
            suffix = variant(options) + operator_suffix(options.distortion, Warp())
            scores.append(Score(f"mre_distorted{suffix}", statistics.median(error["distorted"])))
        return scores


def _squared(rows: Rows, options: OverfittingOptions) -> Floats:
    """The squared error that the paper takes the median of; another distance is taken as it is."""
    return rows["mse"] if options.distance in ("squared-l2", "l2") else rows["distance"]
