"""How long work will take: seconds per generator evaluation and how many are spent, both as measured before."""

from __future__ import annotations

import dataclasses
import json
import time

import torch

from preimage.harness.distances import SquaredL2
from preimage.harness.plan import Work
from preimage.harness.requests import Request
from preimage.harness.results import Results
from preimage.harness.world import World

TRIES = 6  # timed passes
PILOT = 8  # searches whose length tells how long others will be


def expected_seconds(work: Work, world: World) -> float:
    """Seconds that the missing blocks will take in one process."""
    if not work.evaluations:
        return 0.0
    return expected_evaluations(work, world) * seconds_per_evaluation(work.request, world)


def expected_evaluations(work: Work, world: World) -> float:
    """How many generator evaluations the missing blocks will take.

    All of their budget where no image can stop early; else the share of it that searches with the same solver took
    before: those of the same model, those of any, or a pilot of a few images.
    """
    if work.request.spends_all:
        return work.evaluations
    return work.evaluations * (_stored_share(work.request, world) or _pilot_share(work.request, world))


def _stored_share(request: Request, world: World) -> float:
    """The share of their budget that stored searches with the request's solver spent; 0 where there are none."""
    if world.database is None or not world.database.is_file():
        return 0.0
    described = request.describe()
    with Results(world.database) as results:
        found = results.query(
            "SELECT r.model = ? AS own, sum(b.evaluations) AS evaluations, sum(b.rows) AS rows "
            "FROM block b JOIN request r ON r.key = b.request WHERE r.kind = ? "
            "AND json_extract(r.description, '$.solver') = json(?) "
            "AND json_extract(r.description, '$.restarts') IS ? AND json_extract(r.description, '$.distance') IS ? "
            "GROUP BY own ORDER BY own DESC",
            request.model.name,
            request.kind,
            json.dumps(described.get("solver"), sort_keys=True),
            described.get("restarts"),
            described.get("distance"),
        )
    budget = request.evaluations(1) / _passes(request)
    return min(1.0, found[0]["evaluations"] / found[0]["rows"] / budget) if found else 0.0


def _pilot_share(request: Request, world: World) -> float:
    """The share of its budget that a search of a few images spends, measured once per solver.

    1 for what cannot be measured alone, since it builds on rows that are not there yet.
    """
    if request.needs():
        return 1.0
    described = request.describe()
    solver = json.dumps([described.get(name) for name in ("solver", "restarts", "penalty", "distance")], sort_keys=True)
    few = dataclasses.replace(request, block=max(1, PILOT // _passes(request)))

    def piloted() -> float:
        block = few.measure(0, world)
        return block.evaluations / few.evaluations(len(set(block.image.tolist())))

    return world.keep(("pilot", request.kind, solver), piloted)


def _passes(request: Request) -> int:
    """Searches per image: one, or one per label."""
    return max(1, getattr(request, "labels", 1)) if getattr(request, "label", "") == "every" else 1


def seconds_per_evaluation(request: Request, world: World) -> float:
    """Seconds that one evaluation of the request's model and distance takes in one process.

    Taken from the stored blocks of the same kind, model and distance where there are any, else from a timed batch.
    """
    key = ("seconds", request.kind, request.model, getattr(request, "distance", None))
    return world.keep(key, lambda: _measured(request, world) or _timed(request, world))


def _measured(request: Request, world: World) -> float:
    if world.database is None or not world.database.is_file():
        return 0.0
    with Results(world.database) as results:
        found = results.query(
            "SELECT sum(b.seconds) AS seconds, sum(b.evaluations) AS evaluations FROM block b "
            "JOIN request r ON r.key = b.request WHERE r.model = ? AND r.kind = ? "
            "AND json_extract(r.description, '$.distance') IS ?",
            request.model.name,
            request.kind,
            getattr(request, "distance", None),
        )[0]
    return float(found["seconds"] / found["evaluations"]) if found["evaluations"] else 0.0


def _timed(request: Request, world: World) -> float:
    """One forward and backward pass of 64 prior draws, through generator and distance: the fastest of some, which other
    work has held up least.
    """
    from preimage.harness.measurements.draws import draw, draw_labels
    from preimage.harness.streams import Streams, seed_of

    torch.set_num_threads(request.threads)
    generator = world.generator(request.model.name)
    count = 64
    streams = Streams([seed_of("timing", i) for i in range(count)], world.device)
    label = draw_labels(generator, streams)
    code = draw(generator, streams, label).requires_grad_()
    name = getattr(request, "distance", None)
    distance = world.distance(name) if isinstance(name, str) else SquaredL2()
    with torch.no_grad():
        aims = generator.decode(code.flip(0), label, space=generator.native.name)
    took = []
    for _ in range(TRIES):
        began = time.perf_counter()
        torch.autograd.grad(distance(generator.decode(code, label, space=generator.native.name), aims).sum(), code)
        took.append(time.perf_counter() - began)
    return min(took) / count
