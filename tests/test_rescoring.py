"""Recovered images scored in other distances, benchmarks in several distances, and a first distance: all by hand."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from preimage.harness.distances import CrossEntropy, distance
from preimage.harness.errors import StoreError, UsageError
from preimage.harness.options import RecoveryOptions
from preimage.harness.plugins import Registry, Sources
from preimage.harness.results import Results
from preimage.harness.rows import Rows
from preimage.harness.world import World
from tests.plugin_files import small_world
from tests.test_run import preimage
from tests.test_truth import measured

LIMIT = 8


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    return small_world(tmp_path)


def run(plugin: Path, database: Path, *more: str) -> int:
    common = ("--plugin", str(plugin), "--db", str(database), "--workers", "1", "--limit", str(LIMIT))
    settings = ("solver.steps=25", "solver.metric=false", "draws=4", f"block={LIMIT}")
    return preimage("run", *common, *(word for setting in settings for word in ("--set", setting)), *more)


def images_of(plugin: Path, database: Path, model: str, role: str, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    """A role's recovered images, decoded from its stored codes (copied, for a reference), and their targets."""
    world = World(Registry(Sources(plugins=(str(plugin),))), database)
    rows, _ = measured(database, model, "recovery", role)
    data = world.dataset("squares")
    targets, _ = data.read(split, rows.image.tolist())
    if model == "near":
        return data.read("train", rows["neighbour"].astype(int).tolist())[0], targets
    with Results(database) as results:
        (evaluation,) = [e for e in results.evaluations() if e.model == model and e.benchmark == "recovery"]
        (ask,) = [a for a in evaluation.asks if a.role == role]
        codes = np.stack([np.frombuffer(code, "<f4") for code in results.codes(ask.request, ask.count)])
    label = torch.from_numpy(rows.label) if rows.label[0] >= 0 else None
    with torch.no_grad():
        return world.generator(model).decode(torch.from_numpy(codes.copy()), label, space="z"), targets


def test_a_run_stores_what_networks_do_to_images_first(plugin: Path, tmp_path: Path) -> None:
    database = tmp_path / "a.db"
    assert run(plugin, database, "-b", "recovery", "-m", "near") == 0
    through: Any = distance("lpips-alex")
    with Results(database) as results:
        assert results.query("SELECT * FROM network") == [{"identity": through.identity, "rule": through.rule}]
        asked = {row["id"] for row in results.query(
            "SELECT DISTINCT json_extract(description, '$.distance_identity') AS id FROM request")}  # fmt: skip
    assert through.identity in asked and "resized bilinearly to 64" in through.rule


def test_rescored_rows_are_verified_from_stored_codes(plugin: Path, tmp_path: Path, capsys: Any) -> None:
    database = tmp_path / "a.db"
    assert run(plugin, database, "-b", "recovery", "-m", "curved", "-m", "near") == 0
    verify = ("verify", "*", "recovery", "-n", "12", "--plugin", str(plugin), "--db", str(database))
    capsys.readouterr()
    assert preimage(*verify, "--json") == 0
    for one in json.loads(capsys.readouterr().out):
        assert one["verdict"] == "identical"
        assert {"test in lpips-alex", "floor in lpips-alex"} <= {role["role"] for role in one["roles"]}
    with closing(sqlite3.connect(database)) as db:
        db.execute("UPDATE row_value SET value = value * 1.5 WHERE name = 'distance' AND block IN (SELECT b.id FROM "
                   "block b JOIN request r ON r.key = b.request WHERE r.kind = 'rescored')")  # fmt: skip
        db.commit()
    assert preimage(*verify) == 1


