"""The likelihood benchmark's scores from rows of known numbers, and what they are made of."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from preimage.benchmarks.likelihood import LikelihoodBenchmark, LikelihoodOptions
from preimage.harness.benchmark import metric_info
from preimage.harness.errors import UsageError
from preimage.harness.likelihood_scores import UNRELIABLE, bits_per_dim, by_noise, in_bits, marginal
from tests.hand_rows import by_metric, likelihoods

D = 784
NATS = np.array([400.0, 500.0, 630.0])
CHAINS: dict[str, Any] = {
    "ess": [1.0, 2.0, 4.0], "acceptance": [0.5, 0.7, 0.9], "non_finite": 0, "dead_chains": 0, "sigma2": 0.01,
    "dimensions": D,
}  # fmt: skip
TEST = likelihoods(NATS, **CHAINS)
MADE = likelihoods([600.0, 700.0], gap=[1.0, 5.0], dimensions=D, **{"ess": 1, "acceptance": 1, "sigma2": 0.01})


def scores(**roles: Any) -> Any:
    return by_metric(LikelihoodBenchmark().summarise({"test": TEST, "simulated": MADE, **roles}, LikelihoodOptions()))


def test_bits_per_dimension_are_those_of_levels() -> None:
    """A uniform density over [0, 1]^D has 0 nats and -8 bits; the exact figure of a log-likelihood by hand."""
    assert bits_per_dim(np.array([0.0]), np.array([3.0])).tolist() == [-8.0]
    assert bits_per_dim(np.array([784 * math.log(2)]), np.array([784.0]))[0] == pytest.approx(-7.0)
    assert bits_per_dim(np.array([1000.0]), np.array([3072.0]))[0] == pytest.approx(
        1000 / 3072 / 0.6931471805599453 - 8
    )
    assert in_bits(np.array([3.0]), np.array([784.0]))[0] == pytest.approx(0.0055205, rel=1e-4)
    assert UNRELIABLE == 0.01


def test_every_score_by_hand() -> None:
    found = scores()
    wanted = {
        "log_likelihood": 510.0,
        "bits_per_dim": 510.0 / (D * math.log(2)) - 8,
        "bdmc_gap": 3.0,
        "bdmc_gap_median": 3.0,
        "bdmc_gap_bits": 3.0 / (D * math.log(2)),
        "ess": 7 / 3,
        "acceptance": 0.7,
        "sigma2": 0.01,
        "sigma2_psnr": 20.0,
    }
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        estimate = found[name].estimate
        assert estimate.value == pytest.approx(value), name
        assert estimate.n == (2 if name.startswith("bdmc") else 3)
        if name.startswith("sigma2"):
            assert (estimate.low, estimate.high, estimate.replicates) == (None, None, b"")
        else:
            assert estimate.low < value < estimate.high
    assert next(iter(found)) == next(iter(LikelihoodBenchmark.metrics)), "log p(x) ranks"
    assert LikelihoodBenchmark.metrics["bdmc_gap"].better == "lower"


def test_test_images_and_simulated_ones_are_not_confused() -> None:
    swapped = by_metric(
        LikelihoodBenchmark().summarise(
            {
                "test": likelihoods([600.0, 700.0], **{**CHAINS, "ess": 1, "acceptance": 1}),
                "simulated": likelihoods(NATS, gap=7.0, dimensions=D),
            },
            LikelihoodOptions(),
        )
    )
    assert (swapped["log_likelihood"].estimate.value, swapped["bdmc_gap"].estimate.value) == (650.0, 7.0)


def test_the_closed_form_stands_beside() -> None:
    found = scores(test=likelihoods(NATS, **CHAINS, exact=NATS + np.array([0.5, 1.0, 3.0])))
    assert found["log_likelihood/exact"].estimate.value == pytest.approx(510 + 1.5)
    assert found["bits_per_dim/exact"].estimate.value == pytest.approx(511.5 / (D * math.log(2)) - 8)
    difference = found["exact_difference"].estimate
    assert difference.value == pytest.approx(-1.5) and -3 <= difference.low < difference.value < difference.high <= -0.5
    assert metric_info(LikelihoodBenchmark(), "log_likelihood/exact").meaning.endswith("where there is one")


def test_what_went_wrong_is_told_where_it_did() -> None:
    bad = likelihoods(NATS, **{**CHAINS, "non_finite": [0, 7, 1], "dead_chains": [0, 0, 2]})
    found = scores(test=bad)
    assert found["non_finite"].estimate.value == pytest.approx(2 / 3)
    assert found["dead_chains"].estimate.value == pytest.approx(1 / 3)


def test_each_noise_has_its_scores() -> None:
    rows = {}
    for value in (0.01, 0.04):
        rows[f"test/sigma2={value}"] = likelihoods(NATS * value, **{**CHAINS, "sigma2": value})
        rows[f"simulated/sigma2={value}"] = MADE
    found = by_metric(LikelihoodBenchmark().summarise(rows, LikelihoodOptions(sigma2=(0.01, 0.04))))
    assert found["log_likelihood/sigma2=0.04"].estimate.value == pytest.approx(510 * 0.04)
    assert found["sigma2_psnr/sigma2=0.01"].estimate.value == pytest.approx(20.0)
    assert all(name.endswith(("/sigma2=0.01", "/sigma2=0.04")) for name in found)


def test_roles_are_told_apart_by_their_noise() -> None:
    rows = {"test": TEST, "simulated/sigma2=0.01": MADE, "outliers hf://a/b/sigma2=0.02": TEST}
    found = by_noise(rows)
    assert {suffix: list(roles) for suffix, roles in found.items()} == {
        "": ["test"], "/sigma2=0.01": ["simulated"], "/sigma2=0.02": ["outliers hf://a/b"],
    }  # fmt: skip


def test_a_marginal_is_the_mean_over_labels() -> None:
    table = np.array([[-1000.0, -1001.0, -1300.0], [5.0, 5.0, 5.0]])
    by_hand = [-1000 + math.log((1 + math.exp(-1) + math.exp(-300)) / 3), 5.0]
    assert marginal(likelihoods(table, labels=3)) == pytest.approx(by_hand, rel=1e-12)
    assert marginal(likelihoods([1.0, 2.0])).tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"simulated": 0}, "`simulated` is 0; without a simulated image no gap can be measured"),
        ({"limit": 0}, "`limit` is 0"),
        ({"sigma2": (0.0,)}, "`sigma2` is 0.0; the noise variance per pixel must be above 0"),
    ],
)
def test_wrong_options_are_told(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as error:
        LikelihoodOptions(**wrong)
    assert said in str(error.value)
