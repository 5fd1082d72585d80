"""Outlier detection: does the distance from the model's range tell test images from images of another kind?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from preimage.benchmarks.per_distance import PerDistance
from preimage.benchmarks.variants import variant
from preimage.harness.asking import recovery_by_best_label
from preimage.harness.benchmark import Ask, Data, MetricInfo, Model, Score
from preimage.harness.errors import Refused, UsageError
from preimage.harness.options import RecoveryOptions
from preimage.harness.rows import Rows
from preimage.harness.settings import option

if TYPE_CHECKING:
    from preimage.harness.rows import Floats

SETS = ("constant", "uniform-noise", "digits", "inverted")


@dataclass(frozen=True, kw_only=True)
class OutlierOptions(RecoveryOptions):
    """How images are recovered, and which images are the outliers."""

    sets: tuple[str, ...] = option(
        SETS, "data sets whose test images are outliers, each by itself; `inverted`: the test images, inverted"
    )

    sets_if_present: tuple[str, ...] = option(
        (), "further ones, left out where this machine does not have them; never downloaded"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        named = (*self.sets, *self.sets_if_present)
        if not self.sets or len(set(named)) < len(named):
            raise UsageError(f"the outlier sets are {list(named)}; name at least one in `sets`, and each once")


class Outliers(PerDistance[OutlierOptions]):
    """How well the recovery distance tells outliers from test images: area under the ROC curve and its companions.

    The score of an image is the distance of its recovery. A conditional model recovers each image under every label and
    the least distance counts, since an outlier has no label. Inliers are test images, as many as the limit says, and as
    many images of each outlier set. Outliers are the positives: an area of 0.5 is chance, and below it the model comes
    nearer to outliers than to images of the kind it was trained on ("Intriguing Properties of Modern GANs", section 3).
    """

    name = "outliers"
    version = 1
    question = "Are images of another kind further from the model's range than test images are?"
    formula = "AUROC = P(d(x_out) > d(x_in)) + ½ P(d(x_out) = d(x_in)), d(x) = min over z, y of distance(G(z, y), x)"
    options = OutlierOptions
    metrics: ClassVar[Mapping[str, MetricInfo]] = {
        "auroc": MetricInfo("share", "higher", "area under the ROC curve of the recovery distance; 0.5 is chance"),
        "aupr": MetricInfo(
            "share", "higher", "average precision, outliers positive; chance is their share, as a rule one half"
        ),
        "fpr95": MetricInfo("share", "lower", "test images flagged where 95 % of the outliers are; 0.95 is chance"),
    }

    def requests_in_one(self, model: Model, data: Data, options: OutlierOptions) -> dict[str, Ask]:
        """Test images, and those of each outlier set in their shape."""
        asks = {"test": recovery_by_best_label(model, data, data, options)}
        for name in (*options.sets, *options.sets_if_present):
            try:
                other = data.other(name, if_present=name not in options.sets)
            except Refused:
                if name in options.sets:
                    raise
                continue
            if other.split("test").fingerprint == data.split("test").fingerprint:  # whatever it is called
                raise Refused(f"outlier set {name!r} is the data set itself; name others, e.g. --set 'sets=[constant]'")
            asks[_role(name)] = recovery_by_best_label(model, data, other, options)
        return asks

    def summarise_in_one(self, rows: Mapping[str, Rows], options: OutlierOptions) -> list[Score]:
        """Three scores per outlier set that was measured."""
        from preimage.harness import detection

        statistics = {"auroc": detection.auroc, "aupr": detection.aupr, "fpr95": detection.fpr95}
        inliers = least_distance(rows["test"])
        return [
            Score(f"{metric}/{name}{variant(options)}", statistic(inliers, least_distance(rows[_role(name)])))
            for name in (*options.sets, *options.sets_if_present)
            if _role(name) in rows
            for metric, statistic in statistics.items()
        ]


def least_distance(rows: Rows) -> Floats:
    """The distance of each image's recovery, the least over labels where there are several, [images]."""
    least: Floats = rows.table("distance").min(axis=1)
    return least


def _role(name: str) -> str:
    return f"outliers {name}"
