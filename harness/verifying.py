"""Verifying a published score: random stored images measured again, and whether the score holds. Nothing is written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

from preimage.harness.agreement import Agreement, agreement, replaced, shares
from preimage.harness.benchmark import Ask, Benchmark, scored
from preimage.harness.errors import PreimageError, Refused
from preimage.harness.failures import Failure
from preimage.harness.judging import ScoreCheck, published, score_check
from preimage.harness.options import options_from
from preimage.harness.plan import Work, asks_of
from preimage.harness.results import Results, StoredEvaluation
from preimage.harness.rows import Block, Estimate, Rows
from preimage.harness.run import Progress
from preimage.harness.world import World

Verdict: TypeAlias = Literal["identical", "holds", "does not hold", "of something else", "not verified"]


@dataclass(frozen=True)
class Change:
    """A fact of what is asked for now that differs from what was stored; None where one side has no such fact."""

    role: str
    fact: str
    stored: Any
    now: Any


@dataclass(frozen=True)
class RoleCheck:
    """One role: the images that were drawn, the blocks that hold them, and how these agree with the stored ones."""

    role: str
    request: str
    drawn: tuple[int, ...]
    count: int
    blocks: tuple[int, ...]
    agreement: Agreement


@dataclass
class Verification:
    """What became of verifying one stored evaluation."""

    evaluation: StoredEvaluation
    verdict: Verdict = "not verified"
    reasons: list[str] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    roles: list[RoleCheck] = field(default_factory=list)
    scores: list[ScoreCheck] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether the score was verified and holds."""
        return self.verdict in ("identical", "holds")


def exit_status(done: Iterable[Verification]) -> int:
    """0 where every score holds; what was refused has none, and counts only where nothing else was verified."""
    left = [one for one in done if one.evaluation.status != "refused"]
    return 0 if left and all(one.good for one in left) else 1


@dataclass(frozen=True)
class Asked:
    """What a stored evaluation asks for now: its benchmark and options, and its requests by role."""

    benchmark: Benchmark[Any]
    options: Any
    asks: Mapping[str, Ask]


def verify(
    results: Results, world: World, evaluation: StoredEvaluation, images: int, seed: int, progress: Progress
) -> Verification:
    """Measure so many random images of a stored evaluation again, and judge its score by them.

    The images are drawn from a stream of the seed, over the roles in proportion to their counts. A block is measured
    whole, since its numbers depend on it, and all its rows are compared. What requests build on is read as stored.
    """
    found = Verification(evaluation)
    if evaluation.status != "ok":
        ended = "was refused" if evaluation.status == "refused" else evaluation.status
        found.reasons.append(f"there is no score: the evaluation {ended}: {evaluation.reason}")
        return found
    try:
        asked = _asked(world, evaluation)
        found.changes = _changes(results, evaluation, asked)
    except Exception as error:  # a stranger's model, data or benchmark may raise anything
        found.reasons.append(_told(error))
        return found
    if found.changes:
        found.verdict = "of something else"
        found.reasons.append("what loads now is not what was scored; `preimage run` scores what is there now")
        return found
    try:
        rows = {ask.role: results.rows(ask.request, ask.count) for ask in evaluation.asks}
        stored = _scores(asked, rows)
    except Exception as error:  # rows that were altered may break any summary
        found.verdict = "does not hold"
        found.reasons.append(f"its stored rows give no score: {_told(error)}")
        return found
    drawn = _drawn(asked.asks, images, seed)
    measured = _measure(asked.asks, world, drawn, progress)
    if isinstance(measured, str):
        found.reasons.append(measured)
        return found
    found.roles = [_compared(results, role, asked.asks[role], chosen, measured) for role, chosen in drawn.items()]
    _judge(results, asked, rows, stored, measured, found)
    return found


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, PreimageError) else Failure.of(error).reason


def _asked(world: World, evaluation: StoredEvaluation) -> Asked:
    registry = world.registry
    benchmark = registry.benchmarks[evaluation.benchmark]
    source = f"stored {evaluation.benchmark!r}"
    options = options_from(benchmark.options, evaluation.options, registry.choices, source=source)
    registry.check_dataset(evaluation.dataset)
    data, model = world.data(evaluation.dataset), world.model(evaluation.model)
    try:
        return Asked(benchmark, options, asks_of(benchmark, model, data, options, world))
    except Refused as refusal:
        raise Refused(f"benchmark {benchmark.name!r} refuses the model as it loads now: {refusal}") from refusal


