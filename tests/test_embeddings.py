"""Embeddings in memory, in files or computed again: the same rows, within the limits, safe among processes."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from preimage.harness.embedding_files import EmbeddingFile, EmbeddingFolder, Numbers
from preimage.harness.embeddings import Embedded, Filed, Held, Passing, Source, embedded, room_for
from preimage.harness.errors import DatasetError, UsageError
from preimage.harness.limits import Limits, parse_bytes, readable
from preimage.harness.nearest import Floats, Indices

WIDTH, COUNT, BATCH = 100, 230, 32
ROWS = np.random.default_rng(0).random((COUNT, WIDTH), dtype=np.float32)
LABELS = np.arange(COUNT) % 7
SIZE = COUNT * (4 * WIDTH + 16)
SMALL, LARGE = 120_000, 10**7  # bytes of memory: of which the rows fit into half, or not


def source(*, cheap: bool = False, rows: Floats = ROWS, name: str = "", seen: list[range] | None = None) -> Source:
    """A source of known rows; ``seen`` is told what was embedded."""

    def embed(indices: range) -> tuple[Floats, Indices]:
        if seen is not None:
            seen.append(indices)
        return rows[indices.start : indices.stop].copy(), LABELS[indices.start : indices.stop]

    return Source(len(rows), BATCH, embed, {"name": name}, cheap, "230 images of a test")


def gone_through(found: Embedded) -> None:
    """Two passes give all rows in order, parts as small as the room says, and then the labels."""
    for _ in range(2):
        at = 0
        for part in found.parts():
            assert part.start == at and 1 <= len(part.rows) <= found.room.part
            at += len(part.rows)
            np.testing.assert_array_equal(part.rows, ROWS[part.start : at])
            np.testing.assert_array_equal(part.labels, LABELS[part.start : at])
            np.testing.assert_allclose(part.squares, (ROWS[part.start : at].astype(float) ** 2).sum(1))
        assert at == COUNT
    np.testing.assert_array_equal(found.labels, LABELS)


def files(folder: Path, allowed: int = 10**9) -> EmbeddingFolder:
    return EmbeddingFolder(folder / "embeddings", allowed)


def names(folder: Path) -> list[str]:
    """The embedding files of a folder, those being written included."""
    return sorted(path.name for path in (folder / "embeddings").glob("*") if path.name != ".lock")


def silent(line: str) -> None:
    raise AssertionError(line)


@pytest.mark.parametrize(
    ("cheap", "memory", "allowed", "kind", "kept"),
    [
        (True, LARGE, 10**9, Held, 0),
        (True, SMALL, 10**9, Filed, 1),
        (False, LARGE, 10**9, Held, 1),
        (False, SMALL, 10**9, Filed, 1),
        (False, LARGE, 0, Held, 0),
    ],
)
def test_where_rows_are_kept(tmp_path: Path, cheap: bool, memory: int, allowed: int, kind: type, kept: int) -> None:
    found = embedded(source(cheap=cheap), memory, files(tmp_path, allowed), 8, silent)
    assert isinstance(found, kind)
    gone_through(found)
    assert len(names(tmp_path)) == kept if kept else not (tmp_path / "embeddings").exists()


@pytest.mark.parametrize("memory", [SMALL, 85_000])
def test_rows_without_a_place_are_computed_again_and_that_is_said_once(tmp_path: Path, memory: int) -> None:
    said: list[str] = []
    seen: list[range] = []
    found = embedded(source(cheap=True, seen=seen), memory, files(tmp_path, SIZE - 1), 8, said.append)
    assert isinstance(found, Passing)
    seen.clear()
    gone_through(found)
    assert len(seen) == 2 * -(-COUNT // BATCH)
    (line,) = said
    assert "embeddings of 230 images of a test (94KiB) fit neither into half of --memory" in line
    assert "of disk would be needed, --cache allows" in line and "Give more --memory or --cache" in line


def test_parts_smaller_than_a_batch(tmp_path: Path) -> None:
    least = next(m for m in range(10_000, 10**6, 500) if not _too_little(m))
    assert room_for(least, source(), WIDTH, 8).part < BATCH
    gone_through(embedded(source(), least, files(tmp_path, 0), 8, lambda line: None))
    gone_through(embedded(source(), least, files(tmp_path), 8, silent))


def _too_little(memory: int) -> bool:
    try:
        room_for(memory, source(), WIDTH, 8)
    except UsageError:
        return True
    return False


def test_the_next_process_reads_what_one_wrote(tmp_path: Path) -> None:
    seen: list[range] = []
    for memory in (SMALL, SMALL, LARGE):
        gone_through(embedded(source(seen=seen), memory, files(tmp_path), 8, silent))
    assert len(seen) == -(-COUNT // BATCH) + 2, "each process looks at the first batch, the first one at all"
    assert len(names(tmp_path)) == 1


def test_other_rows_are_another_file(tmp_path: Path) -> None:
    """Also where nothing but what comes out tells: a distance of a plug-in that was edited."""
    changed = ROWS.copy()
    changed[3, 3] = np.nextafter(changed[3, 3], np.float32(1))
    for one in (source(), source(name="other"), source(rows=changed), source(rows=ROWS[:-1])):
        embedded(one, SMALL, files(tmp_path), 8, silent)
    assert len(names(tmp_path)) == 4


@pytest.mark.parametrize("count", [1, 31, 32, 33, 230])
@pytest.mark.parametrize("queries", [1, 64])
def test_the_room_is_never_more_than_the_memory(count: int, queries: int) -> None:
    few, used = source(rows=ROWS[:count]), 0
    for memory in range(20_000, 400_000, 3_001):
        try:
            room = room_for(memory, few, WIDTH, queries)
        except UsageError:
            assert not used, "more memory is never too little"
            continue
        row, pairs = 4 * WIDTH, 128 * queries
        used = 8 * WIDTH * (queries + BATCH) + 16 * max(room.slab, WIDTH) + 16 * count
        used += row * count + pairs * room.part if room.holds else (row + pairs) * room.part
        assert used <= memory
        assert not room.holds or row * count <= memory / 2


def test_memory_for_no_row_is_an_error_that_says_enough() -> None:
    for memory in (1, 1000, 30_000):
        with pytest.raises(UsageError) as error:
            room_for(memory, source(), WIDTH, 8)
        typed = str(error.value).split("Type --memory ")[1].split(" or more")[0]
        assert not _too_little(parse_bytes(typed, "--memory"))
        assert _too_little(parse_bytes(typed, "--memory") * 9 // 10)
    with pytest.raises(UsageError) as error:
        room_for(1000, source(), WIDTH, 8)
    said = str(error.value)
    assert "--memory 1000B is too little to search neighbours among 230 images of a test" in said
    assert "an embedding has 100 values, and 8 images, 32 training images at a time" in said


def test_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    paths = {}
    for name in ("a", "b", "c"):
        folder = files(tmp_path, 3 * SIZE + 10)
        before = set(names(tmp_path)) if (tmp_path / "embeddings").exists() else set()
        embedded(source(name=name), SMALL, folder, 8, silent)
        (new,) = set(names(tmp_path)) - before
        paths[name] = new
        folder.close()
        os.utime(tmp_path / "embeddings" / new, ns=(10**9 * len(paths),) * 2)
    mine = tmp_path / "embeddings" / "notes.txt"
    mine.write_text("not an embedding, old", encoding="utf-8")
    os.utime(mine, ns=(0, 0))
    again, more = files(tmp_path, 3 * SIZE + 10), files(tmp_path, 3 * SIZE + 10)
    embedded(source(name="a"), SMALL, again, 8, silent)  # which is then the last that was used
    again.close()
    embedded(source(name="d"), SMALL, more, 8, silent)
    left = set(names(tmp_path))
    assert paths["b"] not in left and {paths["a"], paths["c"], "notes.txt"} < left and len(left) == 4


def test_what_is_in_use_is_not_deleted_and_nothing_is_where_that_does_not_help(tmp_path: Path) -> None:
    using, idle = files(tmp_path, 2 * SIZE), files(tmp_path, 2 * SIZE)
    first = embedded(source(name="a"), SMALL, using, 8, silent)
    embedded(source(name="b"), SMALL, idle, 8, silent)
    idle.close()
    before, said = names(tmp_path), list[str]()
    twice = np.concatenate([ROWS, ROWS])[: COUNT + 1]
    long = Source(COUNT + 1, BATCH, lambda i: (twice[i.start : i.stop], np.zeros(len(i), np.int64)), {}, True, "long")
    found = embedded(long, SMALL, files(tmp_path, 2 * SIZE), 8, said.append)
    assert isinstance(found, Passing) and "left beside files that are in use" in said[0]
    assert names(tmp_path) == before
    embedded(source(name="c"), SMALL, files(tmp_path, 2 * SIZE), 8, silent)
    assert len(set(names(tmp_path)) & set(before)) == 1, "b went, a is in use"
    gone_through(first)


def test_a_file_of_this_run_is_opened_once(tmp_path: Path) -> None:
    folder, chunks = files(tmp_path), lambda: iter([ROWS])
    first = folder.get("a" * 40, ROWS.nbytes, chunks)
    assert isinstance(first, EmbeddingFile) and folder.get("a" * 40, ROWS.nbytes, chunks) is first


def test_a_file_of_another_length_is_written_again(tmp_path: Path) -> None:
    embedded(source(), SMALL, files(tmp_path), 8, silent)
    (name,) = names(tmp_path)
    (tmp_path / "embeddings" / name).write_bytes(b"short")
    seen: list[range] = []
    gone_through(embedded(source(seen=seen), SMALL, files(tmp_path), 8, silent))
    assert len(seen) > 1


def test_a_file_that_is_cut_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    found = embedded(source(), SMALL, files(tmp_path), 8, silent)
    (name,) = names(tmp_path)
    with (tmp_path / "embeddings" / name).open("r+b") as opened:
        opened.truncate(1000)
    with pytest.raises(DatasetError, match=r"was cut short by another program. Delete it: it is made again"):
        list(found.parts())


@pytest.mark.parametrize("fault", ["a file in its place", "read-only", "disk full", "no space left"])
def test_a_folder_that_cannot_be_used_costs_time_only(
    tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "embeddings"
    if fault == "a file in its place":
        folder.write_text("", encoding="utf-8")
    elif fault == "read-only":
        if os.geteuid() == 0:
            pytest.skip("root may write anywhere")
        folder.mkdir(mode=0o500)
    elif fault == "disk full":
        monkeypatch.setattr("shutil.disk_usage", lambda path: _Free())
    else:

        def full(fd: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
    said: list[str] = []
    gone_through(embedded(source(), SMALL, files(tmp_path), 8, said.append))
    assert len(said) == 1
    assert ("fewer are free" if fault == "disk full" else "cannot be used: ") in said[0]
    assert not list(tmp_path.glob("embeddings/*s"))


class _Free:
    free = 10


def test_errors_of_the_source_leave_nothing(tmp_path: Path) -> None:
    def broken(indices: range) -> tuple[Floats, Indices]:
        if indices.start:
            raise DatasetError("gone")
        return ROWS[:BATCH], LABELS[:BATCH]

    with pytest.raises(DatasetError, match="gone"):
        embedded(Source(COUNT, BATCH, broken, {}, False, "x"), SMALL, files(tmp_path), 8, silent)
    assert names(tmp_path) == []


SLOW = """
import sys, time
from pathlib import Path
import numpy as np
from preimage.harness.embedding_files import EmbeddingFolder

