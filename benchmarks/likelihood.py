"""Likelihood: how likely the model makes test images, and how far the figure can be believed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from preimage.harness.asking_likelihood import (
    AnnealingOptions,
    likelihood_of_simulated,
    likelihood_of_split,
    noises_of,
)
from preimage.harness.benchmark import Ask, Data, MetricInfo, Model, Score
from preimage.harness.errors import UsageError
from preimage.harness.likelihood_scores import BITS_PER_DIM, UNRELIABLE
from preimage.harness.rows import Rows
from preimage.harness.settings import option

if TYPE_CHECKING:
    from preimage.harness.rows import Estimate


@dataclass(frozen=True, kw_only=True)
class LikelihoodOptions(AnnealingOptions):
    """How likelihoods are estimated, and on how many images of the model's own the estimate is put to the test."""

    simulated: int = option(16, "draws of the model, noise and all, on which the bounds' gap is measured")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.simulated < 1:
            raise UsageError(f"`simulated` is {self.simulated}; without a simulated image no gap can be measured")


class LikelihoodBenchmark:
    """log p(x) of test images by annealed importance sampling, a lower bound, beside the proof of its quality.

    Of a conditional model log p(x | y), y the image's own label. The gap (Grosse, Ghahramani and Adams, 2015) is
    that of simulated images, whose codes are known; a score whose gap exceeds 0.01 bits per dimension is unreliable.
    Where the model has log p(x) in closed form, it stands beside the estimate. Every metric is told under each
    noise variance, where there are several. Wu et al., ICLR 2017; METHODS 9 and 13.
    """

    name = "likelihood"
    version = 1
    question = "How likely does the model make test images?"
    formula = f"log p(x) = log ∫ p(z) N(x; G(z), σ² I) dz; {BITS_PER_DIM}"
    options = LikelihoodOptions
    metrics: ClassVar[Mapping[str, MetricInfo]] = {
        "log_likelihood": MetricInfo(
            "nats", "higher", "mean over test images of the lower bound on log p(x), pixels in [0, 1]", ("test",)
        ),
        "bits_per_dim": MetricInfo(
            "bits per dimension", "higher", f"the same as a density over 256 levels: {BITS_PER_DIM}", ("test",)
        ),
        "bdmc_gap": MetricInfo(
            "nats", "lower", "mean over simulated images of upper bound minus lower bound", ("simulated",)
        ),
        "bdmc_gap_median": MetricInfo("nats", "lower", "median over simulated images of the gap", ("simulated",)),
        "bdmc_gap_bits": MetricInfo(
            "bits per dimension",
            "lower",
            f"mean gap over D ln 2; above {UNRELIABLE} the likelihood is unreliable",
            ("simulated",),
        ),
        "ess": MetricInfo(
            "chains", "none", "effective number of chains, of those that there are: mean over test images", ("test",)
        ),
        "acceptance": MetricInfo("share", "none", "proposals accepted: mean over test images", ("test",)),
        "non_finite": MetricInfo(
            "share",
            "lower",
            "test images with a proposal that was not finite, which is rejected; not told if none",
            ("test",),
        ),
        "dead_chains": MetricInfo(
            "share", "lower", "test images with a chain that weighs nothing; not told if none", ("test",)
        ),
        "sigma2": MetricInfo("squared pixel", "none", "variance of the noise per pixel, images in [0, 1]", ("test",)),
        "sigma2_psnr": MetricInfo("dB", "none", "10 log10(1 / sigma2)", ("test",)),
        "log_likelihood/exact": MetricInfo(
            "nats", "higher", "mean over test images of log p(x) in closed form, where there is one", ("test",)
        ),
        "bits_per_dim/exact": MetricInfo(
            "bits per dimension", "higher", f"the closed form over 256 levels: {BITS_PER_DIM}", ("test",)
        ),
        "exact_difference": MetricInfo(
            "nats", "none", "mean over test images of lower bound minus closed form: 0 is best", ("test",)
        ),
    }

    def requests(self, model: Model, data: Data, options: LikelihoodOptions) -> dict[str, Ask]:
        """Test images under their own label, and images simulated from the model; both under each noise."""
        asks = {}
        for suffix, noise in noises_of(model, data, options).items():
            asks[f"test{suffix}"] = likelihood_of_split(model, data, "test", options, noise)
            asks[f"simulated{suffix}"] = likelihood_of_simulated(model, options, noise, options.simulated)
        return asks

    def summarise(self, rows: Mapping[str, Rows], options: LikelihoodOptions) -> list[Score]:
        """Likelihoods with intervals, their gap, what the chains did, the noise, and the closed form."""
        from preimage.harness.likelihood_scores import by_noise

        return [
            Score(name + suffix, estimate)
            for suffix, found in by_noise(rows).items()
            for name, estimate in _estimates(found["test"], found["simulated"]).items()
        ]


def _estimates(test: Rows, simulated: Rows) -> dict[str, Estimate]:
    """Every metric that the rows have."""
    import numpy as np

    from preimage.harness import statistics
    from preimage.harness.likelihood_scores import bits_per_dim, in_bits
    from preimage.harness.rows import Estimate

    size, nats, gap = test["dimensions"], test["log_likelihood"], simulated["gap"]
    sigma2 = float(test["sigma2"][0])
    found = {
        "log_likelihood": statistics.mean(nats),
        "bits_per_dim": statistics.mean(bits_per_dim(nats, size)),
        "bdmc_gap": statistics.mean(gap),
        "bdmc_gap_median": statistics.median(gap),
        "bdmc_gap_bits": statistics.mean(in_bits(gap, simulated["dimensions"])),
        "ess": statistics.mean(test["ess"]),
        "acceptance": statistics.mean(test["acceptance"]),
        "sigma2": Estimate(sigma2, None, None, len(test)),
        "sigma2_psnr": Estimate(float(-10 * np.log10(sigma2)), None, None, len(test)),
    }
    for name in ("non_finite", "dead_chains"):
        if test[name].any():
            found[name] = statistics.mean((test[name] > 0).astype(float))
    if "exact" in test.values:
        exact = test["exact"]
        found["log_likelihood/exact"] = statistics.mean(exact)
        found["bits_per_dim/exact"] = statistics.mean(bits_per_dim(exact, size))
        found["exact_difference"] = statistics.mean(nats - exact)
    return found
