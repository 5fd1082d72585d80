"""Recovery by other roads: an encoder, another space, projections, penalties, a folder of images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from preimage.harness.results import Results
from preimage.harness.rows import Rows
from tests.test_run import preimage

WORLD = '''
import numpy as np
import torch

from preimage.harness import (ArrayDataset, Generator, ImageSpec, LatentSpace, ModelCard, SphereUniform, StandardNormal,
                              Uniform, hookimpl)

IMAGE = ImageSpec(1, 6, 6)
W = torch.tensor(0.1 * np.random.default_rng(0).standard_normal((36, 4)), dtype=torch.float32)


class Spaced(Generator):
    """x = W z + 1/2, and a space w = 2 z without a prior."""

    def __init__(self, prior):
        super().__init__()
        self.spaces = {"z": LatentSpace("z", 4, prior), "w": LatentSpace("w", 4, None)}
        self.image, self.num_classes = IMAGE, 0

    def decode(self, code, label=None, *, space="z"):
        z = code if space == "z" else code / 2
        return (z @ W.T + 0.5).reshape(-1, *IMAGE)

    def push(self, code, label=None, *, source, target):
        return 2 * code


class Encoded(Spaced):
    """The same with an encoder: the least-squares code, a little off."""

    def encode(self, image, label=None):
        return (image.flatten(1) - 0.5) @ torch.linalg.pinv(W).T + 0.01


@hookimpl
def register_models(register):
    for name, kind, prior in (("spaced", Spaced, StandardNormal()), ("boxed", Spaced, Uniform(-0.1, 0.1)),
                              ("round", Spaced, SphereUniform(0.5)), ("encoded", Encoded, StandardNormal())):
        register(ModelCard(name=name, family="test", dataset="six", image=IMAGE, num_classes=0,
                           load=lambda device, kind=kind, prior=prior: kind(prior)))


@hookimpl
def register_datasets(register):
    images = np.random.default_rng(1).random((8, 1, 6, 6)).astype(np.float32)
    register(ArrayDataset("six", {"train": (images, None), "test": (images, None)}))
'''


@pytest.fixture
def recover(tmp_path: Path) -> Any:
    """Recover the eight test images of a model; its rows, codes [8, 4] and request."""
    plugin = tmp_path / "world.py"
    plugin.write_text(WORLD)

    def recovered(model: str, *settings: str, role: str = "test", more: tuple[str, ...] = ()) -> Any:
        database = tmp_path / f"{len(list(tmp_path.iterdir()))}.db"
        sets = [word for pair in settings for word in ("--set", pair)]
        command = [
            "run",
            "-b",
            "recovery",
            "-m",
            model,
            "--plugin",
            str(plugin),
            "--db",
            str(database),
            "--workers",
            "1",
        ]
        assert preimage(*command, *sets, *more) == 0
        with Results(database) as results:
            ask = next(ask for ask in results.evaluations()[0].asks if ask.role == role)
            codes = np.stack([np.frombuffer(c, "<f4") for c in results.codes(ask.request, ask.count)])
            return results.rows(ask.request, ask.count), codes, results.description(ask.request)

    return recovered


def test_a_model_with_an_encoder_is_recovered_in_one_pass(recover: Any) -> None:
    rows, codes, request = recover("encoded")
    exact, least, _ = recover("encoded", "encoder=false")
    assert request["solver"] == {"name": "encoder"}
    assert set(rows.outcome) == {"ENCODED"}
    assert (rows["evaluations"] == 2).all()  # the encoder's pass and the decoding of its code
    np.testing.assert_allclose(codes, least + 0.01, atol=1e-4)
    assert (rows["mse"] > exact["mse"]).all()


def test_an_encoders_code_is_pushed_to_the_space_asked_for(recover: Any) -> None:
    """Pushed w = 2 z decodes to the same images as the encoder's z."""
    in_z, z, _ = recover("encoded")
    in_w, w, _ = recover("encoded", "space=w")
    np.testing.assert_allclose(w, 2 * z, rtol=1e-5)
    np.testing.assert_allclose(in_w["mse"], in_z["mse"], rtol=1e-4)


@pytest.mark.parametrize("setting", ["project=true", "penalty=0.1"])
def test_what_needs_a_prior_is_refused_where_there_is_none(tmp_path: Path, capsys: Any, setting: str) -> None:
    plugin = tmp_path / "world.py"
    plugin.write_text(WORLD)
    command = ["run", "-b", "recovery", "-m", "spaced", "--plugin", str(plugin), "--db", str(tmp_path / "a.db")]
    assert preimage(*command, "--set", "space=w", "--set", setting) == 1
    assert f"space 'w' has no prior, so `{setting.split('=')[0]}` has no meaning there" in capsys.readouterr().out


