"""The embedded training images of a search: in memory, in a file, or computed again, as the limits allow.

Where they lie changes no number: they are always embedded in the same batches, which depend on the images' size alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import numpy as np
import torch

from preimage.harness.cards import ImageSpec
from preimage.harness.embedding_files import EmbeddingFile, EmbeddingFolder, Numbers
from preimage.harness.errors import UsageError
from preimage.harness.limits import readable
from preimage.harness.nearest import PAIR, SLAB, Doubles, Floats, Indices, Part, squares_of

FORMAT = 1  # of the files; raised when they are laid out otherwise
PART = 128 << 20  # bytes of a part beyond which nothing is gained
BESIDE = 16  # bytes per row of its square and its label


def batch_size(image: ImageSpec) -> int:
    """How many images are embedded at once: fewer of large ones."""
    return max(1, min(32, (1 << 20) // (image.channels * image.height * image.width)))


@dataclass(frozen=True)
class Source:
    """Images 0 to count - 1 and how they are embedded.

    embed: indices to rows [n, k] and labels [n]. named: all that the rows depend on, as plain data. cheap: computing
    them takes no longer than reading them. what: the images and the distance, in words.
    """

    count: int
    batch: int
    embed: Callable[[range], tuple[Floats, Indices]]
    named: dict[str, object]
    cheap: bool
    what: str

    def batches(self, first: Part | None = None) -> Iterator[Part]:
        """All images, batch by batch; the first, where it is known, is not embedded again."""
        for start in range(0, self.count, self.batch):
            if start == 0 and first is not None:
                yield first
                continue
            rows, labels = self.embed(range(start, min(start + self.batch, self.count)))
            yield Part(start, rows, squares_of(rows), labels)


@dataclass(frozen=True)
class Room:
    """How memory is shared out: whether all rows are held, how many a part has, values of differences at a time."""

    holds: bool
    part: int
    slab: int


def room_for(memory: int, source: Source, width: int, queries: int) -> Room:
    """How to search with so many bytes. Raises UsageError that says what is needed where they are too few."""
    slab = max(width, min(SLAB, memory >> 8))
    fixed = 8 * width * (queries + source.batch) + 16 * slab + BESIDE * source.count
    each = 4 * width + PAIR * queries
    if memory < fixed + each:
        rest = fixed - 16 * slab + each
        least = rest + max(16 * width, rest // 15 + 256)  # with more memory, more differences are held
        raise UsageError(
            f"--memory {readable(memory)} is too little to search neighbours among {source.what}: an embedding has "
            f"{width:,} values, and {queries} images, {source.batch} training images at a time and their distances "
            f"take {readable(least)}. Type --memory {readable(least)} or more"
        )
    whole = 4 * width * source.count
    holds = whole <= memory // 2 and whole + fixed + each <= memory
    spare = min(PART, memory - fixed - (whole if holds else 0))
    return Room(holds, max(1, min(source.count, spare // (PAIR * queries if holds else each))), slab)


class Embedded(Protocol):
    """Rows of an embedding, to be gone through any number of times. ``labels`` are known after the first."""

    @property
    def labels(self) -> Indices: ...
    @property
    def room(self) -> Room: ...

    def parts(self) -> Iterator[Part]:
        """All rows in order; a part's arrays are valid until the next is asked for."""
        ...


@dataclass(frozen=True)
class Held:
    """All rows in memory."""

    rows: Floats
    squares: Doubles
    labels: Indices
    room: Room

    def parts(self) -> Iterator[Part]:
        for start in range(0, len(self.rows), self.room.part):
            here = slice(start, start + self.room.part)
            yield Part(start, self.rows[here], self.squares[here], self.labels[here])


@dataclass(frozen=True)
class Filed:
    """Rows in a file, read part by part: mapped memory would stay with the process."""

    file: EmbeddingFile
    width: int
    squares: Doubles
    labels: Indices
    room: Room

    def parts(self) -> Iterator[Part]:
        buffer = np.empty((self.room.part, self.width), dtype=np.float32)
        for start in range(0, len(self.labels), self.room.part):
            here = slice(start, start + self.room.part)
            rows = buffer[: len(self.labels[here])]
            self.file.read(rows, 4 * self.width * start)
            yield Part(start, rows, self.squares[here], self.labels[here])


