"""AEGAN against the official outputs and, with another code, against its formula; the layouts of its files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from preimage.adapters.aegan.family import FAMILY, build, read
from preimage.harness.cards import read_card
from preimage.harness.converted import write_converted
from preimage.harness.errors import CardError, GeneratorError
from preimage.harness.generator import prepare
from preimage.harness.priors import StandardNormal

from .golden_sets import Golden, apart, codes, drawn, missing_and_left_over, official, passes_check, same_as_official

CARD = Path(__file__).resolve().parents[1] / "docs" / "cards" / "aegan-pokemon.yaml"


def random_weights(dim: int) -> dict[str, Tensor]:
    """Under the names and with the shapes of the specification."""
    shapes: dict[str, tuple[int, ...]] = {}

    def layer(name: str, *weight: int) -> None:
        shapes[f"{name}.weight"] = weight
        shapes[f"{name}.bias"] = weight[:1]

    def norm(name: str, channels: int) -> None:
        shapes.update({f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")})

    for i in range(7):
        layer(f"projection.{i}.0", 8, dim + 8 * i)
        norm(f"projection.{i}.1", 8)
    p = dim + 56
    for colour in "rgb":
        for i, before, after in ((0, p, 128), (3, 128, 64)):
            layer(f"colourspace_{colour}.{i}", after, before)
            norm(f"colourspace_{colour}.{i + 1}", after)
        layer(f"colourspace_{colour}.6", 16, 64)
    layer("seed.0", 4608, p)
    norm("seed.1", 4608)
    before = 512
    for i, after in enumerate((512, 256, 256, 256, 64)):
        kernel = 4 if i else 3
        layer(f"conv.{i}.1", after, (before + (p if i else 0)) // 4, kernel, kernel)
        norm(f"conv.{i}.2", after)
        before = after
    layer("conv.5.1", 16, 64, 5, 5)
    return drawn(shapes)


def transcribed(code: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """The formula in float64, pixel shuffles written out."""
    held = {name: value.double() for name, value in weights.items()}

    def linear(name: str, x: Tensor) -> Tensor:
        return x @ held[f"{name}.weight"].T + held[f"{name}.bias"]

    def normed(name: str, x: Tensor) -> Tensor:
        shape = (1, -1) + (1,) * (x.ndim - 2)
        names = ("running_mean", "running_var", "weight", "bias")
        mean, var, gain, bias = (held[f"{name}.{n}"].reshape(shape) for n in names)
        y = (x - mean) / (var + 1e-5).sqrt() * gain + bias
        return torch.where(y > 0, y, 0.01 * y)

    def shuffled(x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        parts = x.reshape(n, c // 4, 2, 2, h, w)  # channel 4 k + 2 a + b is the pixel (a, b) of channel k
        return parts.permute(0, 1, 4, 2, 5, 3).reshape(n, c // 4, 2 * h, 2 * w)

    p = code.double()
    for i in range(7):
        p = torch.cat([p, normed(f"projection.{i}.1", linear(f"projection.{i}.0", p))], dim=1)
    x = normed("seed.1", linear("seed.0", p)).reshape(len(p), 512, 3, 3)
    for i in range(5):
        if i:
            x = torch.cat([x, p.reshape(*p.shape, 1, 1) * torch.ones(x.shape[2:], dtype=x.dtype)], dim=1)
        x = functional.pad(shuffled(x), (1, 2, 1, 2) if i else (1, 1, 1, 1))
        x = normed(f"conv.{i}.2", functional.conv2d(x, held[f"conv.{i}.1.weight"], held[f"conv.{i}.1.bias"]))
    logits = functional.conv2d(x, held["conv.5.1.weight"], held["conv.5.1.bias"], padding=2)
    shares = logits.exp() / logits.exp().sum(dim=1, keepdim=True)
    channels = []
    for colour in "rgb":
        name = f"colourspace_{colour}"
        palette = normed(f"{name}.1", linear(f"{name}.0", p))
        palette = linear(f"{name}.6", normed(f"{name}.4", linear(f"{name}.3", palette))).tanh()
        channels.append((shares * palette.reshape(len(p), 16, 1, 1)).sum(dim=1))
    return torch.stack(channels, dim=1)


def test_images_and_gradients_are_the_official_ones(shared: Path) -> None:
    golden = Golden(shared, "aegan-dev")
    same_as_official(golden, golden.model())


def test_it_is_its_formula_with_another_code() -> None:
    weights, code = random_weights(20), codes(2, 20)
    model, wanted = build({"latent_dim": 20}, weights), transcribed(code, weights)
    assert tuple(model.image) == (3, 96, 96)
    assert apart(official(model, code).double(), wanted) < 1e-5
    assert apart(official(prepare(model), code).double(), wanted) < 1e-5
    assert not any("BatchNorm" in type(layer).__name__ for layer in model.modules()), "all are folded"


def test_codes_are_drawn_from_a_normal_law() -> None:
    model = build({}, random_weights(16))
    assert model.native.dim == 16 and model.native.prior == StandardNormal()
    with pytest.raises(GeneratorError, match=r"codes of space 'z' are \[n, 16\], not \[2, 17\]"):
        model.decode(torch.zeros(2, 17))


def test_check_passes() -> None:
    weights = random_weights(4)
    passes_check(lambda: build({"latent_dim": 4}, weights))


def test_files(tmp_path: Path) -> None:
    right = random_weights(8)
    torch.save(right, tmp_path / "trained_generator_weights.pt")
    torch.save({"generator": right, "encoder": {"x": torch.zeros(1)}}, tmp_path / "t.pt")
    for name in ("trained_generator_weights.pt", "t.pt"):
        settings, weights = read(tmp_path / name)
        assert settings == {} and weights.keys() == right.keys()
    write_converted(tmp_path / "c.safetensors", FAMILY, {"latent_dim": 8}, right)
    settings, weights = read(tmp_path / "c.safetensors")
    assert settings == {"latent_dim": 8} and torch.equal(weights["seed.0.weight"], right["seed.0.weight"])


def test_what_does_not_fit_is_told() -> None:
    missing_and_left_over(lambda weights: build({"latent_dim": 4}, weights), random_weights(4))
    with pytest.raises(CardError, match="`latent_dim` is 10; four pixels are made of four channels, so it must be a"):
        build({"latent_dim": 10}, {})
    with pytest.raises(CardError, match="unknown setting in `config`: `dim`"):
        build({"dim": 4}, {})


def test_the_card_of_the_released_file_builds_its_images() -> None:
    card = read_card(CARD)
    assert card.weights is not None and card.weights.uri == str(CARD.parent / "trained_generator_weights.pt")
    assert tuple(build(card.config, random_weights(16)).image) == tuple(card.image) == (3, 96, 96)
    assert card.family == FAMILY and "unverified" in card.tags
