"""Likelihoods through the whole road: what is asked, what rows hold, resuming, sharding, refusals."""

from __future__ import annotations

import json
import math
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from preimage.harness.asking_likelihood import AnnealingOptions, likelihood_of_simulated, noises_of
from preimage.harness.benchmark import Model
from preimage.harness.errors import Refused, UsageError
from preimage.harness.likelihood_requests import FittedNoise, FixedNoise, Likelihood, Tuning
from preimage.harness.plugins import Registry, Sources
from preimage.harness.results import Results
from preimage.harness.samplers.prior_path import PriorPath
from preimage.harness.samplers.published import Published
from preimage.harness.variation import patch_variation
from preimage.harness.world import World
from tests.test_run import preimage

PLUGIN = """
import torch
from preimage.harness import (
    ArrayDataset, Generator, ImageSpec, LatentSpace, ModelCard, Prior, StandardNormal, Uniform, hookimpl,
)

IMAGE = ImageSpec(1, 4, 4)


def images(count, seed):
    numbers = torch.Generator().manual_seed(seed)
    codes = torch.randn(count, 3, generator=numbers)
    basis = torch.randn(3, 16, generator=torch.Generator().manual_seed(1)) * 0.2
    return (0.5 + codes @ basis + 0.05 * torch.randn(count, 16, generator=numbers)).reshape(count, 1, 4, 4).clamp(0, 1)


class Linear(Generator):
    def __init__(self, classes=0, prior=StandardNormal()):
        super().__init__()
        self.spaces = {"z": LatentSpace("z", 3, prior), "w": LatentSpace("w", 3, None)}
        self.image, self.num_classes = IMAGE, classes
        self.W = torch.randn(3, 16, generator=torch.Generator().manual_seed(1)) * 0.2
        self.b = torch.full((16,), 0.5)

    def decode(self, code, label=None, *, space="z"):
        shift = 0.0 if label is None else 0.2 * label.unsqueeze(1).float()
        return (code @ self.W + self.b + shift).reshape(-1, 1, 4, 4)


class Broken(Linear):
    def decode(self, code, label=None, *, space="z"):
        return super().decode(code) * torch.where(code.sum(dim=1) > -100, torch.nan, 1.0).reshape(-1, 1, 1, 1)


class Vague(Prior):
    def sample(self, streams, dim):
        return streams.normal(dim)

    def project(self, code):
        return code


MODELS = {
    "linear": lambda device: Linear(), "classes": lambda device: Linear(2),
    "box": lambda device: Linear(0, Uniform(-1.0, 1.0)),
    "vague": lambda device: Linear(0, Vague()), "broken": lambda device: Broken(),
}


@hookimpl
def register_models(register):
    for name, load in MODELS.items():
        register(ModelCard(name, "ours", "grains", IMAGE, 2 if name == "classes" else 0, load=load))


@hookimpl
def register_datasets(register):
    label = lambda count: torch.arange(count) % 2
    register(ArrayDataset("grains", {"train": (images(32, 2), label(32)), "test": (images(12, 3), label(12))}))
"""

QUICK = ("sampler=prior-path", "sampler.evaluations=101", "sampler.chains=3", "tuning_images=2", "simulated=4",
         "noise_images=8", "solver.steps=20", "solver.metric=false", "draws=2", "annealed_block=4")  # fmt: skip


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("likelihood") / "grains.py"
    path.write_text(PLUGIN)
    return path


def run(plugin: Path, database: Path, *more: str, settings: tuple[str, ...] = QUICK) -> int:
    words = [word for setting in settings for word in ("--set", setting)]
    one = () if "--workers" in more else ("--workers", "1")
    return preimage("run", "-b", "likelihood", "--plugin", str(plugin), "--db", str(database), *one, *words, *more)


def scores(database: Path, capsys: Any) -> dict[str, dict[str, Any]]:
    capsys.readouterr()
    assert preimage("scores", "--json", "--db", str(database)) == 0
    return {f"{one['model']} {one['metric']}": one for one in json.loads(capsys.readouterr().out)}


def rows_of(database: Path, model: str, role: str) -> tuple[Any, str]:
    with Results(database) as results:
        (evaluation,) = [e for e in results.evaluations() if e.model == model and e.benchmark == "likelihood"]
        (ask,) = [a for a in evaluation.asks if a.role == role]
        return results.rows(ask.request, ask.count), ask.request


