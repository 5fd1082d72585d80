"""Which declared metric a score is of."""

from __future__ import annotations

import pytest

from preimage.harness.metric_names import declared

NAMES = ("accuracy", "accuracy/likelihood", "auroc", "share_train", "share_*")


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        ("accuracy", "accuracy"),
        ("accuracy/l2", "accuracy"),
        ("accuracy/likelihood", "accuracy/likelihood"),
        ("accuracy/likelihood/sigma2=0.01", "accuracy/likelihood"),
        ("accuracy/likelihoods", "accuracy"),
        ("auroc/digits/likelihood", "auroc"),
        ("share_train/50", "share_train"),
        ("share_trains/50", "share_*"),
        ("share_hf://a/b/50", "share_*"),
        ("share", None),
        ("shares/50", None),
        ("", None),
    ],
)
def test_the_longest_name_wins_and_a_pattern_comes_last(metric: str, name: str | None) -> None:
    assert declared(metric, NAMES) == name
    assert declared(metric, reversed(NAMES)) == name
