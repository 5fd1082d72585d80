"""The family that docs/writing-a-family.md shows: as short as it says, and it reads, refuses and converts as all do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from preimage.harness import Family, Generator
from preimage.harness.errors import CardError, GeneratorError, WeightsError
from preimage.harness.loading import load
from preimage.harness.plugins import Registry, Sources
from tests.golden_sets import drawn, passes_check
from tests.test_docs import ROOT, marked
from tests.tiny_world import Shell
from tests.tiny_world import shell as shell

PAGE = ROOT / "docs" / "writing-a-family.md"
FILES = {block["file"]: block["text"] for block in marked(PAGE, "file")}
PLUGIN = "cgan/__init__.py"
CONFIG = {"latent_dim": 4, "n_classes": 3, "img_size": 28}


def weights() -> dict[str, Tensor]:
    """Under the names and with the shapes that cgan.py gives them."""
    shapes: dict[str, tuple[int, ...]] = {"label_emb.weight": (3, 3)}
    before = 7
    for linear, norm, after in ((0, None, 128), (2, 3, 256), (5, 6, 512), (8, 9, 1024), (11, None, 784)):
        shapes |= {f"model.{linear}.weight": (after, before), f"model.{linear}.bias": (after,)}
        if norm is not None:
            shapes |= {f"model.{norm}.{part}": (after,) for part in ("weight", "bias", "running_mean", "running_var")}
        before = after
    return drawn(shapes)


@pytest.fixture
def family(shell: Shell) -> Family:
    """The family, from the folder that the page shows."""
    for name, text in FILES.items():
        shell.write(name, text)
    return Registry(Sources(plugins=(PLUGIN,))).families["cgan-lindernoren"]


def test_it_has_at_most_sixty_lines() -> None:
    lines = [line for name in (PLUGIN, "cgan/family.py") for line in FILES[name].splitlines() if line]
    assert 40 < len(lines) <= 60


def test_listing_it_imports_no_torch(family: Family) -> None:
    script = (
        "import sys\n"
        "from preimage.harness.plugins import Registry, Sources\n"
        f"assert 'cgan-lindernoren' in Registry(Sources(plugins=({PLUGIN!r},), entry_points=False)).families\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_it_holds_the_contract(family: Family) -> None:
    passes_check(lambda: _generator(family))


def _generator(family: Family) -> Generator:
    built = family.build(CONFIG, weights())
    assert isinstance(built, Generator)
    return built


def test_settings_have_the_defaults_of_the_script(family: Family) -> None:
    with pytest.raises(WeightsError, match="'latent_dim': 100, 'n_classes': 10, 'img_size': 32, 'channels': 1"):
        family.build({}, {})


def test_a_label_is_needed(family: Family) -> None:
    generator, code = _generator(family), torch.zeros(2, 4)
    with pytest.raises(GeneratorError, match="this model has 3 classes: give decode a label per code"):
        generator.decode(code)
    with pytest.raises(GeneratorError, match="unknown latent space 'w'; this model has z"):
        generator.decode(code, torch.tensor([0, 1]), space="w")


@pytest.mark.parametrize("wrong", [{"latentdim": 5}, {"latent_dim": None}, {"latent_dim": -1}, {"n_classes": "3"}])
def test_settings_that_cannot_be_are_told_with_the_known_ones(family: Family, wrong: dict[str, object]) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(CardError) as error:
        family.build({**CONFIG, **wrong}, weights())
    assert f"`{name}: {value}`" in str(error.value)
    assert str(error.value).endswith("latent_dim, n_classes, img_size, channels")


def test_tensors_that_do_not_fit_are_listed_together(family: Family) -> None:
    spoilt = {**weights(), "extra": torch.zeros(1), "model.2.bias": torch.zeros(7)}
    del spoilt["model.0.bias"], spoilt["model.3.running_var"]
    with pytest.raises(WeightsError) as error:
        family.build(CONFIG, spoilt)
    for said in (
        'Missing key(s) in state_dict: "model.0.bias", "model.3.running_var"',
        'Unexpected key(s) in state_dict: "extra"',
        "size mismatch for model.2.bias",
    ):
        assert said in str(error.value)


def test_a_file_that_calls_something_is_refused_unread(family: Family, tmp_path: Path) -> None:
    class Call:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'called'}",)

    torch.save({**weights(), "more": Call()}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"it calls (posix|os)"):
        family.read(tmp_path / "a.pth")
    assert not (tmp_path / "called").exists()


def test_what_is_converted_makes_the_same_images(family: Family, shell: Shell) -> None:
    torch.save(weights(), "a.pth")
    said = [part for name, value in CONFIG.items() for part in ("--set", f"{name}={json.dumps(value)}")]
    asked = ("convert", "a.pth", "b.safetensors", "--family", family.name, "--dataset", "fashion-mnist")
    ended = shell(*asked, *said, "--plugin", PLUGIN)
    assert ended.status == 0, ended.err
    registry = Registry(Sources(plugins=(PLUGIN,), cards=("b.yaml",)))
    code, label = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2])
    wanted = _generator(family).decode(code, label)
    assert torch.allclose(load(registry.models["b"], registry).decode(code, label), wanted, atol=1e-6)
