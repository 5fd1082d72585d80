"""Where blocks are measured: in this process, or in several of their own that end when this one does."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path
from typing import TypeAlias

from preimage.harness.errors import PreimageError
from preimage.harness.failures import Failure
from preimage.harness.limits import Limits
from preimage.harness.plugins import Registry, Sources
from preimage.harness.requests import Request
from preimage.harness.rows import Block
from preimage.harness.world import World, tell


@dataclass(frozen=True)
class Workers:
    """How blocks are measured: in this process (count 1), or in so many of their own."""

    sources: Sources
    database: Path
    device: str = "cpu"
    count: int = 1
    offline: bool = False
    limits: Limits = field(default_factory=Limits)


Task: TypeAlias = tuple[Request, int]
Result: TypeAlias = Block | Failure | None
"""What became of a task; None where it was given up before it began."""

Measurer: TypeAlias = Callable[[Sequence[Task], Callable[[Request], bool]], Iterator[tuple[int, Result]]]
"""Tasks, and whether a request has been given up, to (index of the task, result) as they are finished."""


@contextmanager
def measurer(workers: Workers, world: World, blocks: int) -> Iterator[Measurer]:
    """Something that measures blocks, with as many processes as there is use for."""
    if min(workers.count, blocks) <= 1:
        yield lambda tasks, given_up: _here(tasks, given_up, world)
        return
    pool = ProcessPoolExecutor(
        min(workers.count, blocks), mp_context=get_context("spawn"), initializer=_start, initargs=(workers,)
    )
    try:
        yield lambda tasks, given_up: _elsewhere(tasks, given_up, pool)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _here(tasks: Sequence[Task], given_up: Callable[[Request], bool], world: World) -> Iterator[tuple[int, Result]]:
    for index, (request, number) in enumerate(tasks):
        yield index, None if given_up(request) else _measured(request, number, world)


def _elsewhere(
    tasks: Sequence[Task], given_up: Callable[[Request], bool], pool: ProcessPoolExecutor
) -> Iterator[tuple[int, Result]]:
    told: set[str] = set()  # what one worker says, others say too
    futures: dict[Future[tuple[Block | Failure, list[str]]], int] = {
        pool.submit(_measured_there, request, number): index for index, (request, number) in enumerate(tasks)
    }
    for future in as_completed(futures):
        index = futures[future]
        for other, place in futures.items():
            if not other.done() and given_up(tasks[place][0]):
                other.cancel()
        if future.cancelled():
            yield index, None
            continue
        try:
            result, said = future.result()
        except BrokenProcessPool as error:
            raise PreimageError(
                "a worker process was killed (out of memory?). Finished blocks are stored: type the same command "
                "again, with fewer --workers if memory was short"
            ) from error
        for line in dict.fromkeys(said):
            if line not in told:
                tell(line)
        told.update(said)
        yield index, result


def _measured(request: Request, number: int, world: World) -> Block | Failure:
    try:
        return request.measure(number, world)
    except Exception as error:  # a stranger's model may raise anything; the others go on
        return Failure.of(error)


_world: World | None = None
_said: list[str] = []
"""What a worker's world says, until its parent prints it."""


def _start(workers: Workers) -> None:
    """Set up a worker: the same registry as its parent's, and an end when the parent ends, however it does."""
    global _world
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    _world = World(
        Registry(workers.sources),
        workers.database,
        workers.device,
        offline=workers.offline,
        limits=workers.limits,
        say=_said.append,
    )


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


def _measured_there(request: Request, number: int) -> tuple[Block | Failure, list[str]]:
    assert _world is not None  # set by _start
    _said.clear()
    return _measured(request, number, _world), list(_said)
