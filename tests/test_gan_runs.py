"""Tiny conditional BigGAN and ReACGAN, from their cards: recovery and classification of images that they made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from preimage.adapters.biggan.family import BigGAN
from preimage.adapters.biggan.settings import settings_from as biggan_settings
from preimage.adapters.studiogan.family import StudioGAN
from preimage.adapters.studiogan.settings import settings_from as studiogan_settings
from preimage.harness import build
from preimage.harness.distances import SquaredL2
from preimage.harness.solvers.metric import measure_metric

from .gan_formulas import random_weights
from .golden_sets import codes
from .tiny_world import Shell
from .tiny_world import shell as shell

pytestmark = pytest.mark.slow

CLASSES = 3
BIGGAN: dict[str, Any] = {
    **{"resolution": 32, "G_ch": 2, "dim_z": 8, "n_classes": CLASSES, "shared_dim": 6, "hier": True, "G_attn": "16"},
    "eval_mode": True,
}
REACGAN: dict[str, Any] = {
    "DATA": {"name": "own", "img_size": 32, "num_classes": CLASSES},
    "MODEL": {
        **{"backbone": "big_resnet", "g_cond_mtd": "cBN", "d_cond_mtd": "D2DCE", "apply_g_sn": True},
        **{"apply_attn": True, "attn_g_loc": [2], "z_dim": 8, "g_shared_dim": 6, "g_conv_dim": 2},
    },
}
OWN = """
import numpy as np
from preimage.harness import ArrayDataset, hookimpl


@hookimpl
def register_datasets(register):
    held = np.load({path!r})
    part = (held["images"], held["labels"])
    register(ArrayDataset("own", {{"train": part, "test": part}}))
"""


def write(folder: Path, family: str, config: dict[str, Any]) -> Path:
    """A card, its weights as the family's releases have them, and a data set of six of its images."""
    network = (
        BigGAN(biggan_settings(config, deep=False)) if family == "biggan" else StudioGAN(studiogan_settings(config))
    )
    weights = random_weights(network)
    torch.save(weights if family == "biggan" else {"state_dict": weights}, folder / "model.pth")
    label = torch.arange(6) % CLASSES
    with torch.no_grad():
        images = build(family, config, weights).decode(codes(6, 8, seed=5), label)
    np.savez(folder / "own.npz", images=images.numpy(), labels=label.numpy())
    (folder / "own.py").write_text(OWN.format(path=str(folder / "own.npz")))
    said = {"name": "tiny-gan", "family": family, "weights": "model.pth", "config": config, "dataset": "own"}
    card = folder / "tiny-gan.yaml"
    card.write_text(yaml.safe_dump({**said, "image": [3, 32, 32], "num_classes": CLASSES}))
    return card


@pytest.mark.parametrize(("family", "config"), [("biggan", BIGGAN), ("studiogan", REACGAN)])
def test_a_conditional_gan_is_measured_from_its_card(shell: Shell, family: str, config: dict[str, Any]) -> None:
    card = write(shell.folder, family, config)
    checked = shell("check", "tiny-gan", "--card", card, "--plugin", shell.folder / "own.py")
    assert checked.status == 0, checked.said
    ended = shell.run("-b", "recovery", "-b", "classification", "-m", "tiny-gan", "--card", card,
                      "--set", "solver.steps=40", "--set", "restarts=2", "--set", "solver.metric=false",
                      plugin="own.py")  # fmt: skip
    assert ended.status == 0, ended.said
    scores = {(row["benchmark"], row["metric"]): row for row in shell.scores()}
    assert all(row["status"] == "ok" for row in scores.values())
    error, right = scores["recovery", "mse"]["value"], scores["classification", "accuracy"]["value"]
    spread = float(np.load(shell.folder / "own.npz")["images"].var(axis=0).mean())
    assert error < 0.3 * spread, "its own images are found again, or nearly"
    assert right > 0.5, "and of which class they are, which is a guess at 1/3"


@pytest.mark.parametrize(("family", "config"), [("biggan", BIGGAN), ("studiogan", REACGAN)])
def test_the_metric_is_measured_by_forward_products(family: str, config: dict[str, Any]) -> None:
    network = (
        BigGAN(biggan_settings(config, deep=False)) if family == "biggan" else StudioGAN(studiogan_settings(config))
    )
    model = build(family, config, random_weights(network))
    code, label = codes(2, 8), torch.tensor([0, 2])
    metric = measure_metric(model, SquaredL2(), code, label, space="z")
    assert metric.products == "forward"
    wanted = torch.zeros_like(metric.matrix)
    exact, steps = model.double(), 1e-4 * torch.eye(8, dtype=torch.float64)
    for number in range(2):  # by differences, in float64
        around, its = code[number].double(), label[number].expand(8)
        jacobian = (exact.decode(around + steps, its) - exact.decode(around - steps, its)).flatten(1).T / 2e-4
        wanted += jacobian.T @ jacobian / len(jacobian) / 2
    assert torch.allclose(metric.matrix * metric.outputs, wanted, rtol=1e-3, atol=1e-6 * float(wanted.abs().max()))
