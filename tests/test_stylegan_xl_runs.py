"""StyleGAN-XL measured: the adapter contract, recovery in z, w and w+, and what is refused where nothing is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from preimage.adapters.stylegan_xl.family import build
from preimage.harness import StandardNormal, Streams
from preimage.harness.cards import read_card
from preimage.harness.check import check_model
from preimage.harness.distances import SquaredL2
from preimage.harness.generator import prepare
from preimage.harness.plugins import installed
from preimage.harness.solvers.metric import measure_metric

from .stylegan_xl_models import random_weights, settings, write_card
from .tiny_world import Shell
from .tiny_world import shell as shell

TINY = {"img_channels": 1, "output_scale": 0.1}  # images of random weights are wide; the contract wants [0, 1]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"c_dim": 3, "truncation_psi": 0.5},
        {"c_dim": 3, "conv_kernel": 1, "use_radial_filters": True, "truncation_psi": 0.5, "truncation_cutoff": 2},
        {"channel_base": 64, "superres_kwargs": [{"up_factor": 2, "head_layers": 3}]},
    ],
)
def test_every_rule_of_the_contract_holds(tmp_path: Path, changes: dict[str, Any]) -> None:
    card = read_card(write_card(tmp_path, **TINY, **changes))
    findings = {finding.rule: finding for finding in check_model(card, installed())}
    assert not [f"{f.rule}: {f.detail}" for f in findings.values() if f.verdict == "broken"]
    assert findings["spaces"].verdict == "held" and "z -> w+" in findings["spaces"].detail
    assert ("z -> w " in findings["spaces"].detail) == ("truncation_cutoff" not in changes)
    assert findings["labels"].verdict == ("held" if changes.get("c_dim") else "skipped")


def test_the_contract_holds_for_the_official_weights(tmp_path: Path, shared: Path) -> None:
    card = {
        "name": "official",
        "family": "stylegan-xl",
        "weights": str(shared / "golden" / "styleganxl-sr" / "snapshot_nosrc.pkl"),
        "dataset": "cifar10",
        "image": [3, 32, 32],
        "num_classes": 10,
    }
    (tmp_path / "card.yaml").write_text(json.dumps(card))
    findings = list(check_model(read_card(tmp_path / "card.yaml"), installed()))
    assert not [f"{f.rule}: {f.detail}" for f in findings if f.verdict == "broken"]


@pytest.mark.slow
@pytest.mark.parametrize("space", ["z", "w", "w+"])
def test_recovery_runs_in_every_space(shell: Shell, space: str) -> None:
    card = write_card(shell.folder, **TINY)
    ended = shell.run("-b", "recovery", "-m", "tiny-xl", "--card", card, "--limit", "2", "--set", f"space={space}",
                      "--set", "solver.steps=25", "--set", "restarts=1", "--set", "draws=5", "--set", "block=2",
                      "--set", f"solver.metric={str(space == 'w').lower()}")  # fmt: skip
    assert ended.status == 0, ended.said
    scores = {row["metric"]: row for row in shell.scores() if row["model"] == "tiny-xl"}
    assert scores["mse"]["status"] == "ok" and scores["mse"]["n"] == 2


@pytest.mark.parametrize("space", ["w", "w+"])
def test_likelihood_is_refused_where_there_is_no_density(shell: Shell, space: str) -> None:
    card = write_card(shell.folder, **TINY)
    ended = shell.run("-b", "likelihood", "-m", "tiny-xl", "--card", card, "--set", f"space={space}", "--dry-run")
    assert f"refused: tiny-xl / likelihood: the prior of space {space!r} has no density" in ended.said


@pytest.mark.parametrize("space", ["z", "w+"])
def test_the_metric_is_measured_by_forward_products(space: str) -> None:
    config = settings(c_dim=2, use_radial_filters=True)
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