@pytest.mark.parametrize("model", ["linear", "curved", "near"])
def test_recovered_images_are_scored_in_other_distances(plugin: Path, tmp_path: Path, model: str) -> None:
    database = tmp_path / "a.db"
    assert run(plugin, database, "-b", "recovery", "-m", model, "--set", "scored_in=[lpips-alex, l2]") == 0
    found, targets = images_of(plugin, database, model, "test", "test")
    rows, scores = measured(database, model, "recovery", "test in lpips-alex")
    exact = distance("lpips-alex")(found, targets).double().numpy()
    np.testing.assert_allclose(rows["distance"], exact, atol=1e-6)
    assert scores["lpips"] == pytest.approx(exact.mean(), abs=1e-6)
    assert scores["distance/l2"] == pytest.approx(scores["l2"], rel=1e-5)
    if model == "near":
        assert scores["floor_lpips"] == scores["floor_distance/l2"] == 0
    else:
        assert 0 < scores["floor_lpips"] < scores["lpips"]


def test_scores_in_the_distance_of_the_search_are_its_own_rows(plugin: Path, tmp_path: Path) -> None:
    database = tmp_path / "a.db"
    assert run(plugin, database, "-b", "recovery", "-m", "linear", "--set", "distance=lpips-alex") == 0
    rows, scores = measured(database, "linear", "recovery", "test")
    assert scores["lpips/lpips-alex"] == pytest.approx(rows["distance"].mean())
    with Results(database) as results:
        (evaluation,) = results.evaluations()
    assert {ask.role for ask in evaluation.asks} == {"test", "floor"}


def test_summarise_adds_a_distance_without_recovering(plugin: Path, tmp_path: Path, capsys: Any) -> None:
    added, direct = tmp_path / "a.db", tmp_path / "b.db"
    models = ("-m", "linear", "-m", "curved", "-m", "near")
    assert run(plugin, added, "-b", "recovery", "-b", "classification", *models, "--set", "scored_in=[]") == 0
    with Results(added) as results:
        before = results.query("SELECT key FROM request")
    common = ("--plugin", str(plugin), "--db", str(added), "--workers", "1")
    assert preimage("summarise", *common, "--distance", "lpips-alex", "--distance", "cross-entropy") == 0
    assert run(plugin, direct, "-b", "recovery", *models, "--set", "scored_in=[lpips-alex, cross-entropy]") == 0
    for model in ("linear", "curved", "near"):
        ours, theirs = (measured(database, model, "recovery", "test")[1] for database in (added, direct))
        assert ours == theirs and {"lpips", "distance/cross-entropy", "floor_lpips"} <= set(ours)
    with Results(added) as results:
        kinds = results.query("SELECT DISTINCT kind FROM request WHERE key NOT IN (SELECT value FROM json_each(?))",
                              json.dumps([row["key"] for row in before]))  # fmt: skip
    assert [row["kind"] for row in kinds] == ["rescored"]
    capsys.readouterr()
    assert preimage("summarise", *common, "--distance", "lpips-alex") == 0
    assert " 0 blocks measured" in capsys.readouterr().err
    assert preimage("summarise", *common, "--distance", "lpips-alxe") == 2
    assert "Did you mean 'lpips-alex'" in capsys.readouterr().err


def test_summarise_adds_nothing_to_recoveries_of_another_model(plugin: Path, tmp_path: Path, capsys: Any) -> None:
    database = tmp_path / "a.db"
    assert run(plugin, database, "-b", "recovery", "-m", "linear", "--set", "scored_in=[]") == 0
    text = plugin.read_text()
    common = ("--plugin", str(plugin), "--db", str(database), "--workers", "1")
    assert "default_rng(" in text
    plugin.write_text(text.replace("default_rng(", "default_rng(1 + "))
    assert preimage("summarise", *common, "--distance", "l2") == 2
    said = capsys.readouterr().err
    assert "linear / recovery: its stored rows are not of what loads now" in said
    assert "holds no recovery whose codes can be scored" in said


def test_a_block_that_is_not_stored_is_an_error(plugin: Path, tmp_path: Path) -> None:
    database = tmp_path / "a.db"
    assert run(plugin, database, "-b", "recovery", "-m", "linear") == 0
    with Results(database) as results, pytest.raises(StoreError, match="does not hold block 7 of request"):
        results.block(results.query("SELECT key FROM request")[0]["key"], 7)


