"""A sampler's tuning, measured: one row whose values are what is fixed for the model."""

from __future__ import annotations

import time

import numpy as np
import torch

from preimage.harness.likelihood_requests import Tuning
from preimage.harness.measurements.curvature import stored_curvature
from preimage.harness.measurements.noise import sigma2_of
from preimage.harness.rows import Block
from preimage.harness.samplers.interface import Exact
from preimage.harness.samplers.likelihood import Likelihood
from preimage.harness.samplers.simulate import simulate
from preimage.harness.streams import Streams, seed_of
from preimage.harness.world import World

OF_THE_ROW = ("sigma2", "evaluations")
"""Values of a tuning's row that are not the sampler's."""


def measure_tuning(request: Tuning, block: int, world: World) -> Block:
    """Tune the sampler on images simulated for this alone: other streams than those of any image that is measured."""
    torch.set_num_threads(request.threads)
    began = time.perf_counter()
    generator, sigma2 = world.measured(request.model), sigma2_of(request.noise, world)

    def streams(what: str) -> Streams:
        return Streams([seed_of(request.seed, what, i) for i in range(request.images)], world.device)

    label = streams("tuning label").integers(request.labels) if request.labels else None
    made = simulate(generator, streams("tuning"), sigma2, label, space=request.space)
    likelihood = Likelihood(generator, made.image, sigma2, label, space=request.space)
    curve = stored_curvature(request.curvature, made.image[0].numel(), sigma2, label, world)
    exact = Exact(made.u, streams("tuning back"))
    found = request.sampler.tune(likelihood, curve, streams("tuning chains"), exact)
    spent = request.images + int(likelihood.evaluations.sum())
    values = {**found, "sigma2": sigma2, "evaluations": float(spent)}
    return Block(
        image=np.zeros(1, dtype=np.int64),
        label=np.full(1, -1, dtype=np.int64),
        values={name: np.array([value]) for name, value in values.items()},
        evaluations=spent,
        seconds=time.perf_counter() - began,
    )


def stored_tuning(request: Tuning | None, world: World) -> dict[str, float]:
    """What a sampler fixed for the model, by name, as it was stored; nothing where it tunes nothing."""
    if request is None:
        return {}

    def read() -> dict[str, float]:
        rows, _ = world.rows(request, 1)
        return {name: float(values[0]) for name, values in rows.values.items() if name not in OF_THE_ROW}

    return world.keep(("tuning", request.key()), read)
