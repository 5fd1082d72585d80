"""Exact answers on the whole road: what `preimage run` stores against closed forms and brute force."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from preimage.harness.plugins import Registry, Sources
from preimage.harness.results import Results
from preimage.harness.rows import Rows
from preimage.harness.world import World
from tests.plugin_files import small_world
from tests.test_run import preimage

Array = np.ndarray[Any, np.dtype[np.float64]]


def measured(database: Path, model: str, benchmark: str, role: str) -> tuple[Rows, dict[str, float]]:
    """The rows of an evaluation's role, and its scores."""
    with Results(database) as results:
        evaluation = next(e for e in results.evaluations() if (e.model, e.benchmark) == (model, benchmark))
        ask = next(ask for ask in evaluation.asks if ask.role == role)
        found = [s for s in results.scores() if (s["model"], s["benchmark"]) == (model, benchmark)]
        return results.rows(ask.request, ask.count), {s["metric"]: s["value"] for s in found}


def least_squares(weight: Array, offset: Array, images: Array) -> Array:
    """The smallest mean squared error of each image [n, D] over the affine range of x = W z + b, [n]."""
    basis, _ = np.linalg.qr(weight)
    rest = (images - offset) - (images - offset) @ basis @ basis.T
    return np.asarray((rest**2).mean(axis=1))


def pixels(registry: Registry, dataset: str, split: str, count: int) -> Array:
    """The first images of a split as [n, D] float64."""
    images, _ = registry.dataset(dataset).read(split, range(count))
    return images.flatten(1).double().numpy()


@pytest.mark.parametrize("solver", ["lbfgs", "adam"])
def test_a_strangers_linear_generator_is_recovered_as_least_squares(tmp_path: Path, solver: str) -> None:
    plugin, database = small_world(tmp_path), tmp_path / "a.db"
    settings = ["--set", f"solver={solver}"] + (["--set", "solver.steps=2000"] if solver == "adam" else [])
    command = [
        "run",
        "-b",
        "recovery",
        "-m",
        "linear",
        "--plugin",
        str(plugin),
        "--db",
        str(database),
        "--workers",
        "1",
    ]
    assert preimage(*command, *settings, "--limit", "32") == 0
    world = World(Registry(Sources(plugins=(str(plugin),))))
    generator = world.generator("linear")
    weight, offset = generator.w.double().numpy(), generator.b.double().numpy()  # type: ignore[union-attr, operator]
    rows, scores = measured(database, "linear", "recovery", "test")
    exact = least_squares(weight, offset, pixels(world.registry, "squares", "test", 32))
    np.testing.assert_allclose(rows["mse"], exact, rtol=1e-3)
    assert scores["mse"] == pytest.approx(exact.mean(), rel=1e-3)
    assert scores["mse_median"] == pytest.approx(np.median(exact), rel=1e-3)
    assert scores["psnr"] == pytest.approx(10 * np.log10(1 / exact.mean()), abs=0.01)
    assert scores["l2"] == pytest.approx(np.sqrt(exact * 64).mean(), rel=1e-3)
    assert scores["floor_mse"] < 1e-8


@pytest.mark.parametrize("distance", ["squared-l2", "l2"])
def test_ppca_by_the_ordinary_solver_equals_its_closed_form(tmp_path: Path, distance: str) -> None:
    database = tmp_path / "a.db"
    assert preimage("run", "-b", "recovery", "-m", "ppca", "--db", str(database), "--workers", "1", "--limit", "64",
                    "--set", f"distance={distance}") == 0  # fmt: skip
    world = World(Registry())
    matrix = {name: value.double().numpy() for name, value in world.generator("ppca").state_dict().items()}
    weight = next(value for value in matrix.values() if value.shape == (784, 64))
    offset = next(value for value in matrix.values() if value.shape == (784,))
    rows, scores = measured(database, "ppca", "recovery", "test")
    exact = least_squares(weight, offset, pixels(world.registry, "fashion-mnist", "test", 64))
    np.testing.assert_allclose(rows["mse"], exact, rtol=1e-3)
    suffix = "" if distance == "squared-l2" else "/l2"
    assert scores[f"floor_mse{suffix}"] < 1e-8


def test_the_mean_image_is_as_far_as_the_mean_is(tmp_path: Path) -> None:
    database = tmp_path / "a.db"
    assert preimage("run", "-b", "recovery", "-m", "mean-image", "--db", str(database), "--workers", "1",
                    "--limit", "64") == 0  # fmt: skip
    registry = Registry()
    centre = pixels(registry, "fashion-mnist", "train", 8192).mean(axis=0)
    rows, _ = measured(database, "mean-image", "recovery", "test")
    exact = ((pixels(registry, "fashion-mnist", "test", 64) - centre) ** 2).mean(axis=1)
    np.testing.assert_allclose(rows["mse"], exact, rtol=1e-4)


def test_nearest_neighbours_equal_brute_force(tmp_path: Path) -> None:
    database = tmp_path / "a.db"
    assert preimage("run", "-b", "recovery", "-b", "classification", "-b", "overfitting", "-m", "1nn",
                    "--db", str(database), "--workers", "1", "--limit", "48") == 0  # fmt: skip
    registry = Registry()
    train, test = (pixels(registry, "fashion-mnist", *which) for which in (("train", 8192), ("test", 48)))
    labels = registry.dataset("fashion-mnist").read("train", range(8192))[1].numpy()
    truth = registry.dataset("fashion-mnist").read("test", range(48))[1].numpy()
    apart = np.stack([((train - image) ** 2).mean(axis=1) for image in test])
    rows, scores = measured(database, "1nn", "recovery", "test")
    np.testing.assert_allclose(rows["mse"], apart.min(axis=1), rtol=1e-6)
    assert (rows["neighbour"] == apart.argmin(axis=1)).all()
    assert scores["floor_mse"] == 0
    per_class = np.stack([apart[:, labels == c].min(axis=1) for c in range(10)], axis=1)
    rows, scores = measured(database, "1nn", "classification", "test")
    np.testing.assert_allclose(rows.table("mse"), per_class, rtol=1e-6)
    assert scores["accuracy"] == pytest.approx((labels[apart.argmin(axis=1)] == truth).mean())
    _, scores = measured(database, "1nn", "overfitting", "train")
    assert (scores["mre_train"], scores["mre_generated"], scores["mre_gap"]) == (0, 0, 1)


