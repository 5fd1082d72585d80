"""Running a plan: measure what is missing, store each finished block, summarise, go on past failures."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Protocol

from preimage.harness.benchmark import MetricInfo, Score, metric_info
from preimage.harness.errors import NotFiniteRows, PreimageError, StoreError
from preimage.harness.options import plain_options
from preimage.harness.plan import Evaluation, Plan, Work
from preimage.harness.plugins import Registry, Sources
from preimage.harness.requests import Request
from preimage.harness.rows import Block
from preimage.harness.store import Store
from preimage.harness.world import World


class Progress(Protocol):
    """What is told while a plan runs."""

    def begin(self, work: Work) -> None: ...
    def advance(self, work: Work, images: int) -> None: ...
    def end(self, work: Work, problem: str) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class Workers:
    """How blocks are measured: in this process (count 1), or in so many of their own."""

    sources: Sources
    database: Path
    device: str = "cpu"
    count: int = 1
    offline: bool = False


@dataclass
class Report:
    """How a run ended."""

    evaluations: list[Evaluation] = field(default_factory=list)
    measured_blocks: int = 0
    evaluations_spent: int = 0

    @property
    def exit_status(self) -> int:
        """0 done; 1 something failed, or was refused where nothing else ran."""
        statuses = {evaluation.status for evaluation in self.evaluations}
        return 1 if "failed" in statuses or "ok" not in statuses else 0


def execute(
    plan: Plan,
    store: Store,
    world: World,
    workers: Workers,
    run: int,
    command: str,
    progress: Progress,
    *,
    fail_fast: bool = False,
) -> Report:
    """Run a plan: every missing block is measured and stored in one transaction, every evaluation summarised.

    A request whose measurement raises is noted with its traceback, and fails the evaluations that need it; the others
    go on (unless ``fail_fast``). A StoreError stops the run: nothing more could be kept.
    """
    report = Report(plan.evaluations)
    for evaluation in plan.evaluations:
        store.add_model(evaluation.card, evaluation.key)
        store.add_benchmark(evaluation.benchmark)
    broken: dict[str, BaseException] = {}
    done: set[str] = set()
    waiting = list(plan.evaluations)

    def settle() -> None:
        for evaluation in list(waiting):
            keys = {ask.request.key() for ask in evaluation.asks.values()}
            if evaluation.status or keys & set(broken) or keys <= done:
                waiting.remove(evaluation)
                _finish(evaluation, broken, store, run, command)

    with _measurer(workers, world, sum(len(work.missing) for work in plan.work)) as measurer:
        for stage in plan.stages:
            for work in stage:
                store.add_request(work.request)
                for needed, _ in work.request.needs():
                    if needed.key() in broken:
                        broken[work.key] = broken[needed.key()]
            done |= {work.key for work in stage if not work.missing and work.key not in broken}
            settle()
            todo = [work for work in stage if work.missing and work.key not in broken]
            for work in measurer(todo, store, run, report, broken, progress):
                if work.key not in broken:
                    done.add(work.key)
                settle()
                if fail_fast and broken:
                    for evaluation in waiting:
                        evaluation.status, evaluation.reason = "stopped", "the run stopped at the first failure"
                    return report
    settle()
    return report


def _finish(evaluation: Evaluation, broken: dict[str, BaseException], store: Store, run: int, command: str) -> None:
    scores: list[Score] = []
    if not evaluation.status:
        keys = [ask.request.key() for ask in evaluation.asks.values()]
        error = next((broken[key] for key in keys if key in broken), None)
        try:
            if error is not None:
                raise error
            rows = {role: store.rows(ask.request.key(), ask.count) for role, ask in evaluation.asks.items()}
            scores = evaluation.benchmark.summarise(rows, evaluation.options)
            evaluation.status = "ok"
        except StoreError:
            raise
        except Exception as failure:  # a stranger's summary may raise anything
            evaluation.status, evaluation.reason = "failed", f"{type(failure).__name__}: {failure}"
            evaluation.trace = "".join(traceback.format_exception(failure))
    store.add_evaluation(
        model=evaluation.card.name,
        dataset=evaluation.dataset,
        benchmark=evaluation.benchmark.name,
        suite=evaluation.suite,
        version=evaluation.benchmark.version,
        options=plain_options(evaluation.options),
        asks=[
            {"role": role, "request": ask.request.key(), "count": ask.count} for role, ask in evaluation.asks.items()
        ],
        status=evaluation.status,
        reason=evaluation.reason,
        trace=evaluation.trace,
        command=command,
        run=run,
        scores=scores,
        metrics=metrics_of(evaluation.benchmark, scores),
    )


def metrics_of(benchmark: Any, scores: list[Score]) -> dict[str, MetricInfo]:
    """What each of the scores' metrics is."""
    return {score.metric: metric_info(benchmark, score.metric) for score in scores}