def test_scores_follow_from_the_rows(plugin: Path, tmp_path: Path, capsys: Any) -> None:
    database = tmp_path / "a.db"
    assert run(plugin, database, "-m", "linear", "--workers", "1") == 0
    found = scores(database, capsys)
    rows, _ = rows_of(database, "linear", "test")
    weights = np.stack([rows[f"log_weight_{chain}"] for chain in range(3)])
    by_hand = np.log(np.exp(weights - weights.max()).mean(axis=0)) + weights.max()
    assert rows["log_likelihood"] == pytest.approx(by_hand, abs=1e-9)
    score = found["linear log_likelihood"]
    assert score["value"] == pytest.approx(rows["log_likelihood"].mean()) and score["n"] == 12
    assert score["low"] < score["value"] < score["high"]
    bits = found["linear bits_per_dim"]["value"]
    assert bits == pytest.approx(score["value"] / (16 * math.log(2)) - 8)
    made, _ = rows_of(database, "linear", "simulated")
    assert made["gap"] == pytest.approx(made["upper"] - made["log_likelihood"])
    assert found["linear bdmc_gap"]["value"] == pytest.approx(made["gap"].mean()) and len(made) == 4


def test_the_noise_is_the_error_of_training_images(plugin: Path, tmp_path: Path, capsys: Any) -> None:
    database = tmp_path / "a.db"
    assert run(plugin, database, "-m", "linear") == 0
    sigma2 = scores(database, capsys)["linear sigma2"]
    assert sigma2["low"] is None
    world = World(Registry(Sources(plugins=(str(plugin),))))
    train, _ = world.dataset("grains").read("train", list(range(8)))
    generator: Any = world.generator("linear")
    residual = (train.flatten(1) - generator.b).double()
    basis = generator.W.double()
    code = torch.linalg.lstsq(basis.T, residual.T).solution
    least = (residual - (basis.T @ code).T).square().mean()
    assert sigma2["value"] == pytest.approx(float(least), rel=1e-3)