def test_every_benchmark_can_be_asked_in_several_distances(plugin: Path, tmp_path: Path) -> None:
    """Scores of a further distance are those of a run in it alone, row by row."""
    both, alone = tmp_path / "a.db", tmp_path / "b.db"
    sets = ("--set", "sets=[inverted]", "--set", "scored_in=[]", "--set", "solver.steps=5")
    models = ("-m", "curved", "-m", "near")
    names = ("recovery", "overfitting", "goodness-of-fit", "classification", "outliers")
    every = [word for name in names for word in ("-b", name)]
    assert run(plugin, both, *every, *models, *sets, "--set", "distance=squared-l2",
               "--set", "further_distances=[lpips-alex]") == 0  # fmt: skip
    assert run(plugin, alone, *every, *models, *sets, "--set", "distance=lpips-alex") == 0
    for name in names:
        for model in ("curved", "near"):
            first = {"classification": "test", "outliers": "test"}.get(name, "val" if name != "recovery" else "test")
            _, scores = measured(both, model, name, first)
            _, single = measured(alone, model, name, first)
            assert single and {metric: scores[metric] for metric in single} == single
            assert (
                set(scores) - set(single)
                == {metric.removesuffix("/lpips-alex") for metric in single}
                | ({metric for metric in scores if "/squared-l2" in metric})
                or name == "goodness-of-fit"
            )
    with pytest.raises(UsageError, match="name each once"):
        RecoveryOptions(further_distances=("squared-l2",))


def test_classification_in_lpips_is_the_nearest_class_in_lpips(plugin: Path, tmp_path: Path) -> None:
    database = tmp_path / "a.db"
    assert run(plugin, database, "-b", "classification", "-m", "near", "--set", "further_distances=[lpips-alex]") == 0
    data = World(Registry(Sources(plugins=(str(plugin),)))).dataset("squares")
    (train, labels), (test, truth) = data.read("train", range(data.size("train"))), data.read("test", range(LIMIT))
    lpips = distance("lpips-alex")
    with torch.no_grad():
        apart = torch.stack([lpips(train, image.expand_as(train)) for image in test])
    _, scores = measured(database, "near", "classification", "test")
    exact = (labels[apart.argmin(dim=1)] == truth).double().mean()
    assert scores["accuracy/lpips-alex"] == pytest.approx(float(exact))


def test_the_first_steps_may_be_in_another_distance(plugin: Path, tmp_path: Path) -> None:
    """l2 to start, LPIPS to finish: the same evaluations, a better squared error than LPIPS alone finds from there."""
    settings = ("-b", "recovery", "-m", "linear", "--set", "distance=lpips-alex", "--set", "solver.patience=0")
    found: dict[str, Rows] = {}
    for name, more in (("alone", ()), ("mixed", ("--set", "first_distance=squared-l2", "--set", "first_share=0.6"))):
        assert run(plugin, tmp_path / f"{name}.db", *settings, "--set", "solver.metric=true", *more) == 0
        found[name], _ = measured(tmp_path / f"{name}.db", "linear", "recovery", "test")
    np.testing.assert_array_equal(found["mixed"]["evaluations"], found["alone"]["evaluations"])
    assert found["mixed"]["evaluations"].max() == 26
    assert not np.array_equal(found["mixed"]["distance"], found["alone"]["distance"])
    with Results(tmp_path / "mixed.db") as results:
        described = [json.loads(row["description"]) for row in results.query("SELECT * FROM request")]
    recoveries = [d for d in described if d["kind"] == "recovery"]
    assert all(d["first"]["steps"] == 15 and d["first"]["distance"] == "squared-l2" for d in recoveries)
    assert all(d["distance_identity"] == distance("lpips-alex").identity for d in recoveries)  # type: ignore[attr-defined]
    metrics = {(d["distance"], d["distance_identity"] != "") for d in described if d["kind"] == "metric"}
    assert metrics == {("squared-l2", False), ("lpips-alex", True)}


