"""Canaries: what shows that a file had something run."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RUNS = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "exec", "compile", "import", "socket.")
RUNS = (*RUNS, "code.__new__", "function.__new__", "marshal.", "pickle.find_class", "ctypes.", "webbrowser.", "pty.")


class Watch:
    """Events of the interpreter that no reading of data causes, while it is on."""

    def __init__(self) -> None:
        self.on, self.seen = False, list[str]()
        sys.addaudithook(self.hook)

    def hook(self, event: str, args: tuple[object, ...]) -> None:
        """Note an event."""
        if self.on and event.startswith(RUNS):
            self.seen.append(f"{event} {args!r}"[:200])


_WATCH = Watch()
SLOWEST = 20.0  # seconds of a processor, for any file here


@contextmanager
def nothing_runs(canary: Path) -> Iterator[None]:
    """Fails where the canary appears, a module is imported, code is made or run, or reading does not end soon."""
    modules, start = set(sys.modules), time.process_time()
    _WATCH.seen.clear()
    _WATCH.on = True
    try:
        yield
    finally:
        _WATCH.on = False
    assert not _WATCH.seen, _WATCH.seen
    assert not canary.exists(), "a file had its command run"
    assert set(sys.modules) == modules, "a file had a module imported"
    assert time.process_time() - start < SLOWEST