def test_it_resumes_and_shards_to_the_same_bytes(plugin: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole.db", tmp_path / "parts.db"
    assert run(plugin, whole, "-m", "classes", "--workers", "1") == 0
    assert run(plugin, parts, "-m", "classes", "--limit", "4") == 0
    assert run(plugin, parts, "-m", "classes", "--workers", "2") == 0
    for role in ("test", "simulated"):
        (one, key), (two, other) = rows_of(whole, "classes", role), rows_of(parts, "classes", role)
        assert key == other and set(one.values) == set(two.values)
        assert all(one[name].tobytes() == two[name].tobytes() for name in one.values)


def test_a_conditional_model_is_asked_under_the_images_own_labels(plugin: Path, tmp_path: Path) -> None:
    database = tmp_path / "a.db"
    assert run(plugin, database, "-m", "classes", "--limit", "4") == 0
    rows, _ = rows_of(database, "classes", "test")
    assert rows.label.tolist() == [0, 1, 0, 1] == rows["true_label"].tolist()


def test_the_plan_is_what_is_spent(plugin: Path, tmp_path: Path, capsys: Any) -> None:
    database = tmp_path / "a.db"
    capsys.readouterr()
    assert run(plugin, database, "-m", "linear", "--dry-run") == 0
    plan = capsys.readouterr().out
    assert all(kind in plan for kind in ("curvature", "tuning", "likelihood", "recovery"))
    for sampler in ("published", "prior-path", "laplace"):
        own = (f"sampler={sampler}", f"sampler.evaluations={601 if sampler == 'laplace' else 101}")
        assert run(plugin, tmp_path / f"{sampler}.db", "-m", "linear", settings=(*QUICK[2:], *own)) == 0
        world = World(Registry(Sources(plugins=(str(plugin),))))
        with closing(sqlite3.connect(tmp_path / f"{sampler}.db")) as db:
            spent = db.execute(
                "SELECT r.kind, r.key, sum(b.evaluations) FROM block b JOIN request r ON r.key = b.request "
                "WHERE r.kind IN ('likelihood', 'tuning', 'curvature') GROUP BY r.key").fetchall()  # fmt: skip
        assert {kind for kind, _, _ in spent} >= {"likelihood"}
        for request, images in asked(world, sampler, plugin):
            (own_spent,) = [total for _, key, total in spent if key == request.key()]
            assert own_spent == request.evaluations(images), request.kind


def asked(world: World, sampler: str, plugin: Path) -> list[tuple[Any, int]]:
    """The likelihood requests of the runs above, and what they build on, with how many rows were measured of each."""
    from preimage.harness.options import options_from, parse_settings
    from preimage.harness.plan import asks_of

    benchmark = world.registry.benchmarks["likelihood"]
    own = (f"sampler={sampler}", f"sampler.evaluations={601 if sampler == 'laplace' else 101}")
    settings = parse_settings((*QUICK[2:], *own))
    options = options_from(benchmark.options, settings, world.registry.choices, source="test")
    found: list[tuple[Any, int]] = []
    for ask in asks_of(benchmark, world.model("linear"), world.data("grains"), options, world).values():
        request: Any = ask.request
        found.append((request, ask.count))
        if request.tuning is not None:
            found.append((request.tuning, 1))
        if request.curvature is not None:
            found.append((request.curvature, 1))
    return found


def test_a_stored_score_is_verified(plugin: Path, tmp_path: Path, capsys: Any) -> None:
    database = tmp_path / "a.db"
    assert run(plugin, database, "-m", "linear") == 0
    verify = ("verify", "linear", "likelihood", "-n", "6", "--plugin", str(plugin), "--db", str(database), "--json")
    capsys.readouterr()
    assert preimage(*verify) == 0
    assert json.loads(capsys.readouterr().out)[0]["verdict"] == "identical"


def test_refusals_say_why(plugin: Path, tmp_path: Path, capsys: Any) -> None:
    database = tmp_path / "a.db"
    assert run(plugin, database, "-m", "vague", "-m", "linear", "--limit", "4") == 0
    assert "no density" in scores(database, capsys)["vague *"]["reason"]
    assert run(plugin, tmp_path / "b.db", "-m", "linear", settings=(*QUICK, "space=w")) == 1
    assert "space=z" in scores(tmp_path / "b.db", capsys)["linear *"]["reason"]
    assert run(plugin, tmp_path / "c.db", "-m", "broken", settings=(*QUICK, "sigma2=[0.01]")) == 1
    reason = scores(tmp_path / "c.db", capsys)["broken *"]
    assert reason["status"] == "failed" and "not finite" in reason["reason"]


WRONG = (
    *("sigma2=[0]", "sigma2=[-1]", "sigma2=[0.01, 0.01]", "noise_images=0", "annealed_block=0"),
    *("sampler.chains=1", "sampler=nuts", "sampler.evaluations=1", "tuning_images=1"),
)


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_options_are_usage_errors(plugin: Path, tmp_path: Path, wrong: str) -> None:
    assert run(plugin, tmp_path / "a.db", "-m", "linear", settings=(*QUICK, wrong)) == 2


def test_a_grid_of_noise_is_scored_value_by_value(plugin: Path, tmp_path: Path, capsys: Any) -> None:
    database = tmp_path / "a.db"
    assert run(plugin, database, "-m", "linear", "--limit", "4", settings=(*QUICK, "sigma2=[0.01, 0.04]")) == 0
    found = scores(database, capsys)
    assert found["linear sigma2/sigma2=0.04"]["value"] == 0.04
    assert found["linear log_likelihood/sigma2=0.01"]["value"] != found["linear log_likelihood/sigma2=0.04"]["value"]


def test_another_data_set_needs_a_noise_of_its_own(plugin: Path) -> None:
    world = World(Registry(Sources(plugins=(str(plugin),))))
    with pytest.raises(Refused, match="sigma2="):
        noises_of(world.model("linear"), _named(world.data("grains"), "others"), AnnealingOptions(sampler=PriorPath()))


def _named(data: Any, name: str) -> Any:
    import dataclasses

    return dataclasses.replace(data, name=name)


def test_requests_name_what_changes_numbers(plugin: Path) -> None:
    world = World(Registry(Sources(plugins=(str(plugin),))))
    model: Model = world.model("linear")

    def asked(options: AnnealingOptions) -> Likelihood:
        (noise,) = noises_of(model, world.data("grains"), options).values()
        request = likelihood_of_simulated(model, options, noise, 4).request
        assert isinstance(request, Likelihood)
        return request

    first = asked(AnnealingOptions(sampler=PriorPath()))
    assert isinstance(first.noise, FittedNoise) and isinstance(first.tuning, Tuning) and first.bounded
    others = [
        AnnealingOptions(sampler=PriorPath(evaluations=2000)),
        AnnealingOptions(sampler=PriorPath(), sigma2=(0.01,)),
        AnnealingOptions(sampler=PriorPath(), noise_images=16),
        AnnealingOptions(sampler=PriorPath(), tuning_images=3),
        AnnealingOptions(sampler=PriorPath(), seed=1),
        AnnealingOptions(sampler=Published()),
    ]
    keys = {asked(options).key() for options in others}
    assert len(keys) == len(others) and first.key() not in keys
    published = asked(others[-1])
    assert published.tuning is None and published.curvature is None


def test_variation_of_patches_by_hand() -> None:
    image = torch.zeros(1, 1, 9, 17)
    image[0, 0, :8, 8:12] = 0.5  # left patch black; right one half 0.5, half black: std 0.25, mean 0.25
    assert patch_variation(image).tolist() == [pytest.approx((0 + 1) / 2)]
    small = torch.tensor([[[[0.2, 0.4], [0.2, 0.4]]]])
    assert patch_variation(small).item() == pytest.approx(0.1 / 0.3)


def test_fixed_noise_is_above_zero() -> None:
    for value in (0.0, -0.1, math.inf, math.nan):
        with pytest.raises(UsageError, match="sigma2"):
            FixedNoise(value)
