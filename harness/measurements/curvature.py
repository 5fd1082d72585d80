"""The mean curvature of a model's images, measured: one row per label, its matrix as the row's code."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import torch

from preimage.harness.likelihood_requests import Curvature
from preimage.harness.rows import Block
from preimage.harness.samplers.charts import chart_of
from preimage.harness.samplers.curvature import Curvature as Spectrum
from preimage.harness.samplers.curvature import chart_metric, curvature_of
from preimage.harness.streams import Streams, seed_of
from preimage.harness.world import World

if TYPE_CHECKING:
    from torch import Tensor


def measure_curvature(request: Curvature, block: int, world: World) -> Block:
    """``A`` of the labels ``[k B, (k + 1) B)``, [dim, dim] float64 in the row's code (METHODS 13)."""
    torch.set_num_threads(request.threads)
    began = time.perf_counter()
    generator = world.measured(request.model)
    space = generator.space(request.space)
    labels = range(block * request.block, min((block + 1) * request.block, request.rows))
    streams = Streams([seed_of(request.seed, "metric", i) for i in range(request.draws)], world.device)
    u = chart_of(space).draw(streams, 1, space.dim).squeeze(1)
    metrics = []
    for label in labels:
        under = torch.full((request.draws,), label, device=world.device) if request.labels else None
        metrics.append(chart_metric(generator, u, under, space=request.space))
    return Block(
        image=np.array(labels, dtype=np.int64),
        label=np.array([i if request.labels else -1 for i in labels], dtype=np.int64),
        values={
            "evaluations": np.array([float(m.evaluations) for m in metrics]),
            "largest_eigenvalue": np.array([float(torch.linalg.eigvalsh(m.matrix)[-1]) for m in metrics]),
        },
        code=tuple(m.matrix.cpu().numpy().astype("<f8").tobytes() for m in metrics),
        evaluations=sum(m.evaluations for m in metrics),
        seconds=time.perf_counter() - began,
    )


def stored_curvature(
    request: Curvature | None, pixels: int, sigma2: float, label: Tensor | None, world: World
) -> Spectrum | None:
    """``A D / sigma2`` of each image's label from stored matrices, D = pixels; None where none was asked for."""
    if request is None:
        return None

    def read() -> Spectrum:
        _, codes = world.rows(request, request.rows)
        stack = np.stack([np.frombuffer(code, dtype="<f8").reshape(request.dim, request.dim) for code in codes])
        matrices = torch.from_numpy(stack).to(world.device)
        which = torch.arange(request.rows, device=world.device) if request.labels else None
        return curvature_of(matrices, pixels, sigma2, which)

    found = world.keep(("curvature", request.key(), pixels, sigma2), read)
    if label is None:
        return found
    return Spectrum(found.eigenvalues[label], found.rotation[label], found.borrowed[label])