@dataclass(frozen=True)
class Passing:
    """Rows that are computed again whenever they are gone through."""

    source: Source
    width: int
    labels: Indices
    room: Room
    squares: Doubles = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "squares", np.zeros(self.source.count))

    def parts(self) -> Iterator[Part]:
        several = self.room.part // self.source.batch * self.source.batch
        buffer = np.empty((several, self.width), dtype=np.float32)
        filled = 0
        for batch in self.source.batches():
            stop = batch.start + len(batch.rows)
            self.squares[batch.start : stop], self.labels[batch.start : stop] = batch.squares, batch.labels
            if not several:
                yield from _split(batch, self.room.part)
                continue
            buffer[filled : filled + len(batch.rows)] = batch.rows
            filled += len(batch.rows)
            if filled == several or stop == self.source.count:
                here = slice(stop - filled, stop)
                yield Part(here.start, buffer[:filled], self.squares[here], self.labels[here])
                filled = 0


def _split(part: Part, most: int) -> Iterator[Part]:
    for start in range(0, len(part.rows), most):
        here = slice(start, start + most)
        yield Part(part.start + start, part.rows[here], part.squares[here], part.labels[here])


Say: TypeAlias = Callable[[str], None]


def embedded(source: Source, memory: int, files: EmbeddingFolder, queries: int, say: Say) -> Embedded:
    """The rows of a source, for searches with so many queries at once, where the limits have a place for them.

    In memory where they fit in half of it; what is not cheap is in a file besides, for the next process. Where they
    fit neither in memory nor on disk they are computed again for every search, and ``say`` is told so.
    """
    first = next(source.batches())
    width = first.rows.shape[1]
    room = room_for(memory, source, width, queries)
    if source.cheap and room.holds:
        return _gathered(source, first, room)
    size = source.count * (4 * width + BESIDE)
    file = files.get(_key(source, first), size, lambda: _laid_out(source, first))
    if isinstance(file, EmbeddingFile):
        return _from_file(file, source.count, width, room)
    if room.holds:
        return _gathered(source, first, room)
    say(
        f"embeddings of {source.what} ({readable(size)}) fit neither into half of --memory {readable(memory)} nor on "
        f"disk ({file}): they are computed again for every block of {queries} images. "
        "Give more --memory or --cache to compute them once"
    )
    return Passing(source, width, np.full(source.count, -1, dtype=np.int64), room)


def _key(source: Source, first: Part) -> str:
    """The name of what the rows are: of all that they depend on, and of what the first of them are in this process."""
    said = {**source.named, "format": FORMAT, "count": source.count, "batch": source.batch, "torch": torch.__version__}
    seen = hashlib.sha256(np.ascontiguousarray(first.rows).data).hexdigest()
    text = json.dumps({**said, "width": first.rows.shape[1], "first": seen}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def _gathered(source: Source, first: Part, room: Room) -> Held:
    rows = np.empty((source.count, first.rows.shape[1]), dtype=np.float32)
    squares, labels = np.empty(source.count), np.empty(source.count, dtype=np.int64)
    for part in source.batches(first):
        here = slice(part.start, part.start + len(part.rows))
        rows[here], squares[here], labels[here] = part.rows, part.squares, part.labels
    return Held(rows, squares, labels, room)


def _laid_out(source: Source, first: Part) -> Iterator[Numbers]:
    """What a file holds: all rows, then their squares, then their labels."""
    squares, labels = np.empty(source.count), np.empty(source.count, dtype=np.int64)
    for part in source.batches(first):
        here = slice(part.start, part.start + len(part.rows))
        squares[here], labels[here] = part.squares, part.labels
        yield np.ascontiguousarray(part.rows)
    yield squares
    yield labels


def _from_file(file: EmbeddingFile, count: int, width: int, room: Room) -> Held | Filed:
    squares, labels = np.empty(count), np.empty(count, dtype=np.int64)
    file.read(squares, 4 * width * count)
    file.read(labels, (4 * width + 8) * count)
    if not room.holds:
        return Filed(file, width, squares, labels, room)
    rows = np.empty((count, width), dtype=np.float32)
    file.read(rows, 0)
    return Held(rows, squares, labels, room)