class _Measurer(Protocol):
    def __call__(
        self,
        todo: list[Work],
        store: Store,
        run: int,
        report: Report,
        broken: dict[str, BaseException],
        progress: Progress,
    ) -> Iterator[Work]: ...


@contextmanager
def _measurer(workers: Workers, world: World, blocks: int) -> Iterator[_Measurer]:
    """Something that measures the work it is given, stores it and yields each request when it is finished."""
    if workers.count == 1 or blocks <= 1:
        yield lambda todo, store, run, report, broken, progress: _here(
            todo, store, run, report, broken, progress, world
        )
        return
    pool = ProcessPoolExecutor(
        min(workers.count, blocks), mp_context=get_context("spawn"), initializer=_start_worker, initargs=(workers,)
    )
    try:
        yield lambda todo, store, run, report, broken, progress: _elsewhere(
            todo, store, run, report, broken, progress, pool
        )
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _here(
    todo: list[Work],
    store: Store,
    run: int,
    report: Report,
    broken: dict[str, BaseException],
    progress: Progress,
    world: World,
) -> Iterator[Work]:
    for work in todo:
        progress.begin(work)
        for number in work.missing:
            try:
                block = work.request.measure(number, world)
            except StoreError:
                raise
            except Exception as error:  # a stranger's model may raise anything
                broken[work.key] = error
                break
            _keep(work, number, block, store, run, report, progress, broken)
            if work.key in broken:
                break
        progress.end(work, _problem(broken.get(work.key)))
        yield work


def _elsewhere(
    todo: list[Work],
    store: Store,
    run: int,
    report: Report,
    broken: dict[str, BaseException],
    progress: Progress,
    pool: ProcessPoolExecutor,
) -> Iterator[Work]:
    futures: dict[Future[Block], tuple[Work, int]] = {}
    left = {work.key: len(work.missing) for work in todo}
    for work in todo:
        for number in work.missing:
            futures[pool.submit(_measure_in_worker, work.request, number)] = (work, number)
    begun: set[str] = set()
    for future in as_completed(futures):
        work, number = futures[future]
        if work.key not in begun:
            begun.add(work.key)
            progress.begin(work)
        left[work.key] -= 1
        try:
            if work.key not in broken:
                _keep(work, number, future.result(), store, run, report, progress, broken)
        except (StoreError, BrokenProcessPool) as error:
            if isinstance(error, BrokenProcessPool):
                raise PreimageError(
                    "a worker process was killed (out of memory?). Finished blocks are stored: type the same "
                    "command again, with fewer --workers if memory was short"
                ) from error
            raise
        except CancelledError:
            pass
        except Exception as error:
            broken[work.key] = error
        if work.key in broken:
            for other, (same, _) in futures.items():
                if same.key == work.key:
                    other.cancel()
        if left[work.key] == 0:
            progress.end(work, _problem(broken.get(work.key)))
            yield work


def _keep(
    work: Work,
    number: int,
    block: Block,
    store: Store,
    run: int,
    report: Report,
    progress: Progress,
    broken: dict[str, BaseException],
) -> None:
    try:
        store.add_block(work.key, number, block, run)
    except NotFiniteRows as error:
        broken[work.key] = error
        return
    report.measured_blocks += 1
    report.evaluations_spent += block.evaluations
    progress.advance(work, len(set(block.image.tolist())))


def _problem(error: BaseException | None) -> str:
    return "" if error is None else f"{type(error).__name__}: {error}"


_worker_world: World | None = None


def _start_worker(workers: Workers) -> None:
    """Set up a worker process: the same registry as its parent's, and an end when the parent ends, however it does."""
    global _worker_world
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    _worker_world = World(Registry(workers.sources), workers.database, workers.device, offline=workers.offline)


def _end_with(sentinel: int) -> None:
    import os

    wait([sentinel])
    os._exit(1)


def _measure_in_worker(request: Request, number: int) -> Block:
    assert _worker_world is not None  # set by the initializer
    return request.measure(number, _worker_world)
