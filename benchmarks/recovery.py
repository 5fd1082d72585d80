"""Recovery: how near a model's images come to real ones, beside how near the optimiser comes to the model's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from preimage.benchmarks.per_distance import PerDistance
from preimage.benchmarks.variants import variant
from preimage.harness.asking import recovery_of_samples, recovery_of_split
from preimage.harness.benchmark import Ask, Data, MetricInfo, Model, Score
from preimage.harness.errors import UsageError
from preimage.harness.options import RecoveryOptions
from preimage.harness.requests import Neighbours, Recovery
from preimage.harness.rescoring import Rescored
from preimage.harness.rows import Rows
from preimage.harness.settings import option

LPIPS = "lpips-alex"  # whose score is called lpips


@dataclass(frozen=True, kw_only=True)
class RecoveryScoringOptions(RecoveryOptions):
    """How images are recovered, and in which distances recovered images are scored."""

    scored_in: tuple[str, ...] = option(
        (LPIPS,), "recovered images are scored in these distances too, from their codes, without recovering again"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.scored_in)) < len(self.scored_in):
            raise UsageError(f"`scored_in` is {list(self.scored_in)}; name each distance once")

    def distances(self) -> tuple[str, ...]:
        """The names of all distances that the options name."""
        return (*super().distances(), *self.scored_in)


class RecoveryBenchmark(PerDistance[RecoveryScoringOptions]):
    """The error of projecting test images onto the generator's range (METHODS 1), and its floor."""

    name = "recovery"
    version = 2
    question = "How near do the model's images come to real test images?"
    formula = "mse(x) = 1/D ‖φ(G(z*)) − φ(x)‖₂², z* = argmin_z distance(φ(G(z)), φ(x)) + penalty(z)"
    options = RecoveryScoringOptions
    metrics: ClassVar[Mapping[str, MetricInfo]] = {
        "mse": MetricInfo(
            "squared pixel", "lower", "mean over images of the mean squared error of the recovered image", ("test",)
        ),
        "mse_median": MetricInfo("squared pixel", "lower", "median over images of the mean squared error", ("test",)),
        "psnr": MetricInfo("dB", "higher", "10 log10(1 / mse)", ("test",)),
        "l2": MetricInfo("pixel norm", "lower", "mean over images of the Euclidean norm of the error", ("test",)),
        "lpips": MetricInfo(
            "LPIPS", "lower", "mean over images of the LPIPS distance (v0.1, AlexNet) of the recovered image", ("test",)
        ),
        "distance": MetricInfo(
            "distance", "lower", "mean over images of the named distance of the recovered image", ("test",)
        ),
        "floor_mse": MetricInfo(
            "squared pixel", "none", "mse on the model's own samples: what the solver misses, not the model", ("floor",)
        ),
        "floor_lpips": MetricInfo("LPIPS", "none", "lpips on the model's own samples", ("floor",)),
        "floor_distance": MetricInfo("distance", "none", "the named distance on the model's own samples", ("floor",)),
        "share_outside_prior": MetricInfo(
            "share", "none", "recovered codes outside the prior's plausible set", ("test",)
        ),
    }

    def requests_in_one(self, model: Model, data: Data, options: RecoveryScoringOptions) -> dict[str, Ask]:
        """Test images and as many samples of the model, recovered; both scored in other distances."""
        asks = {
            "test": recovery_of_split(model, data, "test", options),
            "floor": recovery_of_samples(model, data, "test", options),
        }
        for role, ask in list(asks.items()):
            assert isinstance(ask.request, Recovery | Neighbours)  # as asked above
            for distance in options.scored_in:
                if distance != options.distance:
                    asks[_scored(role, distance)] = Ask(Rescored.asked(ask.request, distance), ask.count)
        return asks

    def summarise_in_one(self, rows: Mapping[str, Rows], options: RecoveryScoringOptions) -> list[Score]:
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
        for distance in options.scored_in:
            name = "lpips" if distance == LPIPS else f"distance/{distance}"
            for role, metric in (("test", name), ("floor", f"floor_{name}")):
                found = rows.get(role if distance == options.distance else _scored(role, distance))
                if found is not None:  # rows of earlier versions have none
                    scores.append(Score(f"{metric}{suffix}", statistics.mean(found["distance"])))
        return scores


def _scored(role: str, distance: str) -> str:
    return f"{role} in {distance}"
