"""StyleGAN2-ADA measured: the adapter contract, recovery in z, w and w+, and what is refused where nothing is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from preimage.adapters.stylegan2_ada.family import build
from preimage.harness import StandardNormal, Streams
from preimage.harness.cards import read_card
from preimage.harness.check import check_model
from preimage.harness.distances import SquaredL2
from preimage.harness.generator import prepare
from preimage.harness.loading import load
from preimage.harness.plugins import installed
from preimage.harness.solvers.metric import measure_metric
from tests.stylegan2_models import random_weights, settings, write_card

from .tiny_world import Shell
from .tiny_world import shell as shell


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"c_dim": 3},
        {"c_dim": 3, "synthesis_kwargs": {"architecture": "resnet", "conv_clamp": None}},
        {"truncation_psi": 0.5},
        {"truncation_psi": 0.5, "truncation_cutoff": 2},
    ],
)
def test_every_rule_of_the_contract_holds(tmp_path: Path, changes: dict[str, Any]) -> None:
    card = read_card(write_card(tmp_path, **changes))
    findings = {finding.rule: finding for finding in check_model(card, installed())}
    assert not [f"{f.rule}: {f.detail}" for f in findings.values() if f.verdict == "broken"]
    assert findings["spaces"].verdict == "held" and "z -> w+" in findings["spaces"].detail
    assert ("z -> w " in findings["spaces"].detail) == ("truncation_cutoff" not in changes)
    assert findings["labels"].verdict == ("held" if changes.get("c_dim") else "skipped")


def test_the_contract_holds_for_the_official_weights(tmp_path: Path, shared: Path) -> None:
    folder = shared / "golden" / "stylegan2ada-cond"
    (tmp_path / "card.yaml").write_text(
        json.dumps(
            {
                "name": "official",
                "family": "stylegan2-ada",
                "weights": str(folder / "snapshot_nosrc.pkl"),
                "dataset": "cifar10",
                "image": [3, 32, 32],
                "num_classes": 10,
            }
        )
    )
    findings = list(check_model(read_card(tmp_path / "card.yaml"), installed()))
    assert not [f"{f.rule}: {f.detail}" for f in findings if f.verdict == "broken"]


def test_images_are_independent_to_the_bit_or_nearly(tmp_path: Path) -> None:
    model = load(read_card(write_card(tmp_path, img_resolution=32)), installed())
    code = torch.randn(64, 6)
    with torch.no_grad():
        together, alone = model.decode(code), torch.cat([model.decode(part) for part in code.split(1)])
    assert float((together - alone).abs().max()) < 1e-5


def test_recovery_runs_in_spaces_without_a_prior(shell: Shell) -> None:
    card, found = write_card(shell.folder, img_channels=1), {}
    for space in ("w", "w+"):
        database = f"{space}.db"
        ended = shell.run("-b", "recovery", "-m", "tiny-ada", "--card", card, "--limit", "3", "--db", database,
                          "--set", f"space={space}", "--set", "solver.steps=60", "--set", "restarts=2",
                          "--set", "draws=5")  # fmt: skip
        assert ended.status == 0, ended.said
        scores = json.loads(shell("scores", "--json", "--db", database).out)
        (row,) = [row for row in scores if row["metric"] == "mse"]
        assert row["status"] == "ok" and row["n"] == 3
        found[space] = row["value"]
        asked = shell.query("select * from request", database)
        assert all(f'"space": "{space}"' in str(row) for row in asked if "recovery" in str(row)), asked
    assert 0 < found["w+"] < found["w"], "a w per layer can do more than one w"


@pytest.mark.parametrize("space", ["w", "w+"])
def test_likelihood_is_refused_where_there_is_no_density(shell: Shell, space: str) -> None:
    card = write_card(shell.folder, img_channels=1)
    ended = shell.run("-b", "likelihood", "-m", "tiny-ada", "--card", card, "--set", f"space={space}", "--dry-run")
    refused = f"refused: tiny-ada / likelihood: the prior of space {space!r} has no density"
    assert ended.status == 0 and refused in ended.said and "choose a space with one, e.g. --set space=z" in ended.said


@pytest.mark.parametrize("space", ["z", "w", "w+"])
def test_the_metric_is_measured_by_forward_products(space: str) -> None:
    config = settings(c_dim=2)
    model = prepare(build(config, random_weights(config)))
    label = torch.tensor([0, 1, 1])
    codes = StandardNormal().sample(Streams([1, 2, 3], "cpu"), 6)
    if space != "z":
        codes = model.push(codes, label, source="z", target=space)
    metric = measure_metric(model, SquaredL2(), codes, label, space=space)
    assert metric.products == "forward"

    def image(row: Tensor, number: int) -> Tensor:
        return model.decode(row[None], label[number : number + 1], space=space).flatten()

    wanted = torch.zeros_like(metric.matrix)
    for number, code in enumerate(codes):
        jacobian = torch.autograd.functional.jacobian(lambda row, number=number: image(row, number), code).double()
        wanted += jacobian.T @ jacobian / len(jacobian) / len(codes)
    assert torch.allclose(metric.matrix * metric.outputs, wanted, rtol=1e-3, atol=1e-6 * float(wanted.abs().max()))