def _changes(results: Results, evaluation: StoredEvaluation, asked: Asked) -> list[Change]:
    """What differs between the stored requests and those of now, fact by fact."""
    changes = []
    if evaluation.version != asked.benchmark.version:
        changes.append(Change("", "benchmark.version", evaluation.version, asked.benchmark.version))
    stored = {ask.role: ask for ask in evaluation.asks}
    for role in dict.fromkeys([*stored, *asked.asks]):
        old, new = stored.get(role), asked.asks.get(role)
        if old is None or new is None or old.count != new.count:
            changes.append(Change(role, "count", old and old.count, new and new.count))
        if old is None or new is None or old.request == new.request.key():
            continue
        was, now = (dict(_facts(d)) for d in (results.description(old.request), new.request.describe()))
        changes += [
            Change(role, fact, was.get(fact), now.get(fact))
            for fact in dict.fromkeys([*was, *now])
            if was.get(fact) != now.get(fact)
        ] or [Change(role, "request", old.request, new.request.key())]
    return changes


def _facts(described: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """A request's description as ``solver.steps: 750``, one fact after the other."""
    parts = described.items() if isinstance(described, Mapping) else enumerate(described)
    for name, value in parts:
        here = f"{path}.{name}" if path else str(name)
        if isinstance(value, (Mapping, list)):
            yield from _facts(value, here)
        else:
            yield here, value


def _drawn(asks: Mapping[str, Ask], images: int, seed: int) -> dict[str, tuple[int, ...]]:
    """The images to look at, by role; the same for the same seed."""
    rng = np.random.default_rng(seed)
    each = shares([ask.count for ask in asks.values()], images)
    return {
        role: tuple(sorted(rng.choice(ask.count, size=share, replace=False).tolist()))
        for (role, ask), share in zip(asks.items(), each, strict=True)
        if share
    }


Measured: TypeAlias = dict[str, dict[int, Block]]
"""Blocks by request and number."""


def _measure(
    asks: Mapping[str, Ask], world: World, drawn: Mapping[str, tuple[int, ...]], progress: Progress
) -> Measured | str:
    """The blocks that hold the drawn images, each measured once; or why one cannot be."""
    wanted: dict[str, set[int]] = {}
    for role, images in drawn.items():
        wanted.setdefault(asks[role].request.key(), set()).update(_blocks(asks[role], images))
    asked = {ask.request.key(): ask for ask in asks.values()}
    measured: Measured = {}
    for key, numbers in wanted.items():
        request = asked[key].request
        work = Work(request, key, asked[key].count, tuple(sorted(numbers)), len(numbers) * request.block)
        progress.begin(work)
        measured[key] = {}
        for number in work.missing:
            try:
                block = request.measure(number, world)
            except Exception as error:  # a stranger's model may raise anything
                progress.end(work, _told(error))
                return f"block {number} of request {key[:12]} cannot be measured again: {_told(error)}"
            measured[key][number] = block
            progress.advance(work, len(set(block.image.tolist())), block.seconds)
        progress.end(work, "")
    return measured


def _blocks(ask: Ask, images: Iterable[int]) -> tuple[int, ...]:
    """The numbers of the blocks that hold the images."""
    return tuple(sorted({image // ask.request.block for image in images}))


def _compared(results: Results, role: str, ask: Ask, drawn: tuple[int, ...], measured: Measured) -> RoleCheck:
    key, numbers = ask.request.key(), _blocks(ask, drawn)
    return RoleCheck(
        role, key, drawn, ask.count, numbers, agreement(results, key, {n: measured[key][n] for n in numbers})
    )


def _scores(asked: Asked, rows: Mapping[str, Rows]) -> dict[str, Estimate]:
    return dict(scored(asked.benchmark, rows, asked.options)[0])


def _judge(
    results: Results,
    asked: Asked,
    rows: Mapping[str, Rows],
    recomputed: Mapping[str, Estimate],
    measured: Measured,
    found: Verification,
) -> None:
    """The verdict: of the stored score against its rows, and against these with the measured ones in their place."""
    stored = published(results, found.evaluation)
    new_rows = {
        role: replaced(rows[role], measured.get(ask.request.key(), {}).values()) for role, ask in asked.asks.items()
    }
    try:
        again = _scores(asked, new_rows)
    except Exception as error:  # numbers that no summary takes
        again = {}
        found.reasons.append(f"the rows measured again give no score: {_told(error)}")
    found.scores = [
        score_check(metric, stored.get(metric), recomputed.get(metric), again.get(metric))
        for metric in sorted(stored.keys() | recomputed.keys() | again.keys())
    ]
    said = {
        "altered": "the stored score is not that of its stored rows",
        "outside": "measured again it leaves the stored interval",
    }
    found.reasons += [f"{one.metric}: {said[one.verdict]}" for one in found.scores if one.verdict in said]
    found.reasons += [
        f"role {one.role}: the stored blocks do not have the rows and values that are measured now"
        for one in found.roles
        if not one.agreement.whole
    ]
    verdicts = {one.verdict for one in found.scores}
    if not found.reasons and not verdicts & {"identical", "within"}:
        found.reasons.append("no metric has an interval to judge by, and all values changed")
    if found.reasons:
        found.verdict = "does not hold"
    else:
        same = verdicts == {"identical"} and all(one.agreement.to_the_bit for one in found.roles)
        found.verdict = "identical" if same else "holds"
