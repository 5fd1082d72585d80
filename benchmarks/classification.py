"""Generative classification: the class whose generator comes nearest to the image, or makes it likeliest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from preimage.benchmarks.scored_by import ScoredBy, ScoredByOptions
from preimage.benchmarks.variants import variant
from preimage.harness.asking import recovery_of_split, require_classes
from preimage.harness.asking_likelihood import likelihood_of_split
from preimage.harness.benchmark import Ask, Data, MetricInfo, Model, Score
from preimage.harness.likelihood_requests import Noise
from preimage.harness.rows import Rows

if TYPE_CHECKING:
    from preimage.harness.rows import Floats


class Classification(ScoredBy[ScoredByOptions]):
    """``c(x) = argmin_c distance(x, recovery of x under class c)``, or ``argmax_c log p(x | c)`` (METHODS 5)."""

    name = "classification"
    version = 1
    question = "Does the class that recovers an image best name what it shows?"
    formula = "c(x) = argmin_c min_z distance(G(z, c), x); by likelihood: c(x) = argmax_c log p(x | c)"
    options = ScoredByOptions
    metrics: ClassVar[Mapping[str, MetricInfo]] = {
        "accuracy": MetricInfo("share", "higher", "test images whose class is named right (top 1)", ("test",)),
        "accuracy/likelihood": MetricInfo(
            "share", "higher", "the same where the class that makes the image likeliest is named", ("likelihood test",)
        ),
    }

    def requests_in_one(self, model: Model, data: Data, options: ScoredByOptions) -> dict[str, Ask]:
        """Test images under every label; of a classifier, what it takes them for."""
        if model.classifies:
            from preimage.harness.prediction_requests import predictions_of_split

            return {"test": predictions_of_split(model, data, "test", options)}
        require_classes(model, data)
        return {"test": recovery_of_split(model, data, "test", options, every_label=True)}

    def requests_by_likelihood(
        self, model: Model, data: Data, options: ScoredByOptions, noise: Noise
    ) -> dict[str, Ask]:
        """The likelihood of test images under every label."""
        require_classes(model, data)
        return {"test": likelihood_of_split(model, data, "test", options, noise, every_label=True)}

    def summarise_in_one(self, rows: Mapping[str, Rows], options: ScoredByOptions) -> list[Score]:
        """Top-1 accuracy; a tie goes to the class listed first. A classifier's is the same in each distance."""
        from preimage.harness import statistics

        test = rows["test"]
        right = test["correct"] if "correct" in test.values else _right(test, -test.table("distance"))
        return [Score(f"accuracy{variant(options)}", statistics.mean(right))]

    def summarise_by_likelihood(self, rows: Mapping[str, Rows], options: ScoredByOptions) -> list[Score]:
        """Top-1 accuracy; a tie goes to the class listed first."""
        from preimage.harness import statistics

        test = rows["test"]
        return [Score("accuracy/likelihood", statistics.mean(_right(test, test.table("log_likelihood"))))]


def _right(test: Rows, score: Floats) -> Floats:
    """1 for each image whose class has the highest score, [images]; score: [images, classes]."""
    right: Floats = (score.argmax(axis=1) == test.table("true_label")[:, 0]).astype(float)
    return right
