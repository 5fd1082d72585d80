"""The model's metric, measured: one row per label, its matrix as the row's code."""

from __future__ import annotations

import time

import numpy as np
import torch

from preimage.harness.measurements.draws import draw
from preimage.harness.operators import on_generated
from preimage.harness.requests import ModelMetric
from preimage.harness.rows import Block
from preimage.harness.solvers.metric import Metric
from preimage.harness.solvers.metric import measure_metric as metric_at
from preimage.harness.streams import Streams, seed_of
from preimage.harness.world import World


def measure_metric(request: ModelMetric, block: int, world: World) -> Block:
    """The metrics of the labels ``[k B, (k + 1) B)``: ``A`` [dim, dim] float64 in the row's code (METHODS 13)."""
    torch.set_num_threads(request.threads)
    began = time.perf_counter()
    generator, distance = world.measured(request.model), world.distance(request.distance, request.distance_identity)
    operator = on_generated(request.operator)
    labels = range(block * request.block, min((block + 1) * request.block, max(1, request.labels)))
    metrics = []
    for label in labels:
        streams = Streams([seed_of(request.seed, "metric", i) for i in range(request.draws)], world.device)
        under = torch.full((request.draws,), label, device=world.device) if request.labels else None
        codes = draw(generator, streams, under, request.space)
        metrics.append(metric_at(generator, distance, codes, under, space=request.space, operator=operator))
    values = {
        "evaluations": [float(m.evaluations) for m in metrics],
        "largest_eigenvalue": [float(torch.linalg.eigvalsh(m.matrix)[-1]) for m in metrics],
        "outputs": [float(m.outputs) for m in metrics],
        "squared": [float(m.squared) for m in metrics],
        "embedded": [float(m.embedded) for m in metrics],
        "forward_mode": [float(m.products == "forward") for m in metrics],
    }
    return Block(
        image=np.array(labels, dtype=np.int64),
        label=np.array([i if request.labels else -1 for i in labels], dtype=np.int64),
        values={name: np.array(column) for name, column in values.items()},
        code=tuple(m.matrix.cpu().numpy().astype("<f8").tobytes() for m in metrics),
        evaluations=sum(m.evaluations for m in metrics),
        seconds=time.perf_counter() - began,
    )


def stored_metrics(request: ModelMetric, world: World) -> list[Metric]:
    """The metrics of all labels as they were stored; read once per process."""

    def read() -> list[Metric]:
        rows, codes = world.rows(request, max(1, request.labels))
        return [
            Metric(
                torch.from_numpy(np.frombuffer(code, dtype="<f8").reshape(request.dim, request.dim).copy()).to(
                    world.device
                ),
                int(rows["outputs"][i]),
                bool(rows["squared"][i]),
                bool(rows["embedded"][i]),
                int(rows["evaluations"][i]),
                "forward" if rows["forward_mode"][i] else "double backward",
            )
            for i, code in enumerate(codes)
        ]

    return world.keep(("metric", request.key()), read)
