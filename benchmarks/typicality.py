"""Typicality: could sets of training images, or of other images, have been drawn from the model?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from preimage.benchmarks.outlier_sets import OutlierSetOptions, outlier_sets, role_of
from preimage.harness.asking_likelihood import (
    AnnealingOptions,
    likelihood_of_others,
    likelihood_of_simulated,
    likelihood_of_split,
    noises_of,
)
from preimage.harness.benchmark import Ask, Data, MetricInfo, Model, Score
from preimage.harness.errors import Refused, UsageError
from preimage.harness.likelihood_requests import Noise
from preimage.harness.rows import Rows
from preimage.harness.settings import option

if TYPE_CHECKING:
    from preimage.harness.rows import Floats


@dataclass(frozen=True, kw_only=True)
class TypicalityOptions(AnnealingOptions, OutlierSetOptions):
    """How likelihoods are estimated, of which images, and how large the sets are that are tested."""

    limit: int | None = option(
        256, "images of each group: the first so many; not set: all, and as many draws of the model as test images"
    )
    sizes: tuple[int, ...] = option((10, 25, 50, 75), "images per set; one that a group cannot fill is left out of it")
    trials: int = option(100, "sets of each size that are tested")
    bootstrap: int = option(1000, "sets of generated images, with replacement, that epsilon is taken from")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.sizes or len(set(self.sizes)) < len(self.sizes) or min(self.sizes) < 1:
            raise UsageError(f"`sizes` is {list(self.sizes)}; name at least one number of images, each once")
        if self.trials < 1:
            raise UsageError(f"`trials` is {self.trials}; it must be at least 1")
        if self.bootstrap < 20:
            raise UsageError(f"`bootstrap` is {self.bootstrap}; a quantile of 95 % needs at least 20 sets")


class Typicality:
    """The share of sets of N images that are typical of the model: ``|mean log p + H| <= epsilon``.

    H is the entropy, minus the mean log p of the model's own draws, noise and all; epsilon what 95 % of bootstrap
    sets of N draws satisfy. Tested are sets of N distinct images, of draws (the same that gave H and epsilon), of
    training images and of each outlier set. Of a conditional model p(x) is the mean of p(x | y) over labels. What
    training images miss says that the model would not have made them ("Intriguing Properties of Modern GANs", 4.3).
    """

    name = "typicality"
    version = 1
    question = "Could sets of training images have been drawn from the model?"
    formula = "typical: |1/N Σₙ log p(xₙ) + H| ≤ ε, H = −E log p(G(z) + noise)"
    options = TypicalityOptions
    metrics: ClassVar[Mapping[str, MetricInfo]] = {
        "share_train": MetricInfo(
            "share", "higher", "sets of N of the model's training images that are typical", ("generated", "train")
        ),
        "share_generated": MetricInfo(
            "share", "none", "sets of N draws of the model that are typical: 0.95, were they endless", ("generated",)
        ),
        "share_*": MetricInfo("share", "none", "sets of N images of an outlier set, by its name, that are typical"),
        "epsilon": MetricInfo(
            "nats",
            "none",
            "how far the mean log p of N draws lies from its expectation, in 95 % of sets",
            ("generated",),
        ),
        "entropy": MetricInfo("nats", "none", "H, minus the mean log p of draws of the model", ("generated",)),
    }

    def requests(self, model: Model, data: Data, options: TypicalityOptions) -> dict[str, Ask]:
        """Draws of the model, its training images, and the outlier sets; under each noise."""
        asks = {
            role + suffix: ask
            for suffix, noise in noises_of(model, data, options).items()
            for role, ask in _groups(model, data, options, noise).items()
        }
        most = max(ask.count for ask in asks.values())
        if most < min(options.sizes):
            raise Refused(
                f"there are {most} images of each group, and the smallest set has {min(options.sizes)}. Ask for more "
                "with --limit, or for smaller sets: --set 'sizes=[5]'"
            )
        return asks

    def summarise(self, rows: Mapping[str, Rows], options: TypicalityOptions) -> list[Score]:
        """Shares, thresholds and the entropy."""
        from preimage.harness.likelihood_scores import by_noise, marginal

        return [
            Score(score.metric + suffix, score.estimate)
            for suffix, found in by_noise(rows).items()
            for score in _scores({role: marginal(of_role) for role, of_role in found.items()}, options)
        ]


def _groups(model: Model, data: Data, options: TypicalityOptions, noise: Noise) -> dict[str, Ask]:
    count = data.size("test") if options.limit is None else options.limit
    asks = {
        "generated": likelihood_of_simulated(model, options, noise, count, every_label=True),
        "train": likelihood_of_split(model, data, "train", options, noise, every_label=True),
    }
    for name, other in outlier_sets(data, options):
        asks[role_of(name)] = likelihood_of_others(model, other, options, noise)
    return asks


def _scores(log_p: Mapping[str, Floats], options: TypicalityOptions) -> list[Score]:
    """Scores from log p(x) of the images of each group."""
    from preimage.harness import statistics
    from preimage.harness.typical_sets import TypicalSets

    generated = log_p["generated"]
    names = {role_of(name): name for name in (*options.sets, *options.sets_if_present)} | {"train": "train"}
    groups = {names[role]: found for role, found in log_p.items() if role in names}
    scores = []
    for size in options.sizes:
        sets = TypicalSets(generated, size, options.trials, options.bootstrap, options.seed)
        if size <= len(generated):
            scores.append(Score(f"share_generated/{size}", sets.share_generated()))
        scores += [
            Score(f"share_{name}/{size}", sets.share(group)) for name, group in groups.items() if size <= len(group)
        ]
        scores.append(Score(f"epsilon/{size}", sets.epsilon()))
    return [*scores, Score("entropy", statistics.mean(-generated))]
