"""Which models a plan is of, where none are named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from preimage.harness.cards import ModelCard
from preimage.harness.plan import Plan, Selection, make_plan
from preimage.harness.plugins import Registry, Sources
from preimage.harness.suites import Suite
from preimage.harness.world import World
from tests.plugin_files import small_world
from tests.test_run import preimage

CARD = """
name: mine
family: embedded-decoder
weights: hf://org/repo@{revision}/file.safetensors
dataset: squares
image: [1, 4, 4]
num_classes: 0
""".format(revision="0" * 40)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """A small world, a card on the command line whose weights are on the Hub, and an installed model of that kind."""
    small_world(tmp_path)
    (tmp_path / "mine.yaml").write_text(CARD)
    plugin, card = str(tmp_path / "small_world.py"), str(tmp_path / "mine.yaml")
    registry = Registry(Sources((plugin,), (card,), entry_points=True))
    for name in list(registry.models):  # a plan loads each model: a few will do
        if name not in ("mine", "ppca", "mean-image", "linear"):
            registry.models.drop(registry.models.owner(name), name)
    remote: ModelCard = replace(registry.models["mine"], name="remote")
    registry.models.add("remote", remote, "installed")
    return registry


def planned(registry: Registry, *models: str, suite: Suite | None = None) -> Plan:
    world = World(registry, offline=True)
    return make_plan(registry, world, Selection(models, ("recovery",), None, suite), lambda _: set())


def test_models_that_would_be_downloaded_are_left_out_unless_they_are_named(registry: Registry) -> None:
    plan = planned(registry)
    names = {evaluation.card.name for evaluation in plan.evaluations}
    assert "remote" in plan.left_out and "remote" not in names
    assert {"mine", "ppca"} <= names, "what the command brings is meant, what ships is there"
    assert planned(registry, "remote").left_out == ()
    assert [e.card.name for e in planned(registry, "rem*").evaluations] == ["remote"]


def test_a_suite_that_names_them_gets_them(registry: Registry) -> None:
    named = Suite("s", models=("remote", "ppca"), benchmarks={"recovery": {}})
    assert {e.card.name for e in planned(registry, suite=named).evaluations} == {"remote", "ppca"}
    assert "remote" in planned(registry, suite=replace(named, models=("*",))).left_out


def test_the_command_says_what_is_left_out(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("preimage.harness.verbs.running.registry", lambda *_: registry)
    preimage("run", "-b", "flatness", "--dry-run", "--offline", "--db", str(tmp_path / "a.db"))
    said = capsys.readouterr().err
    assert "models with weights on the Hub (" in said and "name them with -m" in said
