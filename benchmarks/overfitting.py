"""Overfitting: does the model recover the images it was trained on better than images it has never seen?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from preimage.benchmarks.recovery import variant
from preimage.harness.asking import recovery_of_samples, recovery_of_split
from preimage.harness.benchmark import Ask, Data, MetricInfo, Model, Score
from preimage.harness.errors import Refused
from preimage.harness.options import RecoveryOptions
from preimage.harness.rows import Rows

if TYPE_CHECKING:
    from preimage.harness.rows import Floats


class Overfitting:
    """Median recovery errors of training, validation and generated images (Webster et al., CVPR 2019).

    Flagged by ``ks_p_value < 0.01`` and, separately, by ``mre_gap > 0.10``.
    """

    name = "overfitting"
    version = 1
    formula = "MRE(Y) = median over y in Y of min_z ‖y − G(z)‖² / D, gap = (MRE(val) − MRE(train)) / MRE(val)"
    question = "Has the model memorised its training images?"
    options = RecoveryOptions
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

    def requests(self, model: Model, data: Data, options: RecoveryOptions) -> dict[str, Ask]:
        """The model's training images, validation images, and its own samples."""
        if "train" not in data.sizes:
            raise Refused(f"data set {data.name!r} has no training split")
        return {
            "train": recovery_of_split(model, data, "train", options),
            "val": recovery_of_split(model, data, "val", options),
            "generated": recovery_of_samples(model, data, "val", options),
        }

    def summarise(self, rows: Mapping[str, Rows], options: RecoveryOptions) -> list[Score]:
        """The gap, the two-sample test and the medians (Webster's Table 1)."""
        from preimage.harness import statistics

        error = {role: _squared(rows[role], options) for role in rows}
        ks, p_value = statistics.kolmogorov_smirnov(error["train"], error["val"])
        scores = {
            "mre_gap": statistics.median_recovery_gap(error["train"], error["val"]),
            "mre_train": statistics.median(error["train"]),
            "mre_val": statistics.median(error["val"]),
            "mre_generated": statistics.median(error["generated"]),
            "ks_statistic": ks,
            "ks_p_value": p_value,
        }
        return [Score(f"{name}{variant(options)}", estimate) for name, estimate in scores.items()]


def _squared(rows: Rows, options: RecoveryOptions) -> Floats:
    """The squared error that the paper takes the median of; another distance is taken as it is."""
    return rows["mse"] if options.distance in ("squared-l2", "l2") else rows["distance"]
