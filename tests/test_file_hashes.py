"""Hashes of files: right, remembered, forgotten when the file changes, and never in the way."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from preimage.harness import file_hashes
from preimage.harness.errors import DatasetError
from preimage.harness.file_hashes import default_cache, hash_file, hash_files


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files whose content was read, as it happens."""
    seen: list[str] = []
    digest = hashlib.file_digest

    def watched(file, name):  # type: ignore[no-untyped-def]  # a stand-in for the library's function
        seen.append(Path(file.name).name)
        return digest(file, name)

    monkeypatch.setattr(hashlib, "file_digest", watched)
    return seen


def write(path: Path, content: bytes, when: float = 1e9) -> Path:
    path.write_bytes(content)
    os.utime(path, (when, when))
    return path


def test_sizes_and_hashes_in_order(tmp_path: Path) -> None:
    files = [write(tmp_path / str(k), b"x" * k) for k in (3, 0, 2)]
    expected = [(k, hashlib.sha256(b"x" * k).hexdigest()) for k in (3, 0, 2)]
    assert list(hash_files(files, tmp_path / "cache")) == expected
    assert list(hash_files(files, tmp_path / "cache")) == expected
    assert hash_file(files[0], tmp_path / "cache") == expected[0][1]


def test_a_hash_is_remembered(tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "a", b"x")
    hash_file(file, tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    hash_file(Path("a"), tmp_path / "cache")
    assert reads == ["a"]
    hash_file(file, tmp_path / "other")
    assert reads == ["a", "a"]


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    contents = [(b"x", 1e9), (b"y", 1e9), (b"y", 1e9 + 1), (b"yy", 1e9 + 1)]  # the second keeps size and time
    for content, when in contents:
        file = write(tmp_path / "a", content, when)
        assert hash_file(file, tmp_path / "cache") == hashlib.sha256(content).hexdigest()
        time.sleep(0.02)  # file systems tell changes apart that are some milliseconds apart


def test_a_file_just_written_is_not_remembered(tmp_path: Path, reads: list[str]) -> None:
    file = write(tmp_path / "a", b"x", time.time())
    hash_file(file, tmp_path / "cache")
    hash_file(file, tmp_path / "cache")
    assert reads == ["a", "a"]


def test_a_file_that_is_written_while_it_is_read_is_not_remembered(
    tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "a", b"x")
    digest = hashlib.file_digest

    def slow(opened, name):  # type: ignore[no-untyped-def]  # a stand-in for the library's function
        result = digest(opened, name)
        write(file, b"xx")
        return result

    with monkeypatch.context() as patched:
        patched.setattr(hashlib, "file_digest", slow)
        hash_file(file, tmp_path / "cache")
    assert hash_file(file, tmp_path / "cache") == hashlib.sha256(b"xx").hexdigest()
    assert reads == ["a", "a"]


def test_an_interrupted_run_keeps_what_it_has(
    tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_hashes, "FLUSH", 2)
    files = [write(tmp_path / str(k), b"x") for k in range(5)]
    hashes = hash_files(files, tmp_path / "cache")
    for _ in range(3):
        next(hashes)
    with closing(sqlite3.connect(tmp_path / "cache" / "fingerprints.db")) as connection:
        assert connection.execute("SELECT count(*) FROM file").fetchone() == (2,)
    hashes.close()  # type: ignore[attr-defined]  # it is a generator
    list(hash_files(files, tmp_path / "cache"))
    assert reads == ["0", "1", "2", "3", "4"]


def test_a_missing_file_is_named_and_the_others_are_kept(tmp_path: Path, reads: list[str]) -> None:
    files = [write(tmp_path / "a", b"x"), tmp_path / "none"]
    with pytest.raises(DatasetError, match=r"cannot read '.*none': No such file"):
        list(hash_files(files, tmp_path / "cache"))
    hash_file(files[0], tmp_path / "cache")
    assert reads == ["a"]


@pytest.mark.parametrize("broken", ["a file", "no database", "another table"])
def test_a_cache_that_cannot_be_used_is_done_without(tmp_path: Path, reads: list[str], broken: str) -> None:
    cache = tmp_path / "cache"
    if broken == "a file":
        cache.write_text("no folder")
    else:
        cache.mkdir()
        if broken == "no database":
            (cache / "fingerprints.db").write_bytes(b"no database at all" * 100)
        else:
            with closing(sqlite3.connect(cache / "fingerprints.db")) as connection:
                connection.execute("CREATE TABLE file (other TEXT)")
    file = write(tmp_path / "a", b"x")
    for _ in range(2):
        assert hash_file(file, cache) == hashlib.sha256(b"x").hexdigest()
    assert reads == ["a", "a"]


def test_names_that_are_no_text(tmp_path: Path, reads: list[str]) -> None:
    file = tmp_path / os.fsdecode(b"caf\xe9")  # latin-1 on a system of UTF-8
    try:
        write(file, b"x")
    except OSError:
        pytest.skip("this file system takes text alone")
    hash_file(file, tmp_path / "cache")
    hash_file(file, tmp_path / "cache")
    assert len(reads) == 1


def test_many_processes_may_share_a_cache(tmp_path: Path) -> None:
    files = [write(tmp_path / str(k), bytes([k])) for k in range(20)]
    expected = [(1, hashlib.sha256(bytes([k])).hexdigest()) for k in range(20)]
    with ThreadPoolExecutor(6) as pool:
        seen = list(pool.map(lambda _: list(hash_files(files, tmp_path / "cache")), range(6)))
    assert seen == [expected] * 6
    with closing(sqlite3.connect(tmp_path / "cache" / "fingerprints.db")) as connection:
        assert connection.execute("SELECT count(*) FROM file").fetchone() == (20,)


def test_the_usual_cache_is_the_user_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert default_cache() == tmp_path / ".cache" / "preimage"
