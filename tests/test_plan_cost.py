"""A plan's cost: what is said before anything runs is what is spent, exactly where no image can stop early."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from preimage.harness.options import parse_settings
from preimage.harness.plan import Plan, Selection, make_plan
from preimage.harness.plugins import Registry, Sources
from preimage.harness.results import finished_blocks
from preimage.harness.timing import expected_evaluations
from preimage.harness.world import World
from tests.plugin_files import small_world
from tests.test_run import preimage

FIXED = ("solver=adam", "solver.steps=7", "solver.patience=0", "restarts=2", "draws=3")
CONVERGING = ("solver=lbfgs", "solver.steps=60", "solver.metric=false", "scored_in=[]")
BENCHMARKS = ("recovery", "overfitting", "classification")


def planned(folder: Path, limit: int, settings: tuple[str, ...], models: tuple[str, ...]) -> tuple[Plan, World]:
    registry = Registry(Sources(plugins=(str(folder / "small_world.py"),)))
    world = World(registry, folder / "a.db")
    chosen = {**parse_settings(settings), "limit": limit}
    blocks = finished_blocks(folder / "a.db")
    selection = Selection(models, BENCHMARKS, settings=chosen)
    return make_plan(registry, world, selection, lambda key: blocks.get(key, set())), world


def run(folder: Path, limit: int, settings: tuple[str, ...], models: tuple[str, ...]) -> None:
    options = [part for setting in settings for part in ("--set", setting)]
    options += [part for model in models for part in ("-m", model)]
    options += [part for benchmark in BENCHMARKS for part in ("-b", benchmark)]
    plugin = str(folder / "small_world.py")
    assert (
        preimage(
            "run", *options, "--limit", str(limit), "--plugin", plugin, "--db", str(folder / "a.db"), "--workers", "1"
        )
        == 0
    )


def spent(folder: Path) -> dict[str, int]:
    with closing(sqlite3.connect(folder / "a.db")) as db:
        return dict(db.execute("SELECT request, sum(evaluations) FROM block GROUP BY request").fetchall())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    small_world(tmp_path)
    return tmp_path


def test_a_fixed_budget_is_predicted_exactly(folder: Path) -> None:
    """Of 96 and 80 images in blocks of 64: last blocks are cut by the split's end, not by the limit."""
    plan, _ = planned(folder, 70, FIXED, ("linear", "curved", "near"))
    assert all(work.request.spends_all for work in plan.work)
    said = {work.key: work.evaluations for work in plan.work}
    run(folder, 70, FIXED, ("linear", "curved", "near"))
    assert spent(folder) == said
    assert sum(said.values()) > 10_000
    again, _ = planned(folder, 70, FIXED, ("linear", "curved", "near"))
    assert sum(work.evaluations for work in again.work) == 0
    more, _ = planned(folder, 20, FIXED, ("linear",))
    assert sum(work.evaluations for work in more.work) == 0


def test_a_search_that_finds_nothing_lower_still_spends_its_budget(folder: Path) -> None:
    """L-BFGS without patience on a linear model: it is at the least-squares answer long before its budget's end."""
    published = ("solver=lbfgs", "solver.steps=90", "solver.metric=false", "solver.patience=0", "draws=1")
    plan, _ = planned(folder, 10, published, ("linear",))
    said = {work.key: work.evaluations for work in plan.work}
    run(folder, 10, published, ("linear",))
    assert spent(folder) == said


def test_a_larger_limit_costs_the_blocks_that_are_missing(folder: Path) -> None:
    run(folder, 10, FIXED, ("linear",))
    before = spent(folder)
    plan, _ = planned(folder, 70, FIXED, ("linear",))
    said = {work.key: work.evaluations for work in plan.work}
    run(folder, 70, FIXED, ("linear",))
    assert {key: total - before.get(key, 0) for key, total in spent(folder).items()} == said


def test_images_that_stop_early_cost_at_most_what_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan, world = planned(folder, 10, CONVERGING, ("curved",))
    assert not any(work.request.spends_all for work in plan.work)
    said = {work.key: work.evaluations for work in plan.work}
    foreseen = {work.key: expected_evaluations(work, world) for work in plan.work}  # by a pilot: nothing is stored
    assert all(foreseen[key] < said[key] for key in said)
    run(folder, 10, CONVERGING, ("curved",))
    found = spent(folder)
    assert all(found[key] <= said[key] for key in said)
    assert sum(foreseen.values()) == pytest.approx(sum(found.values()), rel=0.4)

    more, world = planned(folder, 80, CONVERGING, ("curved",))  # its second blocks: as many per image as the first
    work = [one for one in more.work if one.missing]
    foreseen = {one.key: expected_evaluations(one, world) for one in work}
    run(folder, 80, CONVERGING, ("curved",))
    assert sum(foreseen.values()) == pytest.approx(sum(spent(folder)[k] - found[k] for k in foreseen), rel=0.3)


def test_a_dry_run_says_which_costs_are_exact(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plugin = str(folder / "small_world.py")
    command = ("run", "-b", "recovery", "-m", "linear", "--plugin", plugin, "--db", str(folder / "b.db"), "--dry-run")
    assert preimage(*command, "--limit", "4", "--set", "solver=adam", "--set", "solver.patience=0") == 0
    assert "at most" not in capsys.readouterr().out
    assert preimage(*command, "--limit", "4") == 0
    assert "at most" in capsys.readouterr().out
