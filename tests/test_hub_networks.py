"""Networks whose weights lie on the Hub: backbones of distances, and timm's models by the addresses that timm gives."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from preimage.harness.loading import load_classifier
from preimage.harness.plugins import Registry, Sources
from preimage.harness.timm_networks import build_timm, drawn_weights
from tests.hub_server import COMMIT, Fault, HubServer
from tests.hub_server import hub as hub
from tests.lpips_package import random_weights
from tests.tiny_world import Shell
from tests.tiny_world import shell as shell

BACKBONE = f"""\
kind: backbone
name: squeezenet1_1
architecture: squeezenet1_1
weights: hf://org/nets@{COMMIT}/squeeze.safetensors
"""
CLASSIFIER = """\
name: small
family: timm-classifier
kind: reference
dataset: fashion-mnist
image: [1, 28, 28]
num_classes: 1000
config: {model: lcnet_050.ra2_in1k}
"""


def test_a_backbone_on_the_hub(shell: Shell, hub: HubServer, tmp_path: Path) -> None:
    weights = random_weights("squeezenet1_1")
    hub.put("org/nets", {"squeeze.safetensors": save(weights)})
    card = shell.write("card.yaml", BACKBONE)
    offline = shell("fetch", "lpips-squeeze", "--offline", "--card", card)
    assert offline.status == 1 and "are not on this machine" in offline.err
    ended = shell("fetch", "lpips-squeeze", "--card", card)
    assert ended.status == 0 and "squeeze.safetensors" in ended.out, ended.err
    hub.asked.clear()
    torch.save(weights, tmp_path / "squeeze.pth")
    local = shell.write("local.yaml", BACKBONE.replace(f"hf://org/nets@{COMMIT}/squeeze.safetensors", "squeeze.pth"))
    x, y = torch.rand(2, 2, 3, 64, 64)
    found = [Registry(Sources(cards=(str(path),))).distance("lpips-squeeze") for path in (card, local)]
    assert torch.equal(*(distance(x, y) for distance in found))
    assert hub.asked == []


def test_a_backbone_that_does_not_come_is_told(shell: Shell, hub: HubServer) -> None:
    hub.put("org/nets", {"squeeze.safetensors": b"never sent"})
    hub.faults["cdn GET"] = Fault(503)
    ended = shell("fetch", "lpips-squeeze", "--card", shell.write("card.yaml", BACKBONE))
    assert ended.status == 1
    assert "backbone 'squeezenet1_1': weights 'hf://org/nets@" in ended.err and "answers 503" in ended.err


def test_timms_own_weights(shell: Shell, hub: HubServer) -> None:
    timm = pytest.importorskip("timm")
    config = {"model": "lcnet_050.ra2_in1k"}
    address = timm.models.get_pretrained_cfg(config["model"]).hf_hub_id
    weights = drawn_weights(config, seed=0)
    hub.put(address, {"model.safetensors": save(weights)})
    card = shell.write("card.yaml", CLASSIFIER)
    ended = shell("fetch", "small", "--card", card)
    assert ended.status == 0 and "model.safetensors" in ended.out, ended.err
    registry = Registry(Sources(cards=(str(card),)))
    x = torch.rand(2, 1, 28, 28)
    model = load_classifier(registry.models["small"], registry, offline=True)
    assert torch.equal(model.logits(x), build_timm(config, weights).eval().logits(x))
