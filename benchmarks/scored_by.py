"""Benchmarks that score an image by the distance of its recovery, by its likelihood, or by both."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

from preimage.benchmarks.per_distance import PerDistance
from preimage.harness.asking_likelihood import AnnealingOptions, noises_of, require_density
from preimage.harness.benchmark import Ask, Data, Model, Score
from preimage.harness.errors import Refused, UsageError
from preimage.harness.likelihood_requests import Noise
from preimage.harness.options import RecoveryOptions
from preimage.harness.rows import Rows
from preimage.harness.settings import option

MARK = "likelihood "
"""What the roles of likelihoods begin with."""


@dataclass(frozen=True, kw_only=True)
class ScoredByOptions(RecoveryOptions, AnnealingOptions):
    """How images are recovered, how their likelihood is estimated, and which of both scores them."""

    by: tuple[Literal["recovery", "likelihood"], ...] = option(
        ("recovery",), "what scores an image: the distance of its recovery, -log p(x), or each by itself"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.by or len(set(self.by)) < len(self.by):
            raise UsageError(f"`by` is {list(self.by)}; name recovery, likelihood or both, each once")


Options = TypeVar("Options", bound=ScoredByOptions)


class ScoredBy(PerDistance[Options]):
    """Scores by recovery in every distance, and scores by likelihood, whose names end in ``/likelihood``.

    A model whose images have no likelihood (a reference, a space without density) is scored by recovery alone where
    both are asked for.
    """

    @abstractmethod
    def requests_by_likelihood(self, model: Model, data: Data, options: Options, noise: Noise) -> dict[str, Ask]:
        """Which likelihoods have to be measured, by role."""

    @abstractmethod
    def summarise_by_likelihood(self, rows: Mapping[str, Rows], options: Options) -> list[Score]:
        """Scores from likelihoods alone."""

    def requests(self, model: Model, data: Data, options: Options) -> dict[str, Ask]:
        """What has to be measured for each way of scoring; the roles of likelihoods say that they are."""
        asks = super().requests(model, data, options) if "recovery" in options.by else {}
        if "likelihood" in options.by and not (asks and _has_none(model, data, options)):
            for suffix, noise in noises_of(model, data, options).items():
                for role, ask in self.requests_by_likelihood(model, data, options, noise).items():
                    asks[f"{MARK}{role}{suffix}"] = ask
        return asks

    def summarise(self, rows: Mapping[str, Rows], options: Options) -> list[Score]:
        """Scores of each way, by recovery first."""
        from preimage.harness.likelihood_scores import by_noise

        recovered = {role: found for role, found in rows.items() if not role.startswith(MARK)}
        likely = {role.removeprefix(MARK): found for role, found in rows.items() if role.startswith(MARK)}
        scores = super().summarise(recovered, options) if recovered else []
        return scores + [
            Score(score.metric + suffix, score.estimate)
            for suffix, found in by_noise(likely).items()
            for score in self.summarise_by_likelihood(found, options)
        ]


def _has_none(model: Model, data: Data, options: ScoredByOptions) -> bool:
    """Whether the model gives images no likelihood."""
    try:
        require_density(model, data, options.space)
    except Refused:
        return True
    return False
