"""Progress on stderr: one bar per request on a terminal, one line per finished request elsewhere."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from preimage.harness.verbs.running import images_of

if TYPE_CHECKING:
    from preimage.harness.plan import Work


def progress_to(console: Console) -> Bars | Lines:
    """Bars where the console is a terminal, else lines."""
    return Bars(console) if console.is_terminal else Lines(console)


def _title(work: Work) -> str:
    return f"{work.request.kind} · {work.request.model.name} · {images_of(work.request)}"


class Bars:
    """One bar per request: images, rate, time left."""

    def __init__(self, console: Console) -> None:
        rate = TextColumn("{task.fields[rate]}", justify="right")
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            rate,
            TimeRemainingColumn(),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}

    def begin(self, work: Work) -> None:
        if not self._tasks:
            self._bars.start()
        if work.key not in self._tasks:
            self._tasks[work.key] = self._bars.add_task(
                _title(work), total=len(work.missing) * work.request.block, rate=""
            )

    def advance(self, work: Work, images: int, seconds: float) -> None:
        task = self._tasks[work.key]
        self._bars.update(task, advance=images)
        speed = self._bars.tasks[self._bars.task_ids.index(task)].speed
        self._bars.update(task, rate=f"{speed:.1f} images/s" if speed else "")

    def end(self, work: Work, problem: str) -> None:
        task = self._tasks[work.key]
        if problem:
            self._bars.update(task, rate="failed")
            self._bars.console.print(f"failed: {_title(work)}: {problem}", markup=False)
        else:
            self._bars.update(task, total=self._bars.tasks[self._bars.task_ids.index(task)].completed)

    def close(self) -> None:
        self._bars.stop()


class Lines:
    """One line per finished request."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._images: Counter[str] = Counter()
        self._seconds: dict[str, float] = {}

    def begin(self, work: Work) -> None:
        self._seconds.setdefault(work.key, 0.0)

    def advance(self, work: Work, images: int, seconds: float) -> None:
        self._images[work.key] += images
        self._seconds[work.key] += seconds

    def end(self, work: Work, problem: str) -> None:
        took = f"{self._images[work.key]} images, {self._seconds[work.key]:.1f} s of one process"
        said = f"failed: {problem}" if problem else took
        self._console.print(f"{_title(work)}: {said}", markup=False)

    def close(self) -> None:
        """Nothing is left open."""
