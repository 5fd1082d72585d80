"""Frechet and kernel distances, nearest-neighbour shares and their intervals: against exact and brute-force answers."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchmetrics.image.kid import KernelInceptionDistance, poly_mmd

from preimage.benchmarks.frechet import Frechet
from preimage.harness.asking_features import FeatureOptions
from preimage.harness.frechet import frechet_distance, frechet_distances_without, normal_distance
from preimage.harness.groups import Groups
from preimage.harness.jackknife import jackknife
from preimage.harness.kernel_distance import kernel_distances
from preimage.harness.manifolds import compare_manifolds
from preimage.harness.rows import Rows


def features(n: int, d: int, seed: int, *, shift: float = 0.0, scale: float = 1.0) -> Tensor:
    """What a network gives: correlated, never negative, some entries always 0."""
    g = torch.Generator().manual_seed(seed)
    mixed = torch.randn(n, 48, generator=g) @ torch.randn(48, d, generator=torch.Generator().manual_seed(1))
    found = (scale * (0.3 * mixed + 0.5 * torch.randn(n, d, generator=g)) + shift).clamp_min(0)
    found[:, ::17] = 0
    return found


def by_singular_values(real: Tensor, fake: Tensor) -> float:
    """The distance in float64 by numpy: ``tr (S S')^(1/2)`` is the nuclear norm of the product of centred features."""
    x, y = (one.double().numpy() for one in (real, fake))
    a, b = ((one - one.mean(0)) / math.sqrt(len(one) - 1) for one in (x, y))
    root = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + (a**2).sum() + (b**2).sum() - 2 * root)


def test_torchmetrics_and_an_independent_computation_agree_on_2048_features() -> None:
    real, fake = features(2100, 2048, 2), features(2100, 2048, 3, shift=0.1)
    assert frechet_distance(real=real, fake=fake) == pytest.approx(by_singular_values(real, fake), rel=1e-6)


def test_they_agree_on_fewer_images_than_features() -> None:
    real, fake = features(150, 512, 2), features(150, 512, 3, shift=0.1)
    assert frechet_distance(real=real, fake=fake) == pytest.approx(by_singular_values(real, fake), rel=1e-6)


@pytest.mark.parametrize("n", [60, 400])
def test_replicates_are_the_same_distance(n: int) -> None:
    real, fake = features(n, 128, 2), features(n, 128, 3, shift=0.1)
    assert normal_distance(real=real, fake=fake) == pytest.approx(by_singular_values(real, fake), rel=1e-7)
    groups = Groups(n, 4)
    found = frechet_distances_without(real=real[groups.order], fake=fake[groups.order], groups=groups)
    left = torch.arange(n) % 4 != 1
    assert found[1] == pytest.approx(by_singular_values(real[left], fake[left]), rel=1e-7)


def normal(n: int, d: int, seed: int) -> Tensor:
    """A sample whose mean is 0 and whose covariance is the identity, to rounding."""
    x = np.random.default_rng(seed).normal(size=(n, d))
    x -= x.mean(0)
    values, vectors = np.linalg.eigh(x.T @ x / (n - 1))
    return torch.from_numpy(x @ vectors / np.sqrt(values))


def test_the_distance_of_known_normal_laws() -> None:
    scales = torch.tensor([0.5, 1.0, 2.0, 3.0], dtype=torch.float64)
    real, fake = normal(200, 4, 0), normal(150, 4, 1) * scales + 0.25
    exact = float(4 * 0.25**2 + (scales - 1).square().sum())
    assert frechet_distance(real=real, fake=fake) == pytest.approx(exact, rel=1e-9)
    assert normal_distance(real=real, fake=fake) == pytest.approx(exact, rel=1e-9)


def test_the_distance_of_a_set_from_itself_is_0() -> None:
    same = features(100, 64, 0)
    assert 0 <= frechet_distance(real=same, fake=same) < 1e-5
    assert 0 <= normal_distance(real=same, fake=same) < 1e-9


class Given(nn.Module):
    num_features = 32

    def forward(self, given: Tensor) -> Tensor:
        return given


def test_kernel_distances_are_torchmetrics() -> None:
    real, fake = features(90, 32, 0).double(), features(90, 32, 1, shift=0.2).double()
    groups = Groups(90, 7)
    found = kernel_distances(real=real[groups.order], fake=fake[groups.order], groups=groups)
    assert found[0] == pytest.approx(float(poly_mmd(real, fake)), rel=1e-10)
    with pytest.warns(UserWarning, match="will save all extracted features"):
        metric = KernelInceptionDistance(feature=Given(), subsets=1, subset_size=90).set_dtype(torch.float64)
    metric.update(real, real=True)
    metric.update(fake, real=False)
    assert found[0] == pytest.approx(float(metric.compute()[0]), rel=1e-5)
    for group in range(7):
        left = torch.arange(90) % 7 != group
        if left.sum() == 78:  # torchmetrics takes as many of both
            assert found[1 + group] == pytest.approx(float(poly_mmd(real[left], fake[left])), rel=1e-9)


def by_pairs(real: Tensor, fake: Tensor, k: int) -> dict[str, float]:
    """Precision, recall, density, coverage by their definitions, one pair at a time."""

    def radius(points: Tensor, i: int) -> float:
        return sorted(float((points[i] - points[j]).norm()) for j in range(len(points)) if j != i)[k - 1]

    around_real, around_fake = ([radius(one, i) for i in range(len(one))] for one in (real, fake))
    apart = [[float((x - y).norm()) for y in fake] for x in real]
    n, m = len(real), len(fake)
    return {
        "precision": sum(any(apart[i][j] <= around_real[i] for i in range(n)) for j in range(m)) / m,
        "recall": sum(any(apart[i][j] <= around_fake[j] for j in range(m)) for i in range(n)) / n,
        "density": sum(apart[i][j] <= around_real[i] for i in range(n) for j in range(m)) / (k * m),
        "coverage": sum(any(apart[i][j] <= around_real[i] for j in range(m)) for i in range(n)) / n,
    }


