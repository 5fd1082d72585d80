"""PGGAN against the official outputs and, with other settings, against its formula; the layouts of its files."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from preimage.adapters.pggan.family import FAMILY, build, read, settings_from
from preimage.harness.cards import read_cards
from preimage.harness.converted import write_converted
from preimage.harness.errors import CardError, GeneratorError, WeightsError
from preimage.harness.generator import prepare

from .golden_sets import (
    Golden,
    apart,
    codes,
    drawn,
    missing_and_left_over,
    official,
    passes_check,
    same_as_official,
    zoo_file,
)

CARDS = [
    card for card in read_cards(Path(__file__).resolve().parents[1] / "docs" / "cards") if card.family == "pgan-zoo"
]
TINY: dict[str, Any] = {"dimLatent": 6, "depthScale0": 5, "depthOtherScales": [4, 3], "dimOutput": 3}


def random_weights(settings: dict[str, Any], seed: int = 0) -> dict[str, Tensor]:
    """Under the names and with the shapes of the specification."""
    widths = [settings["depthScale0"], *settings["depthOtherScales"]]
    shapes: dict[str, tuple[int, ...]] = {}

    def layer(name: str, *weight: int) -> None:
        shapes[f"{name}.module.weight"] = weight
        shapes[f"{name}.module.bias"] = weight[:1]

    for s, (before, after) in enumerate(pairwise(widths)):
        layer(f"scaleLayers.{s}.0", after, before, 3, 3)
        layer(f"scaleLayers.{s}.1", after, after, 3, 3)
    for s, width in enumerate(widths):
        layer(f"toRGBLayers.{s}", settings["dimOutput"], width, 1, 1)
    layer("formatLayer", 16 * widths[0], settings["dimLatent"])
    layer("groupScale0.0", widths[0], widths[0], 3, 3)
    weights = drawn(shapes, seed)
    return {name: value - 1 if name.endswith("bias") else value for name, value in weights.items()} | {
        name: torch.randn(value.shape, generator=torch.Generator().manual_seed(seed))
        for name, value in weights.items()
        if value.ndim > 1
    }


def transcribed(code: Tensor, weights: dict[str, Tensor], settings: dict[str, Any]) -> Tensor:
    """The formula in float64, layer by layer: ``y = (W x + b) sqrt(2 / fan-in)``, the bias too."""
    held = {name: value.double() for name, value in weights.items()}
    leak, equalised = settings.get("leakyReluLeak", 0.2), settings.get("equalizedlR", True)
    normalised, alpha = settings.get("normalization", True), settings.get("alpha", 0.0)

    def nrm(x: Tensor) -> Tensor:
        return x / (x.square().mean(dim=1, keepdim=True) + 1e-8).sqrt() if normalised else x

    def layer(name: str, x: Tensor) -> Tensor:
        weight, bias = held[f"{name}.module.weight"], held[f"{name}.module.bias"]
        scale = (2 / weight[0].numel()) ** 0.5 if equalised else 1
        y = x @ weight.T if x.ndim == 2 else functional.conv2d(x, weight, padding=weight.shape[-1] // 2)
        return (y + bias.reshape((1, -1) + (1,) * (y.ndim - 2))) * scale

    def lrelu(x: Tensor) -> Tensor:
        return torch.where(x > 0, x, leak * x)

    def up(x: Tensor) -> Tensor:
        return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)

    scales = len(settings["depthOtherScales"])
    x = lrelu(layer("formatLayer", nrm(code.double())))
    x = nrm(lrelu(layer("groupScale0.0", nrm(x.reshape(len(x), -1, 4, 4)))))
    older = None
    for s in range(scales):
        older = x
        x = up(x)
        for i in (0, 1):
            x = nrm(lrelu(layer(f"scaleLayers.{s}.{i}", x)))
    image = layer(f"toRGBLayers.{scales}", x)
    if alpha:
        assert older is not None
        image = alpha * up(layer(f"toRGBLayers.{scales - 1}", older)) + (1 - alpha) * image
    return image.tanh() if settings.get("generationActivation") else image


def test_images_and_gradients_are_the_official_ones(shared: Path) -> None:
    golden = Golden(shared, "pgan-dev")
    same_as_official(golden, golden.model())
    same_as_official(golden, golden.model(alpha=0.0), image="img_alpha0.0")
    same_as_official(golden, golden.model(alpha=0.35), image="img_alpha0.35")


def test_the_official_checkpoint_tells_its_settings(shared: Path) -> None:
    golden = Golden(shared, "pgan-dev")
    settings, weights = read(shared / "golden" / "pgan-dev" / "official_layout.pth")
    assert settings_from(settings) == settings_from(golden.config)
    assert weights.keys() == golden.weights.keys()
    assert apart(official(build(settings, weights), golden.io["z"]), golden.io["img"]) < 3e-5


@pytest.mark.parametrize(
    "changes",
    [
        {"depthOtherScales": []},
        {"depthOtherScales": [7], "alpha": 0.25},
        {"depthOtherScales": [2, 8, 3], "alpha": 1.0, "dimOutput": 1},
        {"normalization": False, "leakyReluLeak": 0.05},
        {"equalizedlR": False, "generationActivation": "tanh", "initBiasToZero": False},
        {"depthOtherScales": [5, 5, 5, 5], "generationActivation": "tanh", "leakyReluLeak": 0.3},
    ],
)
def test_it_is_its_formula_at_other_settings(changes: dict[str, Any]) -> None:
    settings = TINY | changes
    weights, code = random_weights(settings), codes(3, 6)
    model, wanted = build(settings, weights), transcribed(code, weights, settings)
    assert tuple(model.image) == tuple(wanted.shape[1:])
    assert apart(official(model, code).double(), wanted) < 1e-4, "so few channels are all but 0 at times, over a norm"
    assert apart(official(prepare(model), code).double(), wanted) < 1e-4
    assert apart(official(model.double(), code.double()), wanted) < 3e-5


def test_defaults_are_those_of_released_models() -> None:
    said = settings_from({"dimLatent": 6, "depthScale0": 5})
    assert (said.others, said.out, said.leak, said.alpha) == ((), 3, 0.2, 0)
    assert (said.normalization, said.equalized, said.tanh, said.side) == (True, True, False, 4)


def test_names_of_old_files_fit_too() -> None:
    weights = random_weights(TINY)
    old = {name.replace(".module.", "."): value for name, value in weights.items()}
    assert "formatLayer.weight" in old
    assert torch.equal(build(TINY, old).decode(codes(2, 6)), build(TINY, weights).decode(codes(2, 6)))


def test_check_passes() -> None:
    passes_check(lambda: build(TINY | {"generationActivation": "tanh"}, random_weights(TINY)))
    passes_check(lambda: build(TINY | {"generationActivation": "tanh", "alpha": 0.5}, random_weights(TINY)))


def test_every_setting_of_a_checkpoint_is_read(tmp_path: Path) -> None:
    record = {
        "latentVectorDim": 6,
        "depthScale0": 5,
        "depthOtherScales": [4, 3],
        "dimOutput": 3,
        "leakyReluLeak": 0.1,
        "perChannelNormalization": False,
        "equalizedlR": False,
        "alpha": 0.5,
        "lossCriterion": "WGANGP",
        "miniBatchStdDev": True,
    }
    right = random_weights(TINY)
    settings, weights = read(zoo_file(tmp_path / "p.pth", record, netG=random_weights(TINY, 1), avgG=right))
    assert settings == TINY | {
        "leakyReluLeak": 0.1,
        "normalization": False,
        "equalizedlR": False,
        "alpha": 0.5,
        "generationActivation": None,
    }
    wanted = transcribed(codes(2, 6), right, settings)
    assert apart(official(build(settings, weights), codes(2, 6)).double(), wanted) < 1e-4
    write_converted(tmp_path / "p.safetensors", FAMILY, settings, weights)
    assert read(tmp_path / "p.safetensors")[0] == settings


def test_weights_that_do_not_fit_are_listed() -> None:
    missing_and_left_over(lambda weights: build(TINY, weights), random_weights(TINY))
    with pytest.raises(WeightsError, match=r"missing: scaleLayers\.2\.0\.weight \[2, 3, 3, 3\]"):
        build(TINY | {"depthOtherScales": [4, 3, 2]}, random_weights(TINY))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"alpha": 1.5}, "`alpha` is 1.5; it is a share, from 0 to 1"),
        ({"alpha": 0.5, "depthOtherScales": []}, "`depthOtherScales` is empty: there is no scale before to blend with"),
        ({"depthOtherScales": 4}, "`depthOtherScales` is 4; write a list of whole numbers"),
        ({"depthOtherScales": [4, 0]}, "`depthOtherScales[1]` is 0; it must be a whole number from 1 up"),
        ({"leakyReluLeak": "0.2"}, "`leakyReluLeak` is '0.2'; it must be a finite number"),
        ({"normalization": 1}, "`normalization` is 1; it must be true or false"),
        ({"generationActivation": "sigmoid"}, "`generationActivation` is 'sigmoid'; choose one of tanh, null"),
        ({"depth": 3}, "unknown setting in `config`: `depth`"),
    ],
)
def test_settings_that_cannot_be_are_told(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(CardError, match="family 'pgan-zoo': ") as caught:
        build(TINY | changed, random_weights(TINY))
    assert said in str(caught.value)


def test_codes_are_flat() -> None:
    with pytest.raises(GeneratorError, match=r"codes of space 'z' are \[n, 6\], not \[6\]"):
        build(TINY, random_weights(TINY)).decode(torch.zeros(6))


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_cards_of_released_files_have_the_side_that_their_names_tell(card: Any) -> None:
    assert len(CARDS) == 4
    scale = int(card.weights.uri.split("_s")[1][0])
    assert tuple(card.image) == (3, 4 << scale, 4 << scale)
    assert card.config == {}, "the file holds its settings"
    assert card.training["file"].endswith(Path(card.weights.uri).name)
    assert card.weights.uri.endswith(f"-{card.training['sha256_begins']}.pth")
    assert "unverified" in card.tags
