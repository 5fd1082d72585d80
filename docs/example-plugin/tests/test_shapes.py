"""The plug-in's own tests: the contract holds, the data is what it says, the weights belong to the card."""

from __future__ import annotations

import numpy as np
import torch

from preimage.harness.check import check_model
from preimage.harness.loading import load
from preimage.harness.plugins import installed

NAME = "shapes-coordinate-net"


def test_the_contract_holds() -> None:
    registry = installed()
    findings = list(check_model(registry.models[NAME], registry))
    assert len(findings) > 5
    assert not [finding for finding in findings if finding.verdict == "broken"]


def test_the_data_set_is_what_it_says() -> None:
    registry = installed()
    card, data = registry.datasets["shapes"], registry.dataset("shapes")
    assert (card.image, card.num_classes, tuple(card.splits)) == (data.image, data.num_classes, tuple(data.splits))
    images, labels = data.read("test", range(128))
    assert images.shape == (128, 1, 8, 8)
    assert 0 <= images.min() < 0.1 < 0.9 < images.max() <= 1
    assert labels.unique().tolist() == [0, 1]


def test_the_model_draws_what_the_formula_draws() -> None:
    from preimage_shapes.shapes import draw, factors

    registry = installed()
    generator = load(registry.models[NAME], registry)
    code, label = factors("test")
    images = generator.decode(torch.from_numpy(code).float(), torch.from_numpy(label)).numpy()
    assert np.square(images - draw(code, label)).mean() < 0.01
