"""The model's metric, measured: one row per label, its matrix as the row's code."""

from __future__ import annotations

import time

import numpy as np
import torch

from preimage.harness.requests import ModelMetric
from preimage.harness.rows import Block
from preimage.harness.solvers.metric import Metric, measure_metric as metric_of
from preimage.harness.streams import Streams, seed_of
from preimage.harness.world import World


def measure_metric(request: ModelMetric, block: int, world: World) -> Block:
    """The metrics of the labels ``[k B, (k + 1) B)``: ``A`` [dim, dim] float64, bytes in the row's code (METHODS 13)."""
    torch.set_num_threads(request.threads)
    began = time.perf_counter()
    generator, distance = world.generator(request.model.name), world.distance(request.distance)
    labels = range(block * request.block, min((block + 1) * request.block, max(1, request.labels)))
    metrics = []
    for label in labels:
        streams = Streams([seed_of(request.seed, "metric", draw) for draw in range(request.draws)], world.device)
        metrics.append(metric_of(generator, label if request.labels else None, distance, streams, space=request.space))
    spent = np.array([m.evaluations for m in metrics])
    return Block(
        image=np.array(labels, dtype=np.int64), label=np.array([i if request.labels else -1 for i in labels], dtype=np.int64),
        values={"evaluations": spent.astype(np.float64), "largest_eigenvalue": np.array([_largest(m) for m in metrics])},
        code=tuple(m.matrix.cpu().numpy().astype("<f8").tobytes() for m in metrics),
        evaluations=int(spent.sum()), seconds=time.perf_counter() - began)


def _largest(metric: Metric) -> float:
    return float(torch.linalg.eigvalsh(metric.matrix)[-1])


def stored_metrics(request: ModelMetric, world: World) -> torch.Tensor:
    """The matrices of all labels as they were stored, [labels, dim, dim] float64."""
    def read() -> torch.Tensor:
        codes = world.codes(request, max(1, request.labels))
        matrices = [np.frombuffer(code, dtype="<f8").reshape(request.dim, request.dim) for code in codes]
        return torch.from_numpy(np.stack(matrices)).to(world.device)

    return world.keep(("metric", request.key()), read)
