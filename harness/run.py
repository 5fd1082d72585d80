"""Running a plan: measure what is missing, store each finished block, summarise, go on past failures."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from preimage.harness.benchmark import MetricInfo, Score, scored
from preimage.harness.errors import NotFiniteRows, StoreError
from preimage.harness.failures import Failure
from preimage.harness.options import distances_named, extractor_named
from preimage.harness.plan import Evaluation, Plan, Work
from preimage.harness.requests import Request
from preimage.harness.store import Store
from preimage.harness.workers import Measurer, Result, Workers, measurer
from preimage.harness.world import World


class Progress(Protocol):
    """What is told while a plan runs."""

    def begin(self, work: Work) -> None: ...
    def advance(self, work: Work, images: int, seconds: float) -> None: ...
    def end(self, work: Work, problem: str) -> None: ...
    def close(self) -> None: ...


@dataclass
class Report:
    """How a run ended."""

    evaluations: list[Evaluation] = field(default_factory=list)
    measured_blocks: int = 0
    spent: int = 0
    """Generator evaluations."""

    @property
    def exit_status(self) -> int:
        """0 done; 1 something failed, or was refused where nothing else ran."""
        statuses = {evaluation.status for evaluation in self.evaluations}
        return 1 if "failed" in statuses or "ok" not in statuses else 0


@dataclass
class Run:
    """A plan under way: where results go, and what has become of its requests so far."""

    plan: Plan
    store: Store
    number: int
    command: str
    progress: Progress
    fail_fast: bool = False
    done: set[str] = field(default_factory=set)
    broken: dict[str, Failure] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.report = Report(self.plan.evaluations)
        self._waiting = list(self.plan.evaluations)

    def execute(self, world: World, workers: Workers) -> Report:
        """Measure and store every missing block, in one transaction each; summarise and store every evaluation.

        A request whose measurement raises is noted with its traceback and fails the evaluations that need it; the
        others go on (unless ``fail_fast``). A StoreError stops the run: nothing more could be kept.
        """
        for evaluation in self.plan.evaluations:
            self.store.add_model(evaluation.card, evaluation.key)
            self.store.add_benchmark(evaluation.benchmark)
        self._note_rules(world)
        with measurer(workers, world, sum(len(work.missing) for work in self.plan.work)) as measure:
            for stage in self.plan.stages:
                self._begin(stage)
                self._settle()
                self._measure([work for work in stage if work.missing and work.key not in self.broken], measure)
                if self.fail_fast and self.broken:
                    break
        self._settle()
        for evaluation in self._waiting:
            evaluation.status, evaluation.reason = "stopped", "the run stopped at the first failure"
        return self.report

    def _note_rules(self, world: World) -> None:
        """Store what the distances and extractors that options name do to images first."""
        seen: dict[str, str] = {}
        for options in (evaluation.options for evaluation in self.plan.evaluations):
            extractor = extractor_named(options)
            networks: list[object] = [world.distance(name) for name in distances_named(options)]
            for network in networks if extractor is None else [*networks, world.backbone(extractor)]:
                seen[getattr(network, "identity", "")] = getattr(network, "rule", "")
        for identity, rule in seen.items():
            if identity and rule:
                self.store.add_rule(identity, rule)

    def _begin(self, stage: Sequence[Work]) -> None:
        """Note a stage's requests, and which of them cannot be measured because what they build on is broken."""
        for work in stage:
            self.store.add_request(work.request)
            for needed, _ in work.request.needs():
                if needed.key() in self.broken:
                    self.broken[work.key] = self.broken[needed.key()]
            if not work.missing and work.key not in self.broken:
                self.done.add(work.key)

    def _measure(self, todo: Sequence[Work], measure: Measurer) -> None:
        places = [(work, number) for work in todo for number in work.missing]
        left = Counter(work.key for work, _ in places)

        def given_up(request: Request) -> bool:
            return bool(self.broken) if self.fail_fast else request.key() in self.broken

        for index, result in measure([(work.request, number) for work, number in places], given_up):
            work, number = places[index]
            self.progress.begin(work)
            self._keep(work, number, result)
            left[work.key] -= 1
            if left[work.key] == 0:
                failure = self.broken.get(work.key)
                if failure is None and result is not None:
                    self.done.add(work.key)
                self.progress.end(work, failure.reason if failure else "")
                self._settle()

    def _keep(self, work: Work, number: int, result: Result) -> None:
        """Store a measured block, or note why there is none."""
        if isinstance(result, Failure):
            self.broken.setdefault(work.key, result)
        elif result is not None:
            try:
                self.store.add_block(work.key, number, result, self.number)
            except (NotFiniteRows, ValueError, sqlite3.IntegrityError) as error:  # rows that are none
                self.broken.setdefault(work.key, Failure.of(error))
                return
            self.report.measured_blocks += 1
            self.report.spent += result.evaluations
            self.progress.advance(work, len(set(result.image.tolist())), result.seconds)

    def _settle(self) -> None:
        """Summarise and store every evaluation whose requests are all done, or one of whose requests is broken."""
        for evaluation in list(self._waiting):
            keys = {ask.request.key() for ask in evaluation.asks.values()}
            if evaluation.status or keys & set(self.broken) or keys <= self.done:
                self._waiting.remove(evaluation)
                self._finish(evaluation)

    def _finish(self, evaluation: Evaluation) -> None:
        scores: list[Score] = []
        metrics: dict[str, MetricInfo] = {}
        asks = evaluation.asks.items()
        failure = next((self.broken[a.request.key()] for _, a in asks if a.request.key() in self.broken), None)
        if not evaluation.status and failure is None:
            try:
                rows = {role: self.store.rows(ask.request.key(), ask.count) for role, ask in asks}
                scores, metrics = scored(evaluation.benchmark, rows, evaluation.options)
                evaluation.status = "ok"
            except StoreError:
                raise
            except Exception as error:  # a stranger's summary may raise anything
                failure = Failure.of(error)
        if not evaluation.status and failure is not None:
            evaluation.fail(failure)
        self.store.add_evaluation(evaluation, scores, metrics, self.command, self.number)