def test_the_conditional_generator_is_recovered_under_each_label(tmp_path: Path) -> None:
    """Classification chooses the label whose recovery is nearest; the row of the true label is the recovery row."""
    plugin, database = small_world(tmp_path), tmp_path / "a.db"
    command = ["run", "-b", "recovery", "-b", "classification", "-m", "curved", "--plugin", str(plugin)]
    assert preimage(*command, "--db", str(database), "--workers", "1", "--limit", "32") == 0
    every, scores = measured(database, "curved", "classification", "test")
    table, truth = every.table("distance"), every.table("true_label")[:, 0].astype(int)
    assert every.label.tolist() == [0, 1, 2] * 32
    assert scores["accuracy"] == pytest.approx((table.argmin(axis=1) == truth).mean())
    own, _ = measured(database, "curved", "recovery", "test")
    assert own.label.tolist() == truth.tolist()
    np.testing.assert_allclose(own["distance"], table[np.arange(32), truth], rtol=0.05)


def test_stored_codes_decode_to_the_stored_errors(tmp_path: Path) -> None:
    """A row can be recomputed from what is stored: the code, the label, the image's index."""
    plugin, database = small_world(tmp_path), tmp_path / "a.db"
    command = ["run", "-b", "recovery", "-m", "curved", "--plugin", str(plugin), "--db", str(database)]
    assert preimage(*command, "--workers", "1", "--limit", "20") == 0
    world = World(Registry(Sources(plugins=(str(plugin),))))
    with Results(database) as results:
        ask = results.evaluations()[0].asks[0]
        rows, blobs = results.rows(ask.request, ask.count), results.codes(ask.request, ask.count)
    code = torch.from_numpy(np.stack([np.frombuffer(blob, "<f4") for blob in blobs]))
    images = world.generator("curved").decode(code, torch.from_numpy(rows.label)).flatten(1).double().numpy()
    squares = (images - pixels(world.registry, "squares", "test", 20)) ** 2
    np.testing.assert_allclose(rows["mse"], squares.mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(rows["code_norm"], code.double().norm(dim=1).numpy(), rtol=1e-6)


def test_more_starts_and_restarts_are_never_worse_and_are_counted(tmp_path: Path) -> None:
    plugin, database = small_world(tmp_path), tmp_path / "a.db"
    errors, counted = [], []
    for number, extra in enumerate((["restarts=1"], ["restarts=4"], ["restarts=4", "draws=50"])):
        settings = [word for pair in extra for word in ("--set", pair)]
        path = database.with_name(f"{number}.db")
        command = [
            "run",
            "-b",
            "recovery",
            "-m",
            "curved",
            "--plugin",
            str(plugin),
            "--db",
            str(path),
            "--workers",
            "1",
        ]
        assert preimage(*command, *settings, "--limit", "32", "--set", "solver=adam", "--set", "solver.steps=60") == 0
        rows, _ = measured(path, "curved", "recovery", "test")
        errors.append(rows["distance"])
        counted.append(rows["evaluations"])
    assert (errors[1] <= errors[0] + 1e-9).all()
    assert errors[2].mean() <= errors[0].mean() + 1e-9
    assert (counted[0] == 61).all()
    assert (counted[1] == 241).all()


def test_a_plan_predicts_fixed_budgets_exactly(tmp_path: Path, capsys: Any) -> None:
    """Adam spends all its steps, so the plan's number of evaluations is what the run spends."""
    plugin, database = small_world(tmp_path), tmp_path / "a.db"
    command = [
        "run",
        "-b",
        "recovery",
        "-m",
        "linear",
        "--plugin",
        str(plugin),
        "--db",
        str(database),
        "--workers",
        "1",
    ]
    command += ["--set", "solver=adam", "--set", "solver.steps=25", "--set", "block=16", "--limit", "32"]
    assert preimage(*command, "--dry-run") == 0
    assert not database.exists()
    planned = capsys.readouterr().out.split("to measure, ")[-1].split(" generator")[0]
    assert preimage(*command) == 0
    spent = capsys.readouterr().err.split("blocks measured, ")[1].split(" generator")[0]
    assert planned == spent


def test_the_request_names_the_whole_protocol(tmp_path: Path) -> None:
    plugin, database = small_world(tmp_path), tmp_path / "a.db"
    command = [
        "run",
        "-b",
        "recovery",
        "-m",
        "linear",
        "--plugin",
        str(plugin),
        "--db",
        str(database),
        "--workers",
        "1",
    ]
    assert preimage(*command, "--limit", "4", "--seed", "3") == 0
    with Results(database) as results:
        description = results.description(results.scores()[0]["request"])
    assert {"kind", "version", "model", "images", "label", "operator", "distance", "solver", "restarts", "draws",
            "penalty", "project", "metric", "block", "threads", "seed"} <= set(description)  # fmt: skip
    assert description["seed"] == 3
    assert description["solver"]["name"] == "lbfgs"
    assert len(description["model"]["identity"]) == len(description["images"]["fingerprint"]) == 64
    assert json.dumps(description)
