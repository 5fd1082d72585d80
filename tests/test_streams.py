"""One stream per image: a draw depends on its own seed and on nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from preimage.harness.streams import Streams, seed_of

seeds = st.integers(min_value=0, max_value=2**64 - 1)


def test_a_seed_is_the_same_everywhere() -> None:
    assert seed_of(0, "start", 3) == 3799321946466061850
    assert 0 <= seed_of() < 2**64


def test_seeds_tell_numbers_from_texts_and_order_from_order() -> None:
    tuples: list[tuple[int | str, ...]] = [(1, 2), (2, 1), (12,), ("1", 2), (1, "2"), ("12",), (), ("",), (1,), (-1,)]
    assert len({seed_of(*parts) for parts in tuples}) == len(tuples)


def test_a_number_of_numpy_gives_the_seed_of_the_number() -> None:
    assert seed_of("start", int(np.int64(7))) == seed_of("start", np.int64(7)) == seed_of("start", 7)  # type: ignore[arg-type]  # an index from an array


def test_draws_are_those_of_pcg64() -> None:
    expected = np.stack([np.random.default_rng(s).standard_normal(5, dtype=np.float32) for s in (3, 9)])
    drawn = Streams([3, 9]).normal(5)
    assert drawn.dtype == torch.float32
    assert np.array_equal(drawn.numpy(), expected)


@settings(max_examples=30, deadline=None)
@given(st.lists(seeds, min_size=1, max_size=6, unique=True), st.randoms(use_true_random=False))
def test_order_and_company_change_nothing(chosen: list[int], random: object) -> None:
    shuffled = list(chosen)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis types its randoms as objects
    together = Streams(shuffled)
    normals, uniforms, numbers = together.normal(3), together.uniform(2, 2), together.integers(1000)
    for seed in chosen:
        alone, k = Streams([seed]), shuffled.index(seed)
        assert torch.equal(alone.normal(3)[0], normals[k])
        assert torch.equal(alone.uniform(2, 2)[0], uniforms[k])
        assert torch.equal(alone.integers(1000)[0], numbers[k])


def test_selected_streams_go_on_where_they_stand() -> None:
    whole, parts = Streams([1, 2, 3]), Streams([1, 2, 3])
    first = whole.normal(4)
    assert torch.equal(parts.normal(4), first)
    some = parts.select(torch.tensor([2, 0]))
    assert len(some) == 2
    second = whole.normal(4)
    assert torch.equal(some.normal(4), second[[2, 0]])
    third = whole.normal(4)
    assert torch.equal(parts.normal(4)[[0, 2]], third[[0, 2]])  # shared: the draws of `some` have moved them
    assert torch.equal(parts.select(torch.tensor([1])).normal(4), third[[1]])


def test_no_streams_draw_empty_batches() -> None:
    assert Streams([]).normal(3, 2).shape == (0, 3, 2)
    assert Streams([]).integers(3).shape == (0,)


def test_normal_moments() -> None:
    draws = Streams(range(200)).normal(500).double().numpy().ravel()
    n = draws.size
    assert abs(draws.mean()) < 4 / n**0.5
    assert abs(draws.var() - 1) < 4 * (2 / n) ** 0.5
    assert abs((draws**4).mean() - 3) < 4 * (96 / n) ** 0.5
    assert stats.kstest(draws, "norm").pvalue > 1e-3


def test_uniform_moments() -> None:
    draws = Streams(range(200)).uniform(500).double().numpy().ravel()
    n = draws.size
    assert draws.min() >= 0
    assert draws.max() < 1
    assert abs(draws.mean() - 0.5) < 4 / (12 * n) ** 0.5
    assert abs(draws.var() - 1 / 12) < 4 / (180 * n) ** 0.5
    assert stats.kstest(draws, "uniform").pvalue > 1e-3


def test_integers_cover_their_range_evenly() -> None:
    draws = Streams([seed_of("label", k) for k in range(4000)]).integers(10)
    assert draws.dtype == torch.int64
    counts = torch.bincount(draws, minlength=10)
    assert len(counts) == 10
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3


def test_neighbouring_seeds_are_not_correlated() -> None:
    draws = Streams(range(400)).normal(400).double().numpy()
    correlation = np.corrcoef(draws)[np.triu_indices(400, 1)]
    assert abs(correlation).max() < 5.5 / 400**0.5
    assert correlation.std() == pytest.approx(400**-0.5, rel=0.03)


def test_draws_land_on_the_device_asked() -> None:
    assert Streams([1], device="cpu").normal(2).device.type == "cpu"
    assert Streams([], device="meta").select(torch.empty(0, dtype=torch.int64)).normal(2).device.type == "meta"
