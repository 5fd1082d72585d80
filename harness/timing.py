"""How long a generator evaluation takes: from blocks measured before, else timed."""

from __future__ import annotations

import time

import torch

from preimage.harness.requests import Request
from preimage.harness.results import Results
from preimage.harness.world import World


def seconds_per_evaluation(request: Request, world: World) -> float:
    """Seconds that one evaluation of the request's model takes in one process.

    Taken from the stored blocks of the same kind and model where there are any, else from a timed batch.
    """
    return world.keep(
        ("seconds", request.kind, request.model), lambda: _measured(request, world) or _timed(request, world)
    )


def _measured(request: Request, world: World) -> float:
    if world.database is None or not world.database.is_file():
        return 0.0
    with Results(world.database) as results:
        found = results.query(
            "SELECT sum(b.seconds) AS seconds, sum(b.evaluations) AS evaluations FROM block b "
            "JOIN request r ON r.key = b.request WHERE r.model = ? AND r.kind = ?",
            request.model.name,
            request.kind,
        )[0]
    return float(found["seconds"] / found["evaluations"]) if found["evaluations"] else 0.0


def _timed(request: Request, world: World) -> float:
    """One forward and backward pass of a block of prior draws, the faster of two."""
    from preimage.harness.measurements.draws import draw
    from preimage.harness.streams import Streams, seed_of

    torch.set_num_threads(request.threads)
    generator = world.generator(request.model.name)
    count = 64
    streams = Streams([seed_of("timing", i) for i in range(count)], world.device)
    label = streams.integers(generator.num_classes) if generator.num_classes else None
    code = draw(generator, streams, label).requires_grad_()
    took = []
    for _ in range(3):
        began = time.perf_counter()
        torch.autograd.grad(generator.decode(code, label, space=generator.native.name).square().sum(), code)
        took.append(time.perf_counter() - began)
    return min(took[1:]) / count