def test_recovery_in_a_space_without_a_prior_starts_from_pushed_draws(recover: Any) -> None:
    in_z, z, _ = recover("spaced")
    in_w, w, request = recover("spaced", "space=w")
    assert request["space"] == request["metric"]["space"] == "w"
    np.testing.assert_allclose(w, 2 * z, atol=1e-3)
    np.testing.assert_allclose(in_w["mse"], in_z["mse"], rtol=1e-5)
    assert "outside_prior" in in_z.values
    assert "outside_prior" not in in_w.values


@pytest.mark.parametrize("solver", ["lbfgs", "adam", "rmsprop"])
def test_projection_keeps_codes_plausible(recover: Any, solver: str) -> None:
    free, _, _ = recover("boxed", f"solver={solver}")
    kept, codes, request = recover("boxed", f"solver={solver}", "project=true")
    assert request["project"] is True
    assert free["outside_prior"].mean() > 0.5
    assert kept["outside_prior"].sum() == 0
    assert np.abs(codes).max() <= 0.1 + 1e-6
    assert (kept["mse"] >= free["mse"] - 1e-7).all()


def test_codes_of_a_sphere_stay_on_it(recover: Any) -> None:
    _, codes, _ = recover("round", "project=true")
    np.testing.assert_allclose(np.linalg.norm(codes, axis=1), 0.5, rtol=1e-5)


def test_the_penalty_draws_codes_towards_the_prior(recover: Any) -> None:
    """Creswell's penalty, in closed form: minimise ||W z - r||^2 / D + beta ||z||^2 / (2 d) (up to a constant)."""
    beta = 0.05
    _, codes, request = recover("spaced", f"penalty={beta}")
    weight = 0.1 * np.random.default_rng(0).standard_normal((36, 4))
    rest = np.random.default_rng(1).random((8, 1, 6, 6)).reshape(8, 36).astype(np.float32) - 0.5
    exact = np.linalg.solve(2 / 36 * weight.T @ weight + beta / 4 * np.eye(4), 2 / 36 * weight.T @ rest.T).T
    assert request["penalty"] == beta
    np.testing.assert_allclose(codes, exact, atol=2e-3)


@pytest.mark.parametrize("solver", ["lbfgs", "rmsprop"])
def test_the_penalty_of_a_uniform_prior_is_its_box(recover: Any, solver: str) -> None:
    """Creswell and Bharath clip codes of a uniform prior, whose density is flat, instead of penalising them."""
    kept, codes, _ = recover("boxed", f"solver={solver}", "project=true")
    penalised, same, request = recover("boxed", f"solver={solver}", "penalty=0.01")
    assert (request["penalty"], request["project"]) == (0.01, False)
    assert np.abs(same).max() <= 0.1
    np.testing.assert_array_equal(same, codes)
    np.testing.assert_array_equal(penalised["mse"], kept["mse"])


def test_an_encoder_is_asked_alike_whatever_only_solvers_use(recover: Any) -> None:
    _, _, plain = recover("encoded")
    _, _, other = recover("encoded", "penalty=0.01", "draws=7", "restarts=3", "project=true")
    assert other == plain


def test_whitened_adam_finds_least_squares_too(recover: Any) -> None:
    lbfgs, _, _ = recover("spaced")
    white, _, request = recover("spaced", "solver=adam", "solver.whitened=true", "solver.steps=400")
    assert request["metric"] is not None
    np.testing.assert_allclose(white["mse"], lbfgs["mse"], rtol=1e-3)


def test_a_folder_of_images_is_resized_to_what_the_model_makes(recover: Any, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(5):
        Image.fromarray(np.full((9, 12, 3), 40 * i, np.uint8)).save(folder / f"{i}.png")
    rows, _, request = recover("spaced", more=("-d", str(folder)))
    assert request["images"]["dataset"] == "pictures"
    assert isinstance(rows, Rows)
    assert len(rows) == 5


def test_a_reference_without_training_images_here_is_refused(tmp_path: Path, capsys: Any) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(folder / "0.png")
    assert preimage("run", "-b", "recovery", "-m", "1nn", "-d", str(folder), "--db", str(tmp_path / "a.db")) == 1
    assert "was trained on 'fashion-mnist', not on 'pictures'" in capsys.readouterr().out
