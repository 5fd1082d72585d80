"""Weights of annealed chains: unbiased forward and in reverse, whatever the path, the momentum and the start."""

from __future__ import annotations

import pytest
import torch
from exact_models import biases, linear, model_curvature, simulated, streams, tuned

from preimage.harness.samplers.curvature import image_curvature
from preimage.harness.samplers.descent import descend
from preimage.harness.samplers.interface import Exact, Sampler
from preimage.harness.samplers.laplace import Laplace
from preimage.harness.samplers.laplace_start import laplace_path
from preimage.harness.samplers.likelihood import Likelihood
from preimage.harness.samplers.prior_path import PriorPath
from preimage.harness.samplers.simulate import simulate
from preimage.harness.streams import Streams, seed_of

SIGMA2 = 0.01


@pytest.mark.parametrize(("persistence", "shift"), [(0.0, 1.0), (0.7, 1.0), (0.7, 0.1)])
@pytest.mark.parametrize("start", ["prior", "laplace"])
def test_weights_are_unbiased_forward_and_backward(start: str, persistence: float, shift: float) -> None:
    forward, back = biases(start, persistence, shift, images=200, chains=100)
    for bias in (forward, back):
        assert abs(bias.off) < 3.5
        assert bias.error < 0.04 and bias.spread > 0.1  # else the line above could not fail


@pytest.mark.parametrize("start", ["prior", "laplace"])
def test_weights_of_resampled_chains_are_unbiased_and_so_are_those_beside_an_exact_chain(start: str) -> None:
    forward, beside = biases(start, 0.7, 0.1, images=200, chains=25, resampled=True)
    for bias in (forward, beside):
        assert abs(bias.off) < 3.5
        assert bias.error < 0.04 and bias.spread > 0.05


@pytest.mark.parametrize("sampler", [PriorPath(300), Laplace(300, pilot_least=100)], ids=lambda s: s.name)
def test_fifty_seeds_are_below_the_truth_and_cover_it(sampler: Sampler) -> None:
    generator = linear(4, 64)
    fixed = tuned(generator, SIGMA2)
    made = [simulate(generator, streams("images", 2, seed), SIGMA2) for seed in range(50)]
    likelihood = Likelihood(generator, torch.cat([part.image for part in made]), SIGMA2)
    own, back = (Streams([seed_of(k, name, i) for k in range(50) for i in range(2)]) for name in ("chains", "back"))
    exact = Exact(torch.cat([part.u for part in made]), back)
    found = sampler.estimate(likelihood, fixed.curve, fixed.numbers, own, exact)
    truth = generator.log_density(likelihood.target, SIGMA2)
    assert found.upper is not None
    below, above = found.lower - truth, found.upper - truth
    for over in (below, -above):
        assert -1.5 < over.mean() < 2 * over.std() / 10
        ratio = over.exp()  # unbiased: w / p(x), and p(x) / w of reverse chains
        assert abs(float(ratio.mean()) - 1) < 3.5 * float(ratio.std()) / 10 < 0.6
    assert ((below < 1) & (above > -1)).double().mean() > 0.95


def test_the_laplace_start_is_the_tempered_posterior_where_the_model_is_linear() -> None:
    generator, b0 = linear(6, 32), 0.05
    likelihood, made = simulated(generator, SIGMA2, 4)
    model = model_curvature(generator, made.u, SIGMA2)
    u = descend(likelihood, model, made.u.unsqueeze(1) + 0.5, 40).squeeze(1)
    mode, _ = generator.tempered(made.image, SIGMA2, 1.0)
    torch.testing.assert_close(u.double(), mode, rtol=0, atol=1e-3)
    path = laplace_path(likelihood, u, image_curvature(likelihood, u, model), b0, 10)
    mean, cov = generator.tempered(made.image, SIGMA2, b0)
    assert path.start is not None
    torch.testing.assert_close(path.likelihood.to_chart(path.start.mean)[:, 0].double(), mean, rtol=0, atol=2e-3)
    Q = path.likelihood.rotation
    assert Q is not None
    torch.testing.assert_close(
        ((Q / path.start.precision) @ Q.mT).double(), cov.expand(4, -1, -1), rtol=1e-3, atol=1e-5
    )
    assert path.temperatures.shape == (11, 4)
    assert path.temperatures[0].tolist() == [0.0] * 4 and path.temperatures[-1].tolist() == [1.0] * 4
    value = path.value(path.draw(streams("q0", 4), 7))
    law = torch.distributions.MultivariateNormal(mean.unsqueeze(1), cov)
    drawn = path.draw(streams("q0", 4), 7)
    torch.testing.assert_close(value.start, law.log_prob(path.likelihood.to_chart(drawn).double()), rtol=0, atol=2e-2)
