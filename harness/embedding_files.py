"""Files of embeddings in the cache folder: written once, whole or not at all, the least recently used deleted first.

Any number of processes may use the folder at once. A file in use holds a shared lock, one being written an exclusive
one, so that nobody deletes them; the system drops locks when a process ends, however it does.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from preimage.harness.errors import DatasetError
from preimage.harness.limits import readable

if sys.platform != "win32":
    import fcntl

_OURS = re.compile(r"[0-9a-f]{40}\.rows|\.[0-9a-f]{40}\.part")
_POLL = 0.1  # seconds between looks whether another process has finished a file

Numbers: TypeAlias = NDArray[np.float32] | NDArray[np.float64] | NDArray[np.int64]


class EmbeddingFile:
    """An open embedding file; as long as it is, nobody deletes it."""

    def __init__(self, path: Path, stream: IO[bytes]) -> None:
        self.path, self._stream = path, stream
        self.close = weakref.finalize(self, stream.close)

    def read(self, into: Numbers, offset: int) -> None:
        """Fill an array with what lies from that byte on. Raises DatasetError where the file was cut meanwhile."""
        self._stream.seek(offset)
        view = into.data.cast("B")
        while len(view):
            count = self._stream.readinto(view)  # type: ignore[attr-defined]  # which a file opened for bytes has
            if not count:
                raise DatasetError(f"{str(self.path)!r} was cut short by another program. Delete it: it is made again")
            view = view[count:]


class EmbeddingFolder:
    """The embedding files of a folder, at most ``allowed`` bytes of them. What it gives out stays open as it does."""

    def __init__(self, folder: Path, allowed: int) -> None:
        self.folder, self.allowed = folder, allowed
        self._open: dict[str, EmbeddingFile] = {}

    def get(self, key: str, size: int, chunks: Callable[[], Iterator[Numbers]]) -> EmbeddingFile | str:
        """The file of that key (40 hexadecimal digits) and size in bytes, or why there can be none.

        It is written from ``chunks()`` where it is not there; where another process is writing it, that is waited for.
        """
        if key in self._open:
            return self._open[key]
        if size > self.allowed:
            return f"{readable(size)} of disk would be needed, --cache allows {readable(self.allowed)}"
        if sys.platform == "win32":
            return "this system has no file locks that are known here"
        try:
            found = self._found_or_begun(key, size)
        except OSError as error:
            return self._unusable(error)
        if isinstance(found, str):
            return found
        if not isinstance(found, EmbeddingFile):
            try:
                why = self._write(found, size, chunks)
                if why:
                    return why
                os.utime(found.fileno())
                Path(found.name).replace(self._path(key))
                fcntl.flock(found, fcntl.LOCK_SH)
                found = EmbeddingFile(self._path(key), found)
            finally:
                if not isinstance(found, EmbeddingFile):
                    Path(found.name).unlink(missing_ok=True)
                    found.close()
        self._open[key] = found
        return found

    def close(self) -> None:
        """Close every file; they may be deleted from now on."""
        for file in self._open.values():
            file.close()
        self._open.clear()

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.rows"

    def _unusable(self, error: OSError) -> str:
        return f"the cache folder {str(self.folder)!r} cannot be used: {error.strerror or error}"

    def _found_or_begun(self, key: str, size: int) -> EmbeddingFile | IO[bytes] | str:
        """The file, or a new one of the full length to be written, locked; or why there is no room."""
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.folder / f".{key}.part"
        while True:
            with self._alone():
                found = self._existing(key, size)
                if found is not None:
                    return found
                if not _in_use(part):
                    part.unlink(missing_ok=True)  # its writer was killed
                    why = self._make_room(size)
                    return why or self._begin(part, size)
            time.sleep(_POLL)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """While no other process looks for room in the folder."""
        with (self.folder / ".lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _existing(self, key: str, size: int) -> EmbeddingFile | None:
        try:
            stream = self._path(key).open("rb")
        except FileNotFoundError:
            return None
        if os.fstat(stream.fileno()).st_size != size:
            stream.close()
            return None
        fcntl.flock(stream, fcntl.LOCK_SH)
        with suppress(OSError):  # somebody else's file, which we may read
            os.utime(stream.fileno())
        return EmbeddingFile(self._path(key), stream)

    def _make_room(self, size: int) -> str:
        """Delete files, the least recently used first, until so many bytes are allowed; or say why that cannot be."""
        files = []
        for path in self.folder.iterdir():
            if _OURS.fullmatch(path.name):
                with suppress(FileNotFoundError):
                    state = path.stat()
                    files.append((state.st_mtime_ns, state.st_size, path))
        over = sum(length for _, length, _ in files) + size - self.allowed
        going: list[Path] = []
        freed = 0
        for _, length, path in sorted(files):
            if freed < over and not _in_use(path):
                going.append(path)
                freed += length
        if freed < over:
            return f"--cache {readable(self.allowed)} has no {readable(size)} left beside files that are in use"
        if shutil.disk_usage(self.folder).free + freed < size:
            return f"{readable(size)} of disk would be needed at {str(self.folder)!r}, fewer are free"
        for path in going:
            path.unlink(missing_ok=True)
        return ""

    def _begin(self, part: Path, size: int) -> IO[bytes]:
        stream = part.open("x+b")
        fcntl.flock(stream, fcntl.LOCK_EX)
        stream.truncate(size)  # so that others count it
        return stream

    def _write(self, stream: IO[bytes], size: int, chunks: Callable[[], Iterator[Numbers]]) -> str:
        """Write all chunks and see to it that they are on disk; or say why they are not."""
        for chunk in chunks():
            try:
                stream.write(chunk.data.cast("B"))
            except OSError as error:
                return self._unusable(error)
        try:
            stream.flush()
            os.fsync(stream.fileno())
        except OSError as error:
            return self._unusable(error)
        if stream.tell() != size:
            raise AssertionError(f"{stream.tell()} bytes written, {size} announced")
        return ""


def _in_use(path: Path) -> bool:
    """Whether a process reads or writes the file."""
    try:
        with path.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:  # locked; or somebody else's, which is not ours to delete
        return True
    return False
