"""Nearest neighbours in an embedding, exactly: float32 products narrow the field, float64 differences decide.

For float32 vectors of k values, the product ``x . y`` of a matrix library is off by at most ``gamma ||x|| ||y||``, in
whatever order it sums, ``gamma = k u / (1 - k u)``, ``u = 2^-24`` (Higham, Accuracy and Stability of Numerical
Algorithms, 3.1). So ``||x||^2 + ||y||^2 - 2 x . y`` is off by a known bound e, and a row can only be the nearest if it
is nearer, less e, than another one is for certain. All these are measured again, by differences in float64. The answer
therefore is that of a search in float64 throughout, whatever narrows, however the rows come in parts.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from preimage.harness.errors import NotFiniteRows

Floats: TypeAlias = NDArray[np.float32]
Doubles: TypeAlias = NDArray[np.float64]
Indices: TypeAlias = NDArray[np.int64]
Kernel: TypeAlias = Literal["faiss", "product"]

UNIT = 2.0**-24
TINY = 2.0**-125  # a product that underflows loses less than this
LARGEST = 1e18  # of a norm: beyond it products in float32 overflow
PANEL = 4096  # values summed in float32; sums of panels are float64, so that long embeddings have a narrow bound
FIRST = 16  # neighbours that faiss is asked for; where the field has more, products narrow it
SLAB = 1 << 18  # values of differences at a time, or one row
PAIR = 128  # bytes that one query and one row of a part may take up together while the field is narrowed


class Part(NamedTuple):
    """Consecutive rows of an embedding: the first one's index, rows [m, k], ``||y||^2`` and labels [m]."""

    start: int
    rows: Floats
    squares: Doubles
    labels: Indices


