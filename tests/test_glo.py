"""GLO against the official outputs and its formula; the law of its codes; training codes in its files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from torch import Tensor, nn

from preimage.adapters.code_priors import FittedGaussian, GaussianInBall, UniformInBall
from preimage.adapters.glo.family import FAMILY, build, read
from preimage.adapters.plain_generator import PlainGenerator
from preimage.harness import LatentSpace, StandardNormal, Streams
from preimage.harness.converted import write_converted
from preimage.harness.errors import CardError, WeightsError
from preimage.harness.generator import prepare
from preimage.harness.samplers.charts import chart_of

from .golden_sets import (
    Golden,
    apart,
    codes,
    missing_and_left_over,
    official,
    passes_check,
    same_as_official,
    verdicts,
)
from .test_dcgan import examples_weights, transcribed

SETTINGS: dict[str, Any] = {"code_dim": 5, "n_filter": 2, "out_channels": 1}


def weights_of(with_codes: Tensor | None = None) -> dict[str, Tensor]:
    return examples_weights(prefix="dcnn") | ({} if with_codes is None else {"codes": with_codes})


def on_sphere(count: int = 200, dim: int = 5) -> Tensor:
    """Codes as training leaves most of them: on the unit sphere, not spread evenly."""
    spread = codes(count, dim) * torch.tensor([2.0, 1.0, 1.0, 0.5, 0.25])[:dim] + 0.3
    return spread / spread.norm(dim=1, keepdim=True)


def streams(count: int) -> Streams:
    return Streams(list(range(count)))


def test_images_and_gradients_are_the_official_ones(shared: Path) -> None:
    golden = Golden(shared, "glo-dev")
    same_as_official(golden, golden.model())


def test_it_is_its_formula_and_takes_codes_as_they_are() -> None:
    weights, code = weights_of(), 3 * codes(3, 5)
    assert (code.norm(dim=1) > 1.5).all(), "far outside the ball"
    model = build(SETTINGS, weights)
    wanted = transcribed(
        code, weights, [f"dcnn.{3 * i}" for i in range(5)], [f"dcnn.{3 * i + 1}" for i in range(4)], True
    )
    assert apart(official(model, code).double(), wanted) < 1e-5
    assert apart(official(prepare(model), code).double(), wanted) < 1e-5
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in model.modules())


def prior_of(model: PlainGenerator, kind: type) -> Any:
    assert type(model.native.prior) is kind
    return model.native.prior


def test_the_prior_is_the_gaussian_fitted_to_training_codes() -> None:
    trained = on_sphere()
    model = build(SETTINGS, weights_of(trained))
    prior = prior_of(model, GaussianInBall)
    mean, covariance = trained.double().mean(dim=0), torch.cov(trained.double().T)
    law, code = multivariate_normal(mean.numpy(), covariance.numpy()), codes(7, 5)
    np.testing.assert_allclose(prior.log_prob(code), law.logpdf(code.double().numpy()), rtol=1e-9)
    draws = prior.sample(streams(20000), 5)
    assert draws.shape == (20000, 5) and draws.dtype == torch.float32
    torch.testing.assert_close(draws.double().mean(dim=0), mean, atol=0.02, rtol=0)
    torch.testing.assert_close(torch.cov(draws.double().T), covariance, atol=0.02, rtol=0)
    assert torch.equal(prior.sample(streams(3), 5), draws[:3]), "a draw depends on its own stream alone"


def test_a_likelihood_sees_the_slope_of_the_prior() -> None:
    trained = on_sphere()
    space, u = build(SETTINGS, weights_of(trained)).native, codes(4, 5)
    density, slope = chart_of(space).log_prior(u)
    inverse = torch.linalg.inv(torch.cov(trained.double().T))
    wanted = -(u.double() - trained.double().mean(dim=0)) @ inverse
    torch.testing.assert_close(slope.double(), wanted, rtol=1e-4, atol=1e-4)
    assert space.prior is not None
    torch.testing.assert_close(density, space.prior.log_prob(u))


@pytest.mark.parametrize("trained", [None, on_sphere()], ids=["no codes", "codes"])
def test_the_plausible_codes_are_the_unit_ball(trained: Tensor | None) -> None:
    prior = build(SETTINGS, weights_of(trained)).native.prior
    assert prior is not None
    inside, outside = torch.full((1, 5), 0.1), torch.full((1, 5), 3.0)
    assert torch.equal(prior.project(inside), inside)
    torch.testing.assert_close(prior.project(outside), torch.full((1, 5), 1 / math.sqrt(5)))


def test_without_training_codes_codes_are_uniform_in_the_ball() -> None:
    prior = prior_of(build(SETTINGS, weights_of()), UniformInBall)
    draws = prior.sample(streams(20000), 5).double()
    assert float(draws.norm(dim=1).max()) <= 1 + 1e-6
    assert float(draws.square().sum(dim=1).mean()) == pytest.approx(5 / 7, abs=0.01)  # d / (d + 2)
    assert float((draws.norm(dim=1) < 0.5**0.2).double().mean()) == pytest.approx(0.5, abs=0.015)
    torch.testing.assert_close(draws.mean(dim=0), torch.zeros(5).double(), atol=0.02, rtol=0)
    volume = 8 * math.pi**2 / 15  # of the unit ball in five dimensions
    torch.testing.assert_close(prior.log_prob(draws[:3].float()), torch.full((3,), -math.log(volume)).double())
    assert prior.log_prob(torch.full((1, 5), 0.5)).item() == -math.inf


def test_the_prior_can_be_chosen() -> None:
    """As for models of implicit maximum likelihood, whose codes are drawn from N(0, I)."""
    assert build(SETTINGS | {"prior": "normal"}, weights_of()).native.prior == StandardNormal()
    prior_of(build(SETTINGS | {"prior": "ball"}, weights_of(on_sphere())), UniformInBall)
    prior_of(build(SETTINGS | {"prior": "fitted"}, weights_of(on_sphere())), GaussianInBall)


def test_training_codes_stay_with_the_generator() -> None:
    trained = on_sphere()
    model = build(SETTINGS | {"prior": "normal"}, weights_of(trained.double()))
    kept = model.trained_codes
    assert isinstance(kept, Tensor) and torch.equal(kept, trained)
    assert not hasattr(build(SETTINGS, weights_of()), "trained_codes")


def test_check_passes_although_draws_lie_outside_the_ball() -> None:
    passes_check(lambda: build(SETTINGS, weights_of()))
    passes_check(lambda: build(SETTINGS | {"prior": "normal"}, weights_of()))
    fitted = build(SETTINGS, weights_of(on_sphere()))
    prior, draws = prior_of(fitted, GaussianInBall), prior_of(fitted, GaussianInBall).sample(streams(1000), 5)
    assert 0.2 < float((prior.project(draws) != draws).any(dim=1).float().mean()) < 0.8
    passes_check(lambda: fitted)


def test_check_finds_a_gaussian_that_should_know_its_draws() -> None:
    class Narrow(FittedGaussian):
        def project(self, code: Tensor) -> Tensor:
            return code.clamp(-0.1, 0.1)

    model = build(SETTINGS, weights_of())
    model.spaces = {"z": LatentSpace("z", 5, Narrow(on_sphere()))}
    assert "broken: project moves" in verdicts(lambda: model)["prior"]


@pytest.mark.parametrize("prefix", ["", "module."])
def test_files(tmp_path: Path, prefix: str) -> None:
    network, trained = {prefix + name: value for name, value in weights_of().items()}, on_sphere(20)
    parallel_or_not = {"beside": {"generator": network, "codes": trained}, "without": {"state_dict": network}}
    if not prefix:
        parallel_or_not["in it"] = network | {"codes": trained}
    for name, held in parallel_or_not.items():
        torch.save(held, tmp_path / "g.pt")
        settings, weights = read(tmp_path / "g.pt")
        assert settings == {}
        assert weights.keys() == weights_of(None if name == "without" else trained).keys(), name
        build(SETTINGS, weights)
    write_converted(tmp_path / "c.safetensors", FAMILY, SETTINGS, weights_of(trained))
    settings, weights = read(tmp_path / "c.safetensors")
    assert settings == SETTINGS and torch.equal(weights["codes"], trained)


def test_what_does_not_fit_is_told() -> None:
    missing_and_left_over(lambda weights: build(SETTINGS, weights), weights_of())
    with pytest.raises(WeightsError, match=r"`codes` are \[20, 4\], 0 of their values not finite; the codes of train"):
        build(SETTINGS, weights_of(on_sphere(20, 4)))
    with pytest.raises(WeightsError, match=r"`codes` are \[1, 5\], 5 of their values not finite"):
        build(SETTINGS, weights_of(torch.full((1, 5), torch.nan)))
    with pytest.raises(CardError, match=r"`prior` is 'uniform'; choose one of fitted, ball, normal"):
        build(SETTINGS | {"prior": "uniform"}, weights_of())
    with pytest.raises(CardError, match=r"`prior` is fitted, and the weights have no training codes: a tensor `codes`"):
        build(SETTINGS | {"prior": "fitted"}, weights_of())
    with pytest.raises(CardError, match="family 'glo-minimal': `config` lacks `code_dim`"):
        build({}, {})


@pytest.mark.parametrize(
    "flat", [on_sphere(5), on_sphere(50) * torch.tensor([1.0, 1, 1, 1, 0]), on_sphere(1).expand(9, -1)]
)
def test_codes_without_volume_have_no_gaussian(flat: Tensor) -> None:
    with pytest.raises(WeightsError, match=rf"{len(flat)} training codes of 5 values span no volume.*Choose another"):
        build(SETTINGS, weights_of(flat))
    build(SETTINGS | {"prior": "ball"}, weights_of(flat))
