"""Identity of requests: everything that can change a number changes the key; nothing else does."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import pytest

from preimage.harness.errors import UsageError
from preimage.harness.operators import OPERATORS, Warp
from preimage.harness.requests import First, ModelKey, ModelMetric, Neighbours, Recovery, Samples, Split
from preimage.harness.solvers.adam import Adam
from preimage.harness.solvers.lbfgs import Lbfgs

MODEL = ModelKey("m", "0" * 64)
SPLIT = Split("d", "test", "1" * 64)
METRIC = ModelMetric(model=MODEL, space="z", distance="squared-l2", dim=8, labels=0)
RECOVERY = Recovery(
    model=MODEL, images=SPLIT, label="none", space="z", distance="squared-l2", solver=Lbfgs(), metric=METRIC
)

CHANGES: dict[str, Any] = {
    "model": ModelKey("m", "2" * 64), "images": Split("d", "test", "3" * 64), "label": "true", "space": "w",
    "distance": "l2", "solver": Lbfgs(steps=201), "restarts": 2, "draws": 2, "penalty": 0.01, "project": True,
    "trained_start": True,
    "operator": Warp(), "labels": 10, "metric": dataclasses.replace(METRIC, draws=63), "block": 32, "threads": 2,
    "seed": 1, "distance_identity": "4" * 64, "first": First(distance="l2", steps=9),
}  # fmt: skip


def test_the_key_is_the_hash_of_the_content() -> None:
    same = dataclasses.replace(RECOVERY, solver=Lbfgs())
    assert same.key() == RECOVERY.key()
    assert len(RECOVERY.key()) == 64
    assert pickle.loads(pickle.dumps(RECOVERY)).key() == RECOVERY.key()


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(Recovery)])
def test_every_field_changes_the_key(name: str) -> None:
    assert dataclasses.replace(RECOVERY, **{name: CHANGES[name]}).key() != RECOVERY.key()


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(Lbfgs)])
def test_every_setting_of_the_solver_changes_the_key(name: str) -> None:
    value = getattr(Lbfgs(), name)
    other = (not value) if isinstance(value, bool) else value * 2 + 1
    assert dataclasses.replace(RECOVERY, solver=dataclasses.replace(Lbfgs(), **{name: other})).key() != RECOVERY.key()


def test_the_version_of_the_measurement_changes_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = RECOVERY.key()
    monkeypatch.setattr(Recovery, "version", Recovery.version + 1)
    assert RECOVERY.key() != before


def test_a_split_and_samples_and_two_solvers_of_equal_settings_differ() -> None:
    assert dataclasses.replace(RECOVERY, images=Samples(0)).key() != RECOVERY.key()
    assert dataclasses.replace(RECOVERY, solver=Adam(steps=200)).key() != RECOVERY.key()


def test_blocks_are_fixed_ranges_and_the_last_is_whole() -> None:
    assert list(RECOVERY.blocks(1)) == [0]
    assert list(RECOVERY.blocks(64)) == [0]
    assert list(RECOVERY.blocks(65)) == [0, 1]
    assert list(RECOVERY.blocks(0)) == []


def test_evaluations_count_steps_restarts_and_labels() -> None:
    """64 images, 200 steps and the final decoding of each run's best."""
    assert RECOVERY.evaluations(64) == 64 * 201
    assert dataclasses.replace(RECOVERY, restarts=3).evaluations(64) == 64 * 601
    assert dataclasses.replace(RECOVERY, label="every", labels=10).evaluations(64) == 64 * 10 * 201
    assert dataclasses.replace(RECOVERY, draws=500, restarts=4).evaluations(64) == 64 * 801
    assert dataclasses.replace(RECOVERY, images=Samples(0)).evaluations(64) == 64 * 201 + 64
    assert METRIC.evaluations(1) == 64 * 8


def test_a_recovery_needs_its_metric_for_every_label() -> None:
    assert RECOVERY.needs() == ((METRIC, 1),)
    ten = dataclasses.replace(METRIC, labels=10)
    assert dataclasses.replace(RECOVERY, metric=ten).needs() == ((ten, 10),)
    assert Neighbours(
        model=MODEL, images=SPLIT, train=SPLIT, train_size=8, label="none", distance="l2"
    ).needs() == ()  # fmt: skip


@pytest.mark.parametrize("name", ["block", "threads", "restarts", "draws"])
def test_numbers_below_one_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"`{name}` is 0; it must be at least 1"):
        dataclasses.replace(RECOVERY, **{name: 0})


@pytest.mark.parametrize("kind", OPERATORS.values())
def test_every_setting_of_the_operator_changes_the_key(kind: Any) -> None:
    base = dataclasses.replace(RECOVERY, operator=kind())
    for field in dataclasses.fields(kind):
        value = getattr(kind(), field.name)
        other = dataclasses.replace(kind(), **{field.name: value * (0.5 if field.name == "share" else 2)})
        assert dataclasses.replace(RECOVERY, operator=other).key() != base.key()
