"""Recovery: how near a model's images come to real ones, beside how near the optimiser comes to the model's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from preimage.benchmarks.variants import variant
from preimage.harness.asking import recovery_of_samples, recovery_of_split
from preimage.harness.benchmark import Ask, Data, MetricInfo, Model, Score
from preimage.harness.options import RecoveryOptions
from preimage.harness.rows import Rows


class RecoveryBenchmark:
    """The error of projecting test images onto the generator's range (METHODS 1), and its floor."""

    name = "recovery"
    version = 1
    question = "How near do the model's images come to real test images?"
    formula = "mse(x) = 1/D ‖φ(G(z*)) − φ(x)‖₂², z* = argmin_z distance(φ(G(z)), φ(x)) + penalty(z)"
    options = RecoveryOptions
    metrics: ClassVar[Mapping[str, MetricInfo]] = {
        "mse": MetricInfo(
            "squared pixel", "lower", "mean over images of the mean squared error of the recovered image", ("test",)
        ),
        "mse_median": MetricInfo("squared pixel", "lower", "median over images of the mean squared error", ("test",)),
        "psnr": MetricInfo("dB", "higher", "10 log10(1 / mse)", ("test",)),
        "l2": MetricInfo("pixel norm", "lower", "mean over images of the Euclidean norm of the error", ("test",)),
        "floor_mse": MetricInfo(
            "squared pixel", "none", "mse on the model's own samples: what the solver misses, not the model", ("floor",)
        ),
        "share_outside_prior": MetricInfo(
            "share", "none", "recovered codes outside the prior's plausible set", ("test",)
        ),
    }

    def requests(self, model: Model, data: Data, options: RecoveryOptions) -> dict[str, Ask]:
        """Test images, and as many samples of the model."""
        return {
            "test": recovery_of_split(model, data, "test", options),
            "floor": recovery_of_samples(model, data, "test", options),
        }

    def summarise(self, rows: Mapping[str, Rows], options: RecoveryOptions) -> list[Score]:
        """Scores from the per-image errors of both."""
        from preimage.harness import statistics

        test, suffix = rows["test"], variant(options)
        scores = [
            Score(f"mse{suffix}", statistics.mean(test["mse"])),
            Score(f"mse_median{suffix}", statistics.median(test["mse"])),
            Score(f"psnr{suffix}", statistics.psnr(test["mse"])),
            Score(f"l2{suffix}", statistics.mean(test["l2"])),
            Score(f"floor_mse{suffix}", statistics.mean(rows["floor"]["mse"])),
        ]
        if "outside_prior" in test.values:
            scores.append(Score(f"share_outside_prior{suffix}", statistics.mean(test["outside_prior"])))
        return scores