def test_the_last_distance_starts_where_the_first_has_ended(plugin: Path, tmp_path: Path) -> None:
    """With one last step no image is further, in the last distance, than at the best code of the first one."""
    common = ("-b", "recovery", "-m", "curved", "--set", "solver.patience=0", "--set", "scored_in=[lpips-alex]")
    assert run(plugin, tmp_path / "first.db", *common, "--set", "solver.steps=20") == 0
    assert run(plugin, tmp_path / "both.db", *common, "--set", "distance=lpips-alex", "--set", "solver.steps=21",
               "--set", "first_distance=squared-l2", "--set", f"first_share={20 / 21}") == 0  # fmt: skip
    first, _ = measured(tmp_path / "first.db", "curved", "recovery", "test in lpips-alex")
    both, _ = measured(tmp_path / "both.db", "curved", "recovery", "test")
    np.testing.assert_allclose(both["distance"], first["distance"], atol=1e-6)


def test_a_plan_tells_the_distances_apart(plugin: Path, tmp_path: Path, capsys: Any) -> None:
    assert run(plugin, tmp_path / "a.db", "-b", "recovery", "-m", "near", "--dry-run") == 0
    lines = capsys.readouterr().out.splitlines()
    (rescored,) = [line for line in lines if "rescored" in line and "squares/test" in line]
    (found,) = [line for line in lines if "neighbours" in line and "squares/test" in line]
    assert "squares/test, lpips-alex" in rescored and "," not in found


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("first_share=1", "`first_share` is 1.0; it must be between 0 and 1"),
        ("first_share=0.001", "0 of 25 steps would be in the first distance"),
        ("first_distance=lpps-alex", "unknown distance 'lpps-alex'. Did you mean 'lpips-alex'"),
        ("further_distances=[lpips-alex, lpips-alex]", "name each once"),
        ("scored_in=[l2, l2]", "name each distance once"),
        ("distance=squared-l2+x*l2", "the weight 'x' is not a positive number"),
    ],
)
def test_distances_that_cannot_be_meant(plugin: Path, tmp_path: Path, capsys: Any, setting: str, said: str) -> None:
    first = () if setting.startswith("first_distance") else ("--set", "first_distance=l2")
    assert run(plugin, tmp_path / "a.db", "-b", "recovery", "-m", "linear", *first, "--set", setting) == 2
    assert said in capsys.readouterr().err


def test_sets_that_are_not_there_are_left_out_only_if_they_may_be(plugin: Path, tmp_path: Path, capsys: Any) -> None:
    database = tmp_path / "a.db"
    outliers = ("-b", "outliers", "-m", "near", "--set", "sets=[inverted]")
    assert run(plugin, database, *outliers, "--set", "sets_if_present=[svhn, digits]") == 0
    _, scores = measured(database, "near", "outliers", "test")
    assert {"auroc/inverted", "auroc/digits"} <= set(scores) and not any("svhn" in name for name in scores)
    assert run(plugin, database, *outliers[:-1], "sets=[svhn]", "--offline") == 1
    assert run(plugin, database, *outliers, "--set", "sets_if_present=[inverted]") == 2
    assert "each once" in capsys.readouterr().err


def test_cross_entropy_is_torch_s_inside_the_range_and_leads_back_outside() -> None:
    x, y = torch.rand(5, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.rand(5, 1, 4, 4)
    ours = CrossEntropy()(x, y)
    exact = torch.nn.functional.binary_cross_entropy(x, y, reduction="none").flatten(1).mean(dim=1)
    torch.testing.assert_close(ours, exact, rtol=1e-5, atol=1e-6)
    assert torch.all(CrossEntropy()(y, y) < CrossEntropy()(x, y)) and CrossEntropy().embed(x) is None
    for outside, target in ((-0.2, 0.5), (1.2, 0.5), (-0.2, 1.0), (1.2, 0.0)):
        pixel = torch.full((1, 1, 1, 1), outside, requires_grad=True)
        energy = CrossEntropy()(pixel, torch.full((1, 1, 1, 1), target))
        (slope,) = torch.autograd.grad(energy.sum(), pixel)
        assert torch.isfinite(energy).all() and float(slope) * (outside - 0.5) > 0