def squares_of(rows: Floats) -> Doubles:
    """``||y||^2`` of each row in float64, [m]."""
    some = max(1, SLAB // max(1, rows.shape[1]))
    parts = [torch.from_numpy(rows[i : i + some]).double().square_().sum(dim=1) for i in range(0, len(rows), some)]
    found: Doubles = torch.cat(parts).numpy()
    return found


def default_kernel() -> Kernel:
    """What narrows the field: faiss where it is installed."""
    return "faiss" if find_spec("faiss") is not None else "product"


class Search:
    """The nearest row of each query, or of each query under each label, among parts that are added one by one.

    queries: [q, k]. labels: 0, or the number of labels, each searched for itself. excluded: for each query the index
    of a row that does not count, -1: none. Equally near: the lowest index. Answers: ``square`` ``||x - y||^2`` and
    ``index``, [q, max(labels, 1)]; inf and -1 where there is no row. slab: values of differences held at a time.
    """

    def __init__(
        self,
        queries: Floats,
        labels: int = 0,
        excluded: Indices | None = None,
        *,
        kernel: Kernel | None = None,
        threads: int = 1,
        slab: int = SLAB,
    ) -> None:
        shape = (len(queries), max(labels, 1))
        self.square: Doubles = np.full(shape, np.inf)
        self.index: Indices = np.full(shape, -1, dtype=np.int64)
        self._queries, self._squares = queries, squares_of(queries)
        _check_size(self._squares)
        self._labels, self._threads, self._slab = labels, threads, max(1, slab // queries.shape[1])
        self._excluded = np.full(len(queries), -1, dtype=np.int64) if excluded is None else excluded
        self._kernel: Kernel = "product" if labels else (kernel or default_kernel())  # faiss knows no labels

    def add(self, part: Part) -> None:
        """Take the rows of a part into account."""
        _check_size(part.squares)
        everyone = np.arange(len(self._queries))
        if self._kernel == "faiss":
            left = self._by_faiss(part)
            if 2 * len(left) > len(everyone):
                self._kernel = "product"  # so far from the origin, or so alike, that a coarse bound does not tell them
            everyone = left
        if len(everyone):
            self._by_products(part, everyone)

    def _by_products(self, part: Part, who: Indices) -> None:
        """Measure every row of the part that may be the nearest of these queries."""
        apart = _less_products(self._queries if len(who) == len(self._queries) else self._queries[who], part)
        mine = self._excluded[who] - part.start
        without = np.flatnonzero((mine >= 0) & (mine < len(part.rows)))
        apart[without, mine[without]] = torch.inf
        slack = 2 * _gamma(min(PANEL, part.rows.shape[1]))
        for label in range(max(self._labels, 1)):
            columns = np.flatnonzero(part.labels == label) if self._labels else np.arange(len(part.rows))
            if len(columns):
                own = apart[:, torch.from_numpy(columns)] if self._labels else apart
                query, column, value = self._field(own, who, label, slack, np.sqrt(part.squares[columns].max()))
                row = columns[column]
                stays = self._may_be_nearest(query, label, value, slack, np.sqrt(part.squares[row]))
                self._decide(part, query[stays], row[stays], label)

    def _field(
        self, apart: Tensor, who: Indices, label: int, slack: float, norm: float
    ) -> tuple[Indices, Indices, Doubles]:
        """Queries, columns and approximate distances of what the longest row's bound leaves, in two cheap passes.

        apart: the approximate ``||x - y||^2 - ||x||^2``, [len(who), columns].
        """
        bound = self._bound(slack, who, norm)
        least = apart.amin(dim=1).double().numpy()
        most = np.minimum(self.square[who, label] - self._squares[who] + bound, least + 2 * bound)
        limit = np.nextafter(most.astype(np.float32), np.float32(np.inf))  # in float32 too, lest all be converted
        query, column = (found.numpy() for found in torch.nonzero(apart <= torch.from_numpy(limit)[:, None]).T)
        value = apart[torch.from_numpy(query), torch.from_numpy(column)].double().numpy()
        counts = np.isfinite(value)  # an excluded row is infinitely far
        query, column, value = query[counts], column[counts], value[counts]
        return who[query], column, value + self._squares[who[query]]

    def _may_be_nearest(
        self, query: Indices, label: int, value: Doubles, slack: float, norms: Doubles
    ) -> NDArray[np.bool_]:
        """Which of the pairs may be nearest when each has the bound of its own row's norm."""
        bound = self._bound(slack, query, norms)
        least = self.square[:, label].copy()
        np.minimum.at(least, query, value + bound)
        stays: NDArray[np.bool_] = value - bound <= least[query]
        return stays

    def _by_faiss(self, part: Part) -> Indices:
        """Measure the rows that faiss finds nearest; returns the queries for which others may be as near."""
        count = min(FIRST, len(part.rows))
        near, where = _knn(self._queries, part.rows, count, self._threads)
        far, norm = near.astype(np.float64), np.sqrt(part.squares.max())
        everyone, slack = np.arange(len(far)), 2 * _gamma(part.rows.shape[1] + 4)
        bound = self._bound(slack, everyone, norm) + slack * (self._squares + norm**2)  # its norms are float32 as well
        counts = (where >= 0) & (part.start + where != self._excluded[:, None])
        sure = np.where(counts, far + bound[:, None], np.inf).min(axis=1)
        least = np.minimum(sure, self.square[:, 0])
        whole = (where >= 0).all(axis=1) & ((far[:, -1] - bound > least) | (count == len(part.rows)))
        query, place = np.nonzero(counts & (far - bound[:, None] <= least[:, None]) & whole[:, None])
        self._decide(part, query, where[query, place], 0)
        return np.flatnonzero(~whole)

    def _bound(self, slack: float, who: Indices, norm: float | Doubles) -> Doubles:
        """How far the approximate ``||x - y||^2`` of these queries and rows of such a norm may be off.

        The product's error, twice; the two float32 sums after it; and what float64 rounds in the exact distance.
        """
        own, width = np.sqrt(self._squares[who]), self._queries.shape[1]
        sums = 4 * UNIT * norm * (norm + 2 * own) + 8 * width * 2.0**-53 * (norm + own) ** 2
        bound: Doubles = 1.001 * (slack * own * norm + sums) + 4 * width * TINY
        return bound

    def _decide(self, part: Part, query: Indices, row: Indices, label: int) -> None:
        """Measure the pairs of queries and rows exactly; keep those that are nearer than what was found before."""
        for start in range(0, len(query), self._slab):
            who, near = query[start : start + self._slab], row[start : start + self._slab]
            square = exact_squares(self._queries[who], part.rows[near])
            order = np.lexsort((near, square, who))
            order = order[np.flatnonzero(np.diff(who[order], prepend=-1))]  # the first of each query
            who, near, square = who[order], near[order] + part.start, square[order]
            old, at = self.square[who, label], self.index[who, label]
            better = (square < old) | ((square == old) & (near < at)) | (at < 0)
            self.square[who[better], label], self.index[who[better], label] = square[better], near[better]


def exact_squares(x: Floats, y: Floats) -> Doubles:
    """``||x_i - y_i||^2`` from differences in float64, [n]; each row is summed the same way whatever n is."""
    difference = x.astype(np.float64)
    difference -= y
    np.square(difference, out=difference)
    found: Doubles = difference.sum(axis=1)
    return found


def _check_size(squares: Doubles) -> None:
    wrong = ~(squares <= LARGEST**2)
    if wrong.any():
        raise NotFiniteRows(
            f"the embeddings of {int(wrong.sum())} of {len(squares)} images are not finite, or longer than "
            f"{LARGEST:.0e} (length {np.sqrt(squares[wrong][0]):.3g} seen), so that no nearest can be found. "
            "Correct `embed` of the distance"
        )


def _gamma(terms: int) -> float:
    """The relative error of a float32 sum of so many products, in any order."""
    return terms * UNIT / (1 - terms * UNIT) if terms * UNIT < 0.5 else 1e9


def _less_products(queries: Floats, part: Part) -> Tensor:
    """``||y||^2 - 2 x . y`` [q, m]: in float32 where rows are short, else summed over panels in float64."""
    x, y = torch.from_numpy(queries), torch.from_numpy(part.rows)
    squares, width = torch.from_numpy(part.squares), queries.shape[1]
    with _full_precision():
        if width <= PANEL:
            return (x @ y.T).mul_(-2).add_(squares.float())
        products = torch.zeros(len(x), len(y), dtype=torch.float64)
        for start in range(0, width, PANEL):
            products += x[:, start : start + PANEL] @ y[:, start : start + PANEL].T
    return products.mul_(-2).add_(squares)


@contextmanager
def _full_precision() -> Iterator[None]:
    """float32 products in float32, whatever the process is set to."""
    before = torch.get_float32_matmul_precision()
    if before == "highest":
        yield
        return
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _knn(queries: Floats, rows: Floats, count: int, threads: int) -> tuple[Floats, Indices]:
    """faiss's brute force: approximate ``||x - y||^2`` of the nearest rows, nearest first, and their places."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what its generated bindings say of themselves
        import faiss
    faiss.omp_set_num_threads(threads)
    near, where = faiss.knn(queries, rows, count)
    return near, where
