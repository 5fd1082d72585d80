"""Generative classification: the class whose generator comes nearest to the image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from preimage.benchmarks.per_distance import PerDistance
from preimage.benchmarks.variants import variant
from preimage.harness.asking import recovery_of_split, require_classes
from preimage.harness.benchmark import Ask, Data, MetricInfo, Model, Score
from preimage.harness.options import RecoveryOptions
from preimage.harness.rows import Rows


class Classification(PerDistance[RecoveryOptions]):
    """``c(x) = argmin_c distance(x, recovery of x under class c)`` on test images (METHODS 5)."""

    name = "classification"
    version = 1
    question = "Does the class that recovers an image best name what it shows?"
    formula = "c(x) = argmin_c min_z distance(G(z, c), x)"
    options = RecoveryOptions
    metrics: ClassVar[Mapping[str, MetricInfo]] = {
        "accuracy": MetricInfo("share", "higher", "test images whose class is named right (top 1)", ("test",)),
    }

    def requests_in_one(self, model: Model, data: Data, options: RecoveryOptions) -> dict[str, Ask]:
        """Test images under every label; of a classifier, what it takes them for."""
        if model.classifies:
            from preimage.harness.prediction_requests import predictions_of_split

            return {"test": predictions_of_split(model, data, "test", options)}
        require_classes(model, data)
        return {"test": recovery_of_split(model, data, "test", options, every_label=True)}

    def summarise_in_one(self, rows: Mapping[str, Rows], options: RecoveryOptions) -> list[Score]:
        """Top-1 accuracy; a tie goes to the class listed first. A classifier's is the same in each distance."""
        from preimage.harness import statistics

        test = rows["test"]
        if "correct" in test.values:
            right = test["correct"]
        else:
            chosen = test.table("distance").argmin(axis=1)
            right = (chosen == test.table("true_label")[:, 0]).astype(float)
        return [Score(f"accuracy{variant(options)}", statistics.mean(right))]
