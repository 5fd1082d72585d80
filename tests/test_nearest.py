"""Exact nearest search: brute force in float64 is the truth, whatever narrows the field and however rows come."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from preimage.harness import nearest
from preimage.harness.errors import NotFiniteRows
from preimage.harness.nearest import PANEL, Doubles, Floats, Indices, Kernel, Part, Search, exact_squares, squares_of

KERNELS: tuple[Kernel, ...] = ("faiss", "product")


def searched(
    queries: Floats,
    rows: Floats,
    kernel: Kernel,
    *,
    part: int = 10**9,
    labels: Indices | None = None,
    excluded: Indices | None = None,
    slab: int = nearest.SLAB,
) -> Search:
    """A search among the rows, ``part`` of them at a time."""
    own = np.zeros(len(rows), dtype=np.int64) if labels is None else labels
    count = 0 if labels is None else int(labels.max()) + 1
    search = Search(queries, count, excluded, kernel=kernel, slab=slab)
    for start in range(0, len(rows), part):
        some = rows[start : start + part]
        search.add(Part(start, some, squares_of(some), own[start : start + part]))
    return search


def brute(queries: Floats, rows: Floats) -> Doubles:
    """``||x - y||^2`` of all pairs in float64, [q, n]."""
    return np.stack([((rows.astype(np.float64) - query) ** 2).sum(axis=1) for query in queries.astype(np.float64)])


def data(kind: str) -> tuple[Floats, Floats]:
    """Queries and rows [q, k] and [n, k] of a kind that is hard in its own way."""
    rng = np.random.default_rng(7)
    queries, rows = rng.random((30, 20)), rng.random((400, 20))
    if kind == "duplicates":
        rows[100:200], queries[:10] = rows[:100], rows[:10]
    if kind == "ties":
        queries, rows = queries.round(), rows.round()
    if kind == "near ties":  # apart by the last bits of float32
        rows = rows[:1] + 1e-7 * rng.integers(-3, 4, rows.shape)
    if kind == "far":
        queries, rows = queries + 1e4, rows + 1e4
    if kind == "very far":  # float32 tells apart a few values only
        queries, rows = queries + 1e6, rows + 1e6
    if kind == "tiny":
        queries, rows = 1e-22 * queries, 1e-22 * rows
    if kind == "huge":
        queries, rows = 1e16 * queries, 1e16 * rows
    if kind == "one long row":
        rows[77] *= 1e9
    if kind == "constant":
        queries, rows = np.ones_like(queries), np.ones_like(rows)
    if kind == "long":  # more values than are summed in float32
        queries, rows = 3 + rng.random((12, 2 * PANEL + 5)), 3 + rng.random((60, 2 * PANEL + 5))
        rows[30:], queries[0] = rows[:30], rows[7]
    if kind == "few":
        rows = rows[:3]
    return queries.astype(np.float32), rows.astype(np.float32)


KINDS = ("plain", "duplicates", "ties", "near ties", "far", "very far", "tiny", "huge", "one long row", "constant",
         "long", "few")  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("part", [23, 10**9])
def test_the_nearest_is_that_of_brute_force(kind: str, kernel: Kernel, part: int) -> None:
    queries, rows = data(kind)
    apart, found = brute(queries, rows), searched(queries, rows, kernel, part=part)
    np.testing.assert_array_equal(found.index[:, 0], apart.argmin(axis=1))
    np.testing.assert_allclose(found.square[:, 0], apart.min(axis=1), rtol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
def test_every_way_gives_the_same_bytes(kind: str) -> None:
    queries, rows = data(kind)
    ways = [searched(queries, rows, kernel, part=part, slab=slab) for kernel in KERNELS for part, slab in
            ((10**9, nearest.SLAB), (7, 1000), (64, 30_000))]  # fmt: skip
    assert len({way.square.tobytes() + way.index.tobytes() for way in ways}) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", [23, 10**9])
def test_each_label_is_searched_for_itself(kind: str, part: int) -> None:
    queries, rows = data(kind)
    labels = np.random.default_rng(1).integers(0, 4, len(rows))
    labels[:3] = (3, 0, 3)  # so that few rows have a few labels
    found = searched(queries, rows, "product", part=part, labels=labels)
    apart = brute(queries, rows)
    for label in range(int(labels.max()) + 1):
        own = np.where(labels == label, apart, np.inf)
        there = np.isfinite(own.min(axis=1))
        np.testing.assert_array_equal(found.index[there, label], own.argmin(axis=1)[there])
        assert (found.index[~there, label] == -1).all()
        np.testing.assert_allclose(found.square[:, label], own.min(axis=1), rtol=1e-13)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("part", [9, 10**9])
@pytest.mark.parametrize("labelled", [False, True])
def test_an_excluded_row_is_nobodys_neighbour(kernel: Kernel, part: int, labelled: bool) -> None:
    _, rows = data("duplicates")
    excluded, labels = np.arange(30), np.arange(len(rows)) % 3
    excluded[20:] = -1
    apart = brute(rows[:30], rows)
    apart[np.arange(20), np.arange(20)] = np.inf
    found = searched(rows[:30], rows, kernel, part=part, excluded=excluded, labels=labels if labelled else None)
    for label in range(found.index.shape[1]):
        own = np.where(labels == label, apart, np.inf) if labelled else apart
        np.testing.assert_array_equal(found.index[:, label], own.argmin(axis=1))
    alone = searched(rows[:1], rows[:1], kernel, excluded=np.array([0]))
    assert alone.index.tolist() == [[-1]] and alone.square.tolist() == [[np.inf]]


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.floats(-(2.0**50), 2.0**50, width=32), min_size=6, max_size=60),
    width=st.integers(1, 3),
    part=st.integers(1, 30),
    kernel=st.sampled_from(KERNELS),
)
def test_any_numbers(values: list[float], width: int, part: int, kernel: Kernel) -> None:
    rows = np.array(values[: len(values) // width * width], dtype=np.float32).reshape(-1, width)
    queries = np.concatenate([rows[:2], (rows[:2] + rows[-2:]) / 2])
    found = searched(queries, rows, kernel, part=part)
    np.testing.assert_array_equal(found.index[:, 0], brute(queries, rows).argmin(axis=1))


def test_the_approximate_distances_keep_their_bound() -> None:
    """The proof rests on it: seen for every pair of hard data, and not by a factor of thousands."""
    for kind in ("plain", "far", "long", "tiny", "huge"):
        queries, rows = data(kind)
        part = Part(0, rows, squares_of(rows), np.zeros(len(rows), dtype=np.int64))
        approximate = nearest._less_products(queries, part).double().numpy() + squares_of(queries)[:, None]
        search = Search(queries, kernel="product")
        slack = 2 * nearest._gamma(min(PANEL, rows.shape[1]))
        each = (search._bound(slack, np.full(len(rows), i), np.sqrt(part.squares)) for i in range(len(queries)))
        bound = np.stack(list(each))
        assert (np.abs(approximate - brute(queries, rows)) <= bound).all(), kind
        assert kind == "tiny" or (bound < 1e-2 * np.sqrt(np.outer(squares_of(queries), part.squares))).all(), kind


def test_reduced_precision_of_the_process_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    precise = torch.get_float32_matmul_precision

    queries, rows = data("near ties")
    before = searched(queries, rows, "product")
    product = torch.Tensor.__matmul__
    monkeypatch.setattr(torch.Tensor, "__matmul__", lambda x, y: seen.append(precise()) or product(x, y))
    torch.set_float32_matmul_precision("medium")
    try:
        after = searched(queries, rows, "product")
        assert precise() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert set(seen) == {"highest"}
    assert after.index.tobytes() == before.index.tobytes()


def test_faiss_is_used_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    real = nearest._knn

    def counted(queries: Floats, rows: Floats, count: int, threads: int) -> tuple[Floats, Indices]:
        calls.append(len(queries))
        return real(queries, rows, count, threads)

    monkeypatch.setattr(nearest, "_knn", counted)
    queries, rows = data("plain")
    part = Part(0, rows, squares_of(rows), np.zeros(len(rows), dtype=np.int64))
    Search(queries).add(part)
    assert calls == [30]
    monkeypatch.setattr(nearest, "find_spec", lambda name: None)
    Search(queries).add(part)
    assert calls == [30]


def test_data_that_faiss_cannot_tell_apart_goes_to_products(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    real = nearest._knn
    monkeypatch.setattr(nearest, "_knn", lambda *given: calls.append(1) or real(*given))
    queries, rows = data("constant")
    searched(queries, rows, "faiss", part=50)
    assert len(calls) == 1


def test_the_difference_is_summed_alike_however_many_rows_there_are() -> None:
    rng = np.random.default_rng(3)
    for width in (1, 7, 129, 3072):
        x, y = (rng.random((50, width), dtype=np.float32) for _ in range(2))
        whole = exact_squares(x, y)
        alone = np.concatenate([exact_squares(x[i : i + 1], y[i : i + 1]) for i in range(50)])
        assert whole.tobytes() == alone.tobytes()
        np.testing.assert_allclose(whole, ((x.astype(float) - y) ** 2).sum(axis=1), rtol=1e-14)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1e19])
@pytest.mark.parametrize("kernel", KERNELS)
def test_embeddings_that_are_not_finite_are_told(wrong: float, kernel: Kernel) -> None:
    queries, rows = data("plain")
    rows[5, 3] = wrong
    message: Any = r"the embeddings of 1 of (30|400) images are not finite, or longer than 1e\+18 \(length .* seen\)"
    with pytest.raises(NotFiniteRows, match=message):
        searched(queries, rows, kernel)
    with pytest.raises(NotFiniteRows, match=message):
        searched(rows[:30], queries, kernel)
