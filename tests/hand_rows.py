"""Rows of likelihoods with numbers given by hand, for tests of what is computed from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from preimage.harness.benchmark import Score
from preimage.harness.rows import Rows


def likelihoods(log_p: Any, labels: int = 1, **more: Any) -> Rows:
    """Rows of images [n], or [n, labels] under every label; other columns by name, numbers or one per row."""
    values = np.asarray(log_p, dtype=float).reshape(-1)
    n = len(values) // labels
    columns = {"log_likelihood": values} | {
        name: np.broadcast_to(np.asarray(value, dtype=float), values.shape).copy() for name, value in more.items()
    }
    label = np.tile(np.arange(labels), n) if labels > 1 else np.full(n, -1)
    return Rows(np.repeat(np.arange(n), labels), label.astype(np.int64), columns, ("ANNEALED",) * len(values))


def by_metric(scores: Sequence[Score]) -> Mapping[str, Score]:
    """Scores by name, each of which may be there once."""
    assert len({score.metric for score in scores}) == len(scores)
    return {score.metric: score for score in scores}
