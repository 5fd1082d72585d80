"""Outlier detection: does the distance from the model's range, or its likelihood, tell test images from others?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from preimage.benchmarks.outlier_sets import OutlierSetOptions, outlier_sets, role_of
from preimage.benchmarks.scored_by import ScoredBy, ScoredByOptions
from preimage.benchmarks.variants import variant
from preimage.harness.asking import recovery_by_best_label
from preimage.harness.asking_likelihood import likelihood_of_others
from preimage.harness.benchmark import Ask, Data, MetricInfo, Model, Score
from preimage.harness.likelihood_requests import Noise
from preimage.harness.rows import Rows
from preimage.harness.settings import option

if TYPE_CHECKING:
    from preimage.harness.rows import Floats

SETS = ("constant", "uniform-noise", "digits", "inverted")


@dataclass(frozen=True, kw_only=True)
class OutlierOptions(ScoredByOptions, OutlierSetOptions):
    """How images are scored, and which images are the outliers."""

    sets: tuple[str, ...] = option(
        SETS, "data sets whose test images are outliers, each by itself; `inverted`: the test images, inverted"
    )


class Outliers(ScoredBy[OutlierOptions]):
    """How well the recovery distance tells outliers from test images: area under the ROC curve and its companions.

    The score of an image is the distance of its recovery. A conditional model recovers each image under every label and
    the least distance counts, since an outlier has no label. By likelihood the score is -log p(x), of a conditional
    model p(x) is the mean of p(x | y) over labels. Inliers are test images, as many as the limit says, and as many
    images of each outlier set. Outliers are the positives: an area of 0.5 is chance, and below it the model prefers
    outliers to images of the kind it was trained on ("Intriguing Properties of Modern GANs", sections 3 and 4).
    """

    name = "outliers"
    version = 1
    question = "Are images of another kind further from the model's range than test images are?"
    formula = (
        "AUROC = P(d(x_out) > d(x_in)) + ½ P(d(x_out) = d(x_in)), d(x) = min over z, y of distance(G(z, y), x); "
        "by likelihood: d(x) = −log p(x)"
    )
    options = OutlierOptions
    metrics: ClassVar[Mapping[str, MetricInfo]] = {
        "auroc": MetricInfo(
            "share",
            "higher",
            "area under the ROC curve of the recovery distance, under /likelihood of -log p(x); 0.5 is chance",
        ),
        "aupr": MetricInfo(
            "share", "higher", "average precision, outliers positive; chance is their share, as a rule one half"
        ),
        "fpr95": MetricInfo("share", "lower", "test images flagged where 95 % of the outliers are; 0.95 is chance"),
    }

    def requests_in_one(self, model: Model, data: Data, options: OutlierOptions) -> dict[str, Ask]:
        """Test images, and those of each outlier set in their shape."""
        asks = {"test": recovery_by_best_label(model, data, data, options)}
        for name, other in outlier_sets(data, options):
            asks[role_of(name)] = recovery_by_best_label(model, data, other, options)
        return asks

    def requests_by_likelihood(self, model: Model, data: Data, options: OutlierOptions, noise: Noise) -> dict[str, Ask]:
        """The likelihood of the same images, of a conditional model under every label."""
        asks = {"test": likelihood_of_others(model, data, options, noise)}
        for name, other in outlier_sets(data, options):
            asks[role_of(name)] = likelihood_of_others(model, other, options, noise)
        return asks

    def summarise_in_one(self, rows: Mapping[str, Rows], options: OutlierOptions) -> list[Score]:
        """Three scores per outlier set that was measured."""
        return _detected(rows, least_distance, options, variant(options))

    def summarise_by_likelihood(self, rows: Mapping[str, Rows], options: OutlierOptions) -> list[Score]:
        """The same, from likelihoods."""
        from preimage.harness.likelihood_scores import marginal

        return _detected(rows, lambda found: -marginal(found), options, "/likelihood")


def least_distance(rows: Rows) -> Floats:
    """The distance of each image's recovery, the least over labels where there are several, [images]."""
    least: Floats = rows.table("distance").min(axis=1)
    return least


def _detected(
    rows: Mapping[str, Rows], score: Callable[[Rows], Floats], options: OutlierOptions, suffix: str
) -> list[Score]:
    """Three scores per outlier set that there are rows of; score: of each image [images], high for outliers."""
    from preimage.harness import detection

    statistics = {"auroc": detection.auroc, "aupr": detection.aupr, "fpr95": detection.fpr95}
    inliers = score(rows["test"])
    return [
        Score(f"{metric}/{name}{suffix}", statistic(inliers, score(rows[role_of(name)])))
        for name in (*options.sets, *options.sets_if_present)
        if role_of(name) in rows
        for metric, statistic in statistics.items()
    ]