def slow():
    yield np.zeros(10_000, np.float32)
    print("ready", flush=True)
    time.sleep(60)

EmbeddingFolder(Path(sys.argv[1]) / "embeddings", 10**9).get("a" * 40, int(sys.argv[2]), slow)
"""
FAST = """
import sys
from pathlib import Path
from tests.test_embeddings import SMALL, embedded, files, gone_through, source

seen = []
print("ready", flush=True)
sys.stdin.readline()
gone_through(embedded(source(seen=seen), SMALL, files(Path(sys.argv[1])), 8, print))
print(len(seen))
"""


def process(folder: Path, program: str) -> subprocess.Popen[str]:
    """Another process that writes embeddings into the folder; it is ready when its first line comes."""
    return subprocess.Popen(
        [sys.executable, "-c", program, str(folder), str(ROWS.nbytes)],
        cwd=Path(__file__).resolve().parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def ready(started: subprocess.Popen[str]) -> None:
    """Wait for the process to begin."""
    assert started.stdout is not None
    assert started.stdout.readline() == "ready\n"


def test_processes_that_want_the_same_file_write_it_once(tmp_path: Path) -> None:
    started = [process(tmp_path, FAST) for _ in range(2)]
    for one in started:
        ready(one)
    for one in started:
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
    told = [one.communicate()[0] for one in started]
    assert [one.returncode for one in started] == [0, 0]
    assert sorted(int(text) for text in told) == [1, 8], "one embedded all, the other the first batch"
    assert len(names(tmp_path)) == 1


def test_a_writer_that_is_killed_leaves_nothing_that_is_trusted(tmp_path: Path) -> None:
    writer = process(tmp_path, SLOW)
    ready(writer)
    (part,) = (tmp_path / "embeddings").glob(".*.part")
    assert part.stat().st_size == ROWS.nbytes, "so that others count it"
    folder = files(tmp_path, 2 * ROWS.nbytes - 1)
    assert "in use" in str(folder.get("b" * 40, ROWS.nbytes, lambda: iter([ROWS])))
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    assert isinstance(folder.get("b" * 40, ROWS.nbytes, lambda: iter([ROWS])), EmbeddingFile)
    assert names(tmp_path) == ["b" * 40 + ".rows"], "the half-written one went"


def test_one_waits_for_another_that_writes_and_writes_itself_when_that_is_killed(tmp_path: Path) -> None:
    writer = process(tmp_path, SLOW)
    ready(writer)
    began = time.monotonic()
    watch = subprocess.Popen(["/bin/sh", "-c", f"sleep 0.5; kill -9 {writer.pid}"])
    calls: list[float] = []

    def chunks() -> Iterator[Numbers]:
        calls.append(time.monotonic() - began)
        yield ROWS

    found = files(tmp_path).get("a" * 40, ROWS.nbytes, chunks)
    writer.communicate()
    watch.wait()
    assert isinstance(found, EmbeddingFile)
    assert len(calls) == 1 and calls[0] > 0.4
    into = np.empty_like(ROWS)
    found.read(into, 0)
    np.testing.assert_array_equal(into, ROWS)


def test_a_file_in_use_is_locked(tmp_path: Path) -> None:
    folder = files(tmp_path)
    embedded(source(), SMALL, folder, 8, silent)
    (name,) = names(tmp_path)

    def locked() -> bool:
        with (tmp_path / "embeddings" / name).open("rb") as opened:
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return True
        return False

    assert locked()
    folder.close()
    assert not locked()


@pytest.mark.parametrize(
    ("text", "size"),
    [("2GiB", 2 << 30), ("512MiB", 512 << 20), ("2GB", 2 * 10**9), ("1.5 kib", 1536), ("12345", 12345), ("7B", 7),
     ("0", 0)],
)  # fmt: skip
def test_sizes(text: str, size: int) -> None:
    assert parse_bytes(text, "--cache") == size


@pytest.mark.parametrize("text", ["", "much", "2Gi", "-1", "GiB", "1e9", "2 GiB GiB", "nan"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError, match=r"--cache '.*' is no size; type 0, plain bytes, or e\.g\. --cache 2GiB"):
        parse_bytes(text, "--cache")


def test_no_memory_at_all_is_no_size() -> None:
    with pytest.raises(UsageError, match="--memory '0' is no size; type plain bytes"):
        parse_bytes("0", "--memory", least=1)


@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 10**6, 2 << 30, (2 << 30) + 1, 10**12])
def test_a_readable_size_is_never_less(size: int) -> None:
    assert size <= parse_bytes(readable(size), "--cache") <= 1.1 * size


def test_the_default_folder_is_in_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Limits().embeddings == tmp_path / ".cache" / "preimage" / "embeddings"
    assert (Limits().memory, Limits().cache) == (2 << 30, 10 << 30)
