"""A decoder that others have trained, with reference bounds: where they lie, and how close ours are."""

from __future__ import annotations

from pathlib import Path as Folder

import numpy as np
import pytest
import torch
from exact_models import Fixed, Network, model_curvature, simulated, streams
from torch import Tensor
from torch.nn.functional import elu, linear

from preimage.harness.cards import ImageSpec
from preimage.harness.samplers.interface import Exact
from preimage.harness.samplers.laplace import Laplace
from preimage.harness.samplers.likelihood import Likelihood

pytestmark = pytest.mark.slow

SIGMA2 = 0.01


class Decoder(Network):
    """An MNIST decoder of three layers, 50 codes; sigma2 is 0.01."""

    def __init__(self, folder: Folder) -> None:
        with np.load(folder / "decoder.npz") as file:
            layers = [(torch.from_numpy(file[f"W{i}"]), torch.from_numpy(file[f"b{i}"])) for i in range(3)]

        def net(z: Tensor) -> Tensor:
            hidden = elu(linear(elu(linear(z, *layers[0])), *layers[1]))
            return torch.sigmoid(linear(hidden, *layers[2]))

        super().__init__(net, 50, 784)
        self.image = ImageSpec(1, 28, 28)


@pytest.fixture(scope="module")
def reference(shared: Folder) -> dict[str, Tensor]:
    with np.load(shared / "golden" / "bdmc-vae50" / "results.npz") as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


@pytest.fixture(scope="module")
def decoder(shared: Folder) -> Decoder:
    return Decoder(shared / "golden" / "bdmc-vae50")


@pytest.fixture(scope="module")
def fixed(decoder: Decoder) -> Fixed:
    """Curvature and tuned numbers, on images of their own; tuned with fewer evaluations than are then measured with."""
    curve = model_curvature(decoder, simulated(decoder, SIGMA2, 64, seed=901)[1].u, SIGMA2)
    likelihood, made = simulated(decoder, SIGMA2, 8, seed=900)
    exact = Exact(made.u, streams("tuning back", 8))
    return Fixed(curve, Laplace(900).tune(likelihood, curve, streams("tuning", 8), exact))


def test_the_reference_interval_lies_within_the_bounds_on_simulated_images(
    decoder: Decoder, fixed: Fixed, reference: dict[str, Tensor]
) -> None:
    likelihood = Likelihood(decoder, reference["x_sim"].float().reshape(-1, 1, 28, 28), SIGMA2)
    exact = Exact(reference["z_sim"].float(), streams("back", 32))
    found = Laplace().estimate(likelihood, fixed.curve, fixed.numbers, streams("chains", 32), exact)
    assert found.upper is not None
    low, high = (float(reference[f"spec_gn_L2_long_sim_{side}"].mean()) for side in ("lb", "ub"))
    assert (round(low, 2), round(high, 2)) == (655.04, 655.13)
    theirs = float(reference["spec_gn_L2_long_sim_se_delta"].square().sum()) ** 0.5 / 32
    ours = float((found.upper - found.lower).std()) / 32**0.5
    noise = 2 * (theirs**2 + ours**2) ** 0.5
    assert float(found.lower.mean()) - noise < low and high < float(found.upper.mean()) + noise
    assert noise < 0.3 and (found.upper - found.lower).mean() < 1


def test_the_mean_over_test_images_is_the_reference_one(
    decoder: Decoder, fixed: Fixed, reference: dict[str, Tensor]
) -> None:
    likelihood = Likelihood(decoder, reference["x_test"].float().reshape(-1, 1, 28, 28), SIGMA2)
    found = Laplace().estimate(likelihood, fixed.curve, fixed.numbers, streams("chains", 32))
    known = reference["spec_gn_L2_long_test_lb"].mean(dim=0)
    assert float(found.lower.mean()) == pytest.approx(806.5, abs=1)
    assert (found.lower - known).abs().mean() < 1
    assert not found.dead.any() and found.ess.mean() > 2
