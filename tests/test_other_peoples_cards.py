"""Checkpoints that other people trained, each from a card alone: the contract is checked, images are recovered."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from tests.test_sequential import OTHERS
from tests.tiny_world import Shell
from tests.tiny_world import shell as shell


class Said(NamedTuple):
    """What a card says beside its settings."""

    dataset: str
    image: list[int]
    num_classes: int = 0


DIGITS = Said("mnist", [1, 28, 28])
SAID = {
    "hayato_mnist_cwgangp": Said("mnist", [1, 28, 28], 10),
    "fletcher_celeba32": Said("celeba", [3, 32, 32]),
    "darth_anime": Said("anime-faces", [3, 64, 64]),
}


@pytest.mark.slow
@pytest.mark.parametrize("file", OTHERS)
def test_a_card_is_all_that_a_checkpoint_needs(shared: Path, shell: Shell, file: str) -> None:
    name, assets = Path(file).parent.name, shared / "assets"
    card = {
        "name": name,
        "family": "sequential",
        "weights": str(assets / "generators" / file),
        **SAID.get(name, DIGITS)._asdict(),
        "config": yaml.safe_load(OTHERS[file]),
    }
    shell.write("card.yaml", yaml.safe_dump(card, sort_keys=False))
    checked = shell("check", name, "--card", "card.yaml")
    assert checked.status == 0 and "broken" not in checked.out, checked.out
    shape = "x".join(str(n) for n in card["image"])
    images = str(assets / "data" / "notmnist") if shape == "1x28x28" else f"constant@{shape}"
    few = ("--limit", "2", "--set", "block=2", "--set", "solver.steps=4", "--set", "draws=4", "--workers", "1")
    ran = shell("run", "-b", "recovery", "-m", name, "-d", images, "--card", "card.yaml", *few)
    assert ran.status == 0, ran.err
    assert "floor_mse" in ran.out and "psnr" in ran.out
