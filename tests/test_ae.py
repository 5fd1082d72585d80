"""The autoencoder: both directions against their formulas, the law of its codes, its files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from preimage.adapters.ae.family import FAMILY, build, read
from preimage.adapters.code_priors import FittedGaussian
from preimage.harness import StandardNormal, Streams
from preimage.harness.converted import write_converted
from preimage.harness.errors import CardError, WeightsError
from preimage.harness.generator import prepare

from .golden_sets import apart, codes, drawn, missing_and_left_over, official, passes_check
from .test_dcgan import norm, transcribed

TINY: dict[str, Any] = {"nz": 5, "ngf": 2, "ndf": 3, "nc": 1, "size": 16}


def random_weights(size: int = 16, ngf: int = 2, ndf: int = 3, nc: int = 1) -> dict[str, Tensor]:
    doublings = {8: 1, 16: 2, 64: 4}[size]
    widths = [ngf * 2 ** (doublings - 1 - i) for i in range(doublings)] + [nc]
    shapes: dict[str, tuple[int, ...]] = {"decoder.main.0.weight": (5, widths[0], 4, 4)}
    for i in range(doublings):
        shapes |= norm(f"decoder.main.{3 * i + 1}", widths[i])
        shapes[f"decoder.main.{3 * i + 3}.weight"] = (widths[i], widths[i + 1], 4, 4)
    shapes["encoder.main.0.weight"] = (ndf, nc, 4, 4)
    for i in range(1, doublings):
        shapes[f"encoder.main.{3 * i - 1}.weight"] = (ndf * 2**i, ndf * 2 ** (i - 1), 4, 4)
        shapes |= norm(f"encoder.main.{3 * i}", ndf * 2**i)
    shapes[f"encoder.main.{3 * doublings - 1}.weight"] = (5, ndf * 2 ** (doublings - 1), 4, 4)
    return drawn(shapes)


def encoded(image: Tensor, weights: dict[str, Tensor], doublings: int) -> Tensor:
    """The critic of DCGAN in float64, on images in [0, 1]."""
    held = {name.removeprefix("encoder.main."): value.double() for name, value in weights.items()}
    x = functional.conv2d(2 * image.double() - 1, held["0.weight"], stride=2, padding=1)
    for i in range(1, doublings):
        x = functional.conv2d(torch.where(x > 0, x, 0.2 * x), held[f"{3 * i - 1}.weight"], stride=2, padding=1)
        names = ("running_mean", "running_var", "weight", "bias")
        mean, var, gain, bias = (held[f"{3 * i}.{n}"][:, None, None] for n in names)
        x = (x - mean) / (var + 1e-5).sqrt() * gain + bias
    return functional.conv2d(torch.where(x > 0, x, 0.2 * x), held[f"{3 * doublings - 1}.weight"]).flatten(1)


@pytest.mark.parametrize(("size", "ngf", "ndf", "nc"), [(8, 3, 2, 1), (16, 2, 3, 1), (64, 1, 2, 3)])
def test_both_directions_are_their_formulas(size: int, ngf: int, ndf: int, nc: int) -> None:
    weights, code, doublings = random_weights(size, ngf, ndf, nc), codes(3, 5), {8: 1, 16: 2, 64: 4}[size]
    model = build({"nz": 5, "ngf": ngf, "ndf": ndf, "nc": nc, "size": size}, weights)
    images = transcribed(
        code,
        weights,
        [f"decoder.main.{3 * i}" for i in range(doublings + 1)],
        [f"decoder.main.{3 * i + 1}" for i in range(doublings)],
        True,
    )
    target = torch.rand(3, nc, size, size, generator=torch.Generator().manual_seed(0))
    found = encoded(target, weights, doublings)
    for one in (model, prepare(model)):
        assert tuple(one.image) == tuple(images.shape[1:])
        assert apart(official(one, code).double(), images) < 1e-5
        assert apart(one.encode(target).double(), found) < 1e-5
    assert model.has_encoder
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in model.modules()), "all are folded"


def test_the_prior_is_fitted_to_training_codes_where_there_are_any() -> None:
    trained = codes(400, 5) * torch.tensor([3.0, 1.0, 0.5, 1.0, 1.0]) + 1
    assert build(TINY, random_weights()).native.prior == StandardNormal()
    model = build(TINY, random_weights() | {"codes": trained})
    prior = model.native.prior
    assert type(prior) is FittedGaussian and torch.equal(model.get_buffer("trained_codes"), trained)
    draws = prior.sample(Streams(list(range(2000))), 5)
    moved = (prior.project(draws) - draws).norm(dim=1) > 1e-4
    assert 0 < float(moved.float().mean()) < 0.01, "three standard deviations of the chi-squared law"
    far = torch.full((1, 5), 100.0)
    near = prior.project(far)
    torch.testing.assert_close(prior.project(near), near)
    inverse = torch.linalg.inv(torch.cov(trained.double().T))
    away = near.double() - trained.double().mean(dim=0)
    assert float((away @ inverse @ away.T).item()) == pytest.approx(5 + 3 * 10**0.5, rel=1e-5)
    assert build(TINY | {"prior": "normal"}, random_weights() | {"codes": trained}).native.prior == StandardNormal()


def test_check_passes() -> None:
    passes_check(lambda: build(TINY, random_weights()))
    passes_check(lambda: build(TINY, random_weights() | {"codes": codes(50, 5) + 1}))


def test_files(tmp_path: Path) -> None:
    right = random_weights() | {"codes": codes(9, 5)}
    torch.save(right, tmp_path / "bare.pt")
    torch.save({"state_dict": right, "epoch": 3}, tmp_path / "table.pt")
    for name in ("bare.pt", "table.pt"):
        settings, weights = read(tmp_path / name)
        assert settings == {} and weights.keys() == right.keys()
    write_converted(tmp_path / "c.safetensors", FAMILY, TINY, right)
    model = build(*read(tmp_path / "c.safetensors"))
    assert torch.equal(model.decode(codes(2, 5)), build(TINY, right).decode(codes(2, 5)))


def test_what_does_not_fit_is_told() -> None:
    missing_and_left_over(lambda weights: build(TINY, weights), random_weights())
    with pytest.raises(CardError, match="family 'ae': `size` is 24; it must be a power of two from 8 up"):
        build(TINY | {"size": 24}, {})
    with pytest.raises(CardError, match="`prior` is fitted, and the weights have no training codes"):
        build(TINY | {"prior": "fitted"}, random_weights())
    with pytest.raises(CardError, match="`prior` is 'ball'; choose one of fitted, normal"):
        build(TINY | {"prior": "ball"}, random_weights())
    with pytest.raises(WeightsError, match=r"missing: decoder\.main\.0\.weight \[100, 512, 4, 4\]"):
        build({}, {})
