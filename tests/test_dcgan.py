"""DCGAN against the official outputs and, with other settings, against its formula; the layouts of its files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from preimage.adapters.dcgan import examples, zoo
from preimage.harness import Generator
from preimage.harness.cards import read_card
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

CARD = Path(__file__).resolve().parents[1] / "docs" / "cards" / "dcgan-fashiongen.yaml"


@pytest.mark.parametrize("name", ["dcgan-dev", "dcgan-examples"])
def test_images_and_gradients_are_the_official_ones(shared: Path, name: str) -> None:
    golden = Golden(shared, name)
    same_as_official(golden, golden.model())


def zoo_settings(depth: int = 1, width: int = 2, out: int = 3, **more: object) -> dict[str, Any]:
    return {"dimLatentVector": 5, "dimOutput": out, "dimModelG": width, "depthModel": depth, **more}


def zoo_weights(depth: int = 1, width: int = 2, out: int = 3) -> dict[str, Tensor]:
    """Under the names and with the shapes of the specification."""
    shapes: dict[str, tuple[int, ...]] = {"formatLayer.weight": (5, width << depth, 4, 4)}
    for i in range(depth + 1):
        channels = width << (depth - i)
        if i:
            shapes[f"main.convTranspose{i}.weight"] = (2 * channels, channels, 4, 4)
        shapes |= norm(f"main.batchNorm{i}", channels)
    return drawn(shapes | {"main.outlayer.weight": (width, out, 4, 4)})


def norm(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")}


def examples_weights(nz: int = 5, ngf: int = 2, nc: int = 1, prefix: str = "main") -> dict[str, Tensor]:
    widths = [8 * ngf, 4 * ngf, 2 * ngf, ngf, nc]
    shapes: dict[str, tuple[int, ...]] = {f"{prefix}.0.weight": (nz, widths[0], 4, 4)}
    for i in range(4):
        shapes |= norm(f"{prefix}.{3 * i + 1}", widths[i])
        shapes[f"{prefix}.{3 * i + 3}.weight"] = (widths[i], widths[i + 1], 4, 4)
    return drawn(shapes)


def transcribed(code: Tensor, weights: dict[str, Tensor], convs: list[str], norms: list[str], tanh: bool) -> Tensor:
    """Transposed convolutions, each but the last normalised and rectified, in float64."""
    held = {name: value.double() for name, value in weights.items()}
    x = functional.conv_transpose2d(code.double()[:, :, None, None], held[f"{convs[0]}.weight"])
    for conv, bn in zip(convs[1:], norms, strict=True):
        mean, var, gain, bias = (held[f"{bn}.{n}"] for n in ("running_mean", "running_var", "weight", "bias"))
        x = (x - mean[:, None, None]) / (var[:, None, None] + 1e-5).sqrt() * gain[:, None, None] + bias[:, None, None]
        x = functional.conv_transpose2d(x.clamp_min(0), held[f"{conv}.weight"], stride=2, padding=1)
    return x.tanh() if tanh else x


@pytest.mark.parametrize(
    ("depth", "width", "out", "end"), [(0, 3, 1, "tanh"), (1, 2, 3, None), (3, 1, 2, "tanh"), (4, 1, 3, "tanh")]
)
def test_the_zoos_generator_is_its_formula_at_other_settings(depth: int, width: int, out: int, end: str | None) -> None:
    weights = zoo_weights(depth, width, out)
    model = zoo.build(zoo_settings(depth, width, out, generationActivation=end), weights)
    code = codes(3, 5)
    names = [f"main.convTranspose{i}" for i in range(1, depth + 1)]
    wanted = transcribed(
        code,
        weights,
        ["formatLayer", *names, "main.outlayer"],
        [f"main.batchNorm{i}" for i in range(depth + 1)],
        end == "tanh",
    )
    assert tuple(model.image) == (out, 8 << depth, 8 << depth) == tuple(wanted.shape[1:])
    assert apart(official(model, code).double(), wanted) < 1e-5
    assert apart(official(prepare(model), code).double(), wanted) < 1e-5
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in model.modules()), "all are folded, the first too"


def test_the_examples_generator_is_its_formula_at_other_settings() -> None:
    weights, code = examples_weights(nc=1), codes(3, 5)
    model = examples.build({"nz": 5, "ngf": 2, "nc": 1, "ngpu": 1}, weights)
    wanted = transcribed(
        code, weights, [f"main.{3 * i}" for i in range(5)], [f"main.{3 * i + 1}" for i in range(4)], True
    )
    assert apart(official(model, code).double(), wanted) < 1e-5
    assert apart(official(prepare(model), code).double(), wanted) < 1e-5
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in model.modules())


def test_settings_have_the_defaults_of_their_constructors() -> None:
    said = {name: value for name, value in zoo_settings(3, 1).items() if name != "depthModel"}
    assert zoo.build(said, zoo_weights(3, 1)).image.height == 64
    with pytest.raises(WeightsError, match=r"missing: main\.0\.weight \[100, 512, 4, 4\]"):
        examples.build({}, {})


def test_check_passes() -> None:
    passes_check(lambda: zoo.build(zoo_settings(), zoo_weights()))
    passes_check(lambda: examples.build({"nz": 5, "ngf": 2, "nc": 1}, examples_weights()))


RECORD = {"latentVectorDim": 5, "dimOutput": 3, "dimG": 2, "depth": 1, "lossCriterion": "DCGAN", "learningRate": 0.1}


def test_a_checkpoint_of_the_zoo_tells_its_settings_and_its_average(tmp_path: Path) -> None:
    right, wrong = zoo_weights(), {name: value + 1 for name, value in zoo_weights().items()}
    path = zoo_file(tmp_path / "z.pth", RECORD | {"categoryVectorDim": 0}, avgG=right, netG=wrong, netD={})
    settings, weights = zoo.read(path)
    assert settings == zoo_settings(generationActivation="tanh")
    code = codes(2, 5)
    same = zoo.build(zoo_settings(), right).decode(code)
    assert torch.equal(zoo.build(settings, weights).decode(code), same)
    settings, weights = zoo.read(zoo_file(tmp_path / "n.pth", RECORD | {"lossCriterion": "WGANGP"}, netG=right))
    assert settings["generationActivation"] is None, "as the zoo has its criteria"
    assert torch.equal(weights["formatLayer.weight"], right["formatLayer.weight"])
    settings, _ = zoo.read(zoo_file(tmp_path / "o.pth", RECORD | {"lossCriterion": "Own"}, netG=right))
    assert "generationActivation" not in settings


def test_other_files_of_the_zoos_generator(tmp_path: Path) -> None:
    right = zoo_weights()
    torch.save(right, tmp_path / "bare.pth")
    assert zoo.read(tmp_path / "bare.pth")[0] == {}
    assert zoo.read(zoo_file(tmp_path / "u.pth", None, netG=right))[0] == {}
    path = zoo_file(tmp_path / "c.pth", RECORD | {"categoryVectorDim": 7}, avgG=right)
    with pytest.raises(WeightsError, match=r"7 inputs for attributes of the image; only unconditional ones"):
        zoo.read(path)
    write_converted(tmp_path / "c.safetensors", zoo.FAMILY, zoo_settings(), right)
    settings, weights = zoo.read(tmp_path / "c.safetensors")
    assert settings == zoo_settings() and weights.keys() == right.keys()


@pytest.mark.parametrize("name", [None, "netG_state_dict", "netG", "generator", "state_dict", "model_state_dict"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_files_of_the_examples_generator(tmp_path: Path, name: str | None, prefix: str) -> None:
    right = examples_weights()
    table = {prefix + key: value for key, value in right.items()}
    torch.save(table if name is None else {"epoch": 3, "netD": {"x": torch.zeros(1)}, name: table}, tmp_path / "e.pth")
    settings, weights = examples.read(tmp_path / "e.pth")
    assert settings == {} and weights.keys() == right.keys()
    assert all(torch.equal(weights[key], right[key]) for key in right)
    write_converted(tmp_path / "e.safetensors", examples.FAMILY, {"nz": 5, "ngf": 2, "nc": 1}, weights)
    assert examples.build(*examples.read(tmp_path / "e.safetensors")).native.dim == 5


@pytest.mark.parametrize(
    ("held", "seen"), [({"epoch": 3, "netD": {}}, "a table of epoch, netD"), ([1], "list"), ({}, "a table of nothing")]
)
def test_a_file_without_a_generator_is_said_to_be_one(tmp_path: Path, held: object, seen: str) -> None:
    torch.save(held, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=f"x.pth' holds {seen}; no generator is in it. Give a state dict, or a"):
        examples.read(tmp_path / "x.pth")


def test_weights_that_do_not_fit_are_listed() -> None:
    missing_and_left_over(lambda weights: zoo.build(zoo_settings(), weights), zoo_weights())
    missing_and_left_over(lambda w: examples.build({"nz": 5, "ngf": 2, "nc": 1}, w), examples_weights())


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"dimLatentVector": 0}, "`dimLatentVector` is 0; it must be a whole number from 1 up"),
        ({"depthModel": -1}, "`depthModel` is -1; it must be a whole number from 0 up"),
        ({"dimOutput": True}, "`dimOutput` is True; it must be a whole number"),
        ({"generationActivation": "relu"}, "`generationActivation` is 'relu'; choose one of tanh, null"),
        ({"depthmodel": 2}, "unknown setting in `config`: `depthmodel` (did you mean `depthModel`?)"),
    ],
)
def test_settings_that_cannot_be_are_told(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(CardError, match="family 'dcgan-zoo': ") as caught:
        zoo.build(zoo_settings(**changed), zoo_weights())
    assert said in str(caught.value)


def test_settings_that_are_needed_are_told() -> None:
    with pytest.raises(CardError, match="family 'dcgan-zoo': `config` lacks `dimLatentVector`"):
        zoo.build({}, {})


def test_codes_are_flat() -> None:
    model: Generator = zoo.build(zoo_settings(), zoo_weights())
    with pytest.raises(GeneratorError, match=r"codes of space 'z' are \[n, 5\], not \[2, 5, 1, 1\]"):
        model.decode(torch.zeros(2, 5, 1, 1))
    with pytest.raises(GeneratorError, match="unknown latent space 'w'"):
        model.decode(torch.zeros(2, 5), space="w")


def test_the_card_of_the_released_file_says_what_it_must() -> None:
    card = read_card(CARD)
    assert (card.family, card.config, tuple(card.image)) == ("dcgan-zoo", {}, (3, 64, 64))
    assert card.weights is not None and card.weights.uri == str(CARD.parent / "DCGAN_fashionGen-1d67302.pth")
    assert "unverified" in card.tags
