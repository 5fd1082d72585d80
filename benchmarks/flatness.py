"""Flatness: does the model make flat images likelier than images with much in them?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from preimage.harness.asking_likelihood import AnnealingOptions, likelihood_of_split, noises_of
from preimage.harness.benchmark import Ask, Data, MetricInfo, Model, Score
from preimage.harness.errors import Refused
from preimage.harness.rows import Rows

LEAST = 3
"""Images that a correlation needs."""


class Flatness:
    """The correlation of test images' log-likelihood with how much their pixels vary from place to place.

    Variation is the mean over 8x8 patches of the coefficient of variation, standard deviation over mean. Expected:
    negative, likelihood rewards flat images ("Intriguing Properties of Modern GANs", section 4.2). The likelihoods
    are those that `likelihood` measures.
    """

    name = "flatness"
    version = 1
    question = "Does the model make flat images likelier than others?"
    formula = "r = corr(log p(x), mean over 8x8 patches of std / mean)"
    options = AnnealingOptions
    metrics: ClassVar[Mapping[str, MetricInfo]] = {
        "correlation": MetricInfo(
            "correlation",
            "none",
            "Pearson's, over test images, of log p(x) and the mean variation in patches; below 0: flat is likelier",
            ("test",),
        ),
        "correlation/spearman": MetricInfo("correlation", "none", "the same of ranks", ("test",)),
    }

    def requests(self, model: Model, data: Data, options: AnnealingOptions) -> dict[str, Ask]:
        """Test images under their own label, as `likelihood` asks for them."""
        asks = {
            f"test{suffix}": likelihood_of_split(model, data, "test", options, noise)
            for suffix, noise in noises_of(model, data, options).items()
        }
        if (count := min(ask.count for ask in asks.values())) < LEAST:
            raise Refused(f"a correlation of {count} test images says nothing; ask for {LEAST} at least with --limit")
        return asks

    def summarise(self, rows: Mapping[str, Rows], options: AnnealingOptions) -> list[Score]:
        """Both correlations, with intervals that resample images."""
        from preimage.harness import statistics
        from preimage.harness.likelihood_scores import by_noise

        of = {"correlation": statistics.correlation, "correlation/spearman": statistics.rank_correlation}
        return [
            Score(name + suffix, statistic(found["test"]["log_likelihood"], found["test"]["variation"]))
            for suffix, found in by_noise(rows).items()
            for name, statistic in of.items()
        ]