@pytest.fixture
def sets() -> tuple[Tensor, Tensor]:
    """Real features, and generated ones that cover a part of them."""
    g = torch.Generator().manual_seed(5)
    return torch.randn(43, 6, generator=g), 0.6 * torch.randn(43, 6, generator=g) + 0.8


def test_shares_equal_brute_force_and_so_do_those_without_a_group(
    sets: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, fake = sets
    groups = Groups(43, 5)
    monkeypatch.setattr("preimage.harness.manifolds._AT_ONCE", 43 * 10)  # several blocks, which cut through groups
    found = compare_manifolds(real=real[groups.order], fake=fake[groups.order], groups=groups, k=3)._asdict()
    for row in range(6):
        left = torch.arange(43) % 5 != row - 1
        expected = by_pairs(real[left].double(), fake[left].double(), 3)
        assert {name: values[row] for name, values in found.items()} == pytest.approx(expected, abs=1e-12), row
    assert 0 < found["recall"][0] < found["precision"][0] < 1


def test_real_and_generated_cannot_be_swapped_unnoticed(sets: tuple[Tensor, Tensor]) -> None:
    real, fake = sets
    groups = Groups(43, 5)
    found = compare_manifolds(real=real[groups.order], fake=fake[groups.order], groups=groups, k=3)
    swapped = compare_manifolds(real=fake[groups.order], fake=real[groups.order], groups=groups, k=3)
    assert found.precision == swapped.recall != found.recall
    assert found.density != swapped.density
    assert found.coverage != swapped.coverage


def test_a_set_covers_itself_although_balls_of_equal_images_have_no_radius() -> None:
    same = torch.randn(4, 6, generator=torch.Generator().manual_seed(0)).repeat(10, 1)  # ten of each
    groups = Groups(40, 2)
    found = compare_manifolds(real=same[groups.order], fake=same[groups.order], groups=groups, k=5)
    assert found.precision == found.recall == found.coverage == [1.0] * 3


def test_groups_are_spread_over_the_images_and_alike_in_size() -> None:
    groups = Groups(11, 3)
    assert groups.order.tolist() == [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8]
    assert groups.sizes == [4, 4, 3]
    assert groups.without(torch.arange(11)[groups.order], 1).tolist() == [0, 3, 6, 9, 2, 5, 8]


def test_the_jackknife_of_a_mean_is_the_spread_of_group_means() -> None:
    values = np.random.default_rng(0).normal(size=200)
    means = np.array([values[g::20].mean() for g in range(20)])
    without = np.array([np.delete(values, np.s_[g::20]).mean() for g in range(20)])
    found = jackknife(float(values.mean()), without, 200)
    half = 2.0930240544 * means.std(ddof=1) / math.sqrt(20)
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half))
    assert jackknife(0.5, np.array([0.0, 1.0]), 9, least=0.0, most=1.0) == (0.5, 0.0, 1.0, 9, b"")


def test_intervals_hold_the_exact_distance_as_often_as_they_say() -> None:
    """Normal laws whose Frechet distance is known; with 500 images its bias is far below its spread."""
    n, d, shift, scale, times = 500, 4, 0.6, 1.3, 80
    exact = d * shift**2 + d * (scale - 1) ** 2
    groups, g, held = Groups(n, 20), torch.Generator().manual_seed(7), 0
    for _ in range(times):
        real = torch.randn(n, d, generator=g, dtype=torch.float64)
        fake = torch.randn(n, d, generator=g, dtype=torch.float64) * scale + shift
        without = frechet_distances_without(real=real, fake=fake, groups=groups)
        found = jackknife(frechet_distance(real=real, fake=fake), np.array(without), n)
        assert found.low is not None and found.high is not None
        held += found.low <= exact <= found.high
    assert 0.88 <= held / times <= 0.99


def rows_of(**columns: list[float]) -> Rows:
    values = {name: np.array(column) for name, column in columns.items()}
    count = len(values["images"])
    return Rows(np.arange(count), np.full(count, -1), values, ("",) * count)


def test_scores_are_those_of_the_rows_under_the_extractors_name() -> None:
    options = dataclasses.replace(FeatureOptions(), extractor="some")
    shares = {name: [0.9, 0.8, 1.0] for name in ("precision", "recall", "density", "coverage", "kid")}
    rows = rows_of(images=[40, 20, 20], frechet_train=[6.0, 5.0, 7.0], frechet_val=[8.0, 8.0, 8.0], **shares)
    found = {score.metric: score.estimate for score in Frechet().summarise({"comparison": rows}, options)}
    assert found.keys() == {f"{name}/some" for name in Frechet.metrics}
    assert found["frechet_train/some"].value == 6 and found["frechet_val/some"].value == 8
    assert found["frechet_gap/some"].value == 0.25
    assert found["frechet_val/some"].low == found["frechet_val/some"].high == 8
    assert found["precision/some"].high == 1 and found["density/some"].high is not None
    assert found["density/some"].high > 1
    assert {one.n for one in found.values()} == {40}


def test_the_gap_is_0_where_there_is_no_distance_at_all() -> None:
    shares = {name: [0.0] * 3 for name in ("precision", "recall", "density", "coverage", "kid")}
    rows = rows_of(images=[40, 20, 20], frechet_train=[0.0] * 3, frechet_val=[0.0] * 3, **shares)
    scores = dict(Frechet().summarise({"comparison": rows}, FeatureOptions()))
    assert scores["frechet_gap/alexnet"].value == 0
