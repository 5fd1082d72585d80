"""A generator that other people trained, in a user's plug-in: classification and outliers in l2 and LPIPS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from preimage.harness.distances import distance
from preimage.harness.plugins import Registry, Sources
from preimage.harness.results import Results
from preimage.harness.world import World
from tests.test_run import preimage
from tests.test_truth import measured

PLUGIN = Path(__file__).parent / "hayato_plugin.py"
LIMIT = 4


@pytest.fixture
def world(shared: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("PREIMAGE_ASSETS", str(shared / "assets"))
    return World(Registry(Sources(plugins=(str(PLUGIN),))))


def test_its_images_are_those_of_the_people_who_trained_it(world: World, shared: Path) -> None:
    with np.load(shared / "assets" / "generators" / "hayato_mnist_cwgangp" / "io.npz") as file:
        io = {name: torch.from_numpy(file[name]) for name in file.files}
    code = io["z"].clone().requires_grad_()
    images = world.generator("hayato").decode(code, io["labels"].long())
    (slope,) = torch.autograd.grad((images * io["rand"]).sum(), code)
    torch.testing.assert_close(images, io["img"], rtol=0, atol=1e-5)
    torch.testing.assert_close(slope, io["grad_z"], rtol=0, atol=1e-4)


def test_the_suite_intriguing_on_it_beside_its_nearest_neighbours(world: World, tmp_path: Path) -> None:
    database = tmp_path / "a.db"
    settings = ("solver.steps=5", "restarts=1", "draws=20", f"block={LIMIT}", "sets=[constant]", "sets_if_present=[]",
                "by=[recovery]")  # fmt: skip
    more = [word for setting in settings for word in ("--set", setting)]
    manifolds = tuple(word for name in ("recovery", "classification", "outliers") for word in ("-b", name))
    models = (*manifolds, "--plugin", str(PLUGIN), "-m", "hayato", "-m", "mnist-1nn-300", "-d", "mnist-arrays")
    common = ("--limit", str(LIMIT), "--workers", "1", "--db", str(database))
    assert preimage("run", "intriguing", *models, *common, *more) == 0
    with Results(database) as results:
        scores: dict[tuple[str, str], Any] = {(s["model"], s["metric"]): s for s in results.scores()}
    for model in ("hayato", "mnist-1nn-300"):
        for suffix in ("", "/lpips-alex"):
            for metric in ("accuracy", "auroc/constant", "aupr/constant", "fpr95/constant", "mse", "lpips"):
                score = scores[model, metric + suffix]
                assert score["status"] == "ok" and score["low"] <= score["value"] <= score["high"]
                assert score["n"] == LIMIT
    data = world.dataset("mnist-arrays")
    (train, labels), (test, truth) = data.read("train", range(300)), data.read("test", range(LIMIT))
    for suffix, name in (("", "squared-l2"), ("/lpips-alex", "lpips-alex")):
        with torch.no_grad():
            apart = torch.stack([distance(name)(train, image.expand_as(train)) for image in test])
        exact = float((labels[apart.argmin(dim=1)] == truth).double().mean())
        assert scores["mnist-1nn-300", f"accuracy{suffix}"]["value"] == pytest.approx(exact)
        rows, _ = measured(database, "mnist-1nn-300", "recovery", "test" + (f" ({name})" if suffix else ""))
        np.testing.assert_allclose(rows["distance"], apart.min(dim=1).values.double().numpy(), atol=1e-5)
