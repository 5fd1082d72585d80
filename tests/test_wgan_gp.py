"""WGAN-GP against the official outputs and, with other settings, against its formula; the layouts of its files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from preimage.adapters.wgan_gp.family import FAMILY, build, read
from preimage.harness.converted import write_converted
from preimage.harness.errors import CardError, GeneratorError, WeightsError
from preimage.harness.generator import prepare

from .golden_sets import Golden, apart, codes, drawn, missing_and_left_over, official, passes_check, same_as_official

SETTINGS = {"DIM": 2, "latent": 7}


def random_weights(width: int = 2, dim: int = 7) -> dict[str, Tensor]:
    """Under the names and with the shapes of the specification."""
    shapes: dict[str, tuple[int, ...]] = {
        "preprocess.0.weight": (64 * width, dim),
        "preprocess.0.bias": (64 * width,),
        "block1.0.weight": (4 * width, 2 * width, 2, 2),
        "block1.0.bias": (2 * width,),
        "block2.0.weight": (2 * width, width, 2, 2),
        "block2.0.bias": (width,),
        "deconv_out.weight": (width, 3, 2, 2),
        "deconv_out.bias": (3,),
    }
    for norm, channels in (("preprocess.1", 64 * width), ("block1.1", 2 * width), ("block2.1", width)):
        shapes |= {f"{norm}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")}
    return drawn(shapes)


def transcribed(code: Tensor, weights: dict[str, Tensor], width: int) -> Tensor:
    """The formula in float64: a 2x2 kernel with stride 2 makes four pixels of each, which never overlap."""
    held = {name: value.double() for name, value in weights.items()}

    def normed(x: Tensor, name: str) -> Tensor:
        shape = (1, -1) + (1,) * (x.ndim - 2)
        mean, var, gain, bias = (held[f"{name}.{n}"].reshape(shape) for n in NORM)
        return ((x - mean) / (var + 1e-5).sqrt() * gain + bias).clamp_min(0)

    def doubled(x: Tensor, name: str) -> Tensor:
        pixels = torch.einsum("nihw,ioab->nohawb", x, held[f"{name}.weight"])
        return pixels.flatten(4, 5).flatten(2, 3) + held[f"{name}.bias"][:, None, None]

    x = normed(code.double() @ held["preprocess.0.weight"].T + held["preprocess.0.bias"], "preprocess.1")
    x = x.reshape(len(x), 4 * width, 4, 4)
    for block in ("block1", "block2"):
        x = normed(doubled(x, f"{block}.0"), f"{block}.1")
    return doubled(x, "deconv_out").tanh()


NORM = ("running_mean", "running_var", "weight", "bias")


def test_images_and_gradients_are_the_official_ones(shared: Path) -> None:
    golden = Golden(shared, "wgangp-dev")
    same_as_official(golden, golden.model())


@pytest.mark.parametrize(("width", "dim"), [(1, 3), (3, 7), (5, 128)])
def test_it_is_its_formula_at_other_settings(width: int, dim: int) -> None:
    weights, code = random_weights(width, dim), codes(3, dim)
    model = build({"DIM": width, "latent": dim}, weights)
    wanted = transcribed(code, weights, width)
    assert apart(official(model, code).double(), wanted) < 1e-5
    assert apart(official(prepare(model), code).double(), wanted) < 1e-5
    assert not any(isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) for layer in model.modules()), "all are folded"


def test_the_transcription_agrees_with_a_transposed_convolution() -> None:
    x, weight = torch.randn(2, 3, 4, 4), torch.randn(3, 5, 2, 2)
    pixels = torch.einsum("nihw,ioab->nohawb", x, weight).flatten(4, 5).flatten(2, 3)
    torch.testing.assert_close(pixels, functional.conv_transpose2d(x, weight, stride=2), atol=1e-5, rtol=1e-5)


def test_check_passes() -> None:
    passes_check(lambda: build(SETTINGS, random_weights()))


def test_the_real_widths_are_the_defaults() -> None:
    with pytest.raises(WeightsError, match=r"missing: preprocess\.0\.weight \[8192, 128\]"):
        build({}, {})


def test_files(tmp_path: Path) -> None:
    right = random_weights()
    counters = {"block1.1.num_batches_tracked": torch.tensor(5)}
    for number, held in enumerate([right | counters, {"netG": right, "iteration": 3}, {"state_dict": right}]):
        torch.save(held, tmp_path / f"{number}.pt")
        settings, weights = read(tmp_path / f"{number}.pt")
        assert settings == {}
        assert torch.equal(build(SETTINGS, weights).decode(codes(2, 7)), build(SETTINGS, right).decode(codes(2, 7)))
    write_converted(tmp_path / "c.safetensors", FAMILY, SETTINGS, right)
    assert read(tmp_path / "c.safetensors")[0] == SETTINGS


def test_what_does_not_fit_is_told() -> None:
    missing_and_left_over(lambda weights: build(SETTINGS, weights), random_weights())
    with pytest.raises(CardError, match=r"family 'wgangp-caogang': `DIM` is 1\.5; it must be a whole number from 1 up"):
        build({"DIM": 1.5}, {})
    with pytest.raises(CardError, match=r"unknown setting in `config`: `latents` \(did you mean `latent`\?\)"):
        build({"latents": 3}, {})
    with pytest.raises(GeneratorError, match=r"codes of space 'z' are \[n, 7\], not \[2, 8\]"):
        build(SETTINGS, random_weights()).decode(torch.zeros(2, 8))
