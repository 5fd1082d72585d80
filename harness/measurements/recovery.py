"""Latent recovery, measured: the images of a block projected onto the generator's range (METHODS 1)."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from preimage.harness.distances import Distance
from preimage.harness.errors import GeneratorError
from preimage.harness.generator import Generator, check_images
from preimage.harness.measurements.draws import draw
from preimage.harness.measurements.labels import labels_asked
from preimage.harness.measurements.metric import stored_metrics
from preimage.harness.measurements.targets import Targets, as_large, targets_of
from preimage.harness.operators import on_generated
from preimage.harness.pictures import SHOWN, strip
from preimage.harness.priors import Uniform
from preimage.harness.requests import ModelMetric, Recovery
from preimage.harness.rows import Block
from preimage.harness.solvers.encoder import Encoder
from preimage.harness.solvers.energy import RecoveryEnergy
from preimage.harness.solvers.interface import Solver
from preimage.harness.solvers.metric import MetricPreconditioner
from preimage.harness.solvers.minimise import Minimum, best_of, minimise
from preimage.harness.solvers.outcome import Outcome
from preimage.harness.streams import Streams, seed_of
from preimage.harness.world import World


def measure_recovery(request: Recovery, block: int, world: World) -> Block:
    """Recover every image of the block, under each label that the request's rule asks for; one row each.

    Of a mixture, whose images are recovered by each part, the row is that of the best part, with its number as ``part``
    and the evaluations of all.

    Distances and errors are those of the operated images: of ``phi(G(z*))`` and ``phi(x)`` for an operator that acts on
    both sides, of ``G(z*)`` and the changed target for another.

    Raises GeneratorError where the generator breaks its contract or gives no finite image at all.
    """
    torch.set_num_threads(request.threads)
    began = time.perf_counter()
    generator, distance = world.measured(request.model), world.distance(request.distance, request.distance_identity)
    targets = targets_of(request, block, world, generator)
    passes = labels_asked(request.label, targets.labels, request.labels)
    runs = [_recovered(request, targets, label, generator, distance, world) for label in passes]
    if request.label == "part":
        runs = [_best_part(runs)]
    columns = {name: np.stack([run.values[name] for run in runs], axis=1).reshape(-1) for name in runs[0].values}
    count, first = len(targets.aims), targets.indices.start
    used = np.stack([run.label for run in runs], axis=1).reshape(-1)
    columns["true_label"] = np.repeat(targets.labels.double().cpu().numpy(), len(runs))
    return Block(
        image=np.repeat(np.arange(first, first + count), len(runs)),
        label=used,
        values=columns,
        outcome=tuple(run.outcome[i] for i in range(count) for run in runs),
        code=tuple(run.code[i].tobytes() for i in range(count) for run in runs),
        pixels=hashlib.sha256(targets.read.cpu().numpy().tobytes()).hexdigest(),
        evaluations=int(columns["evaluations"].sum()) + targets.evaluations,
        seconds=time.perf_counter() - began,
        pictures=_pictures(request, targets, runs[0]) if block == 0 and len(runs) == 1 else {},
    )


@dataclass(frozen=True)
class Recovered:
    """One pass over a block: values, outcomes, codes [n, dim] little-endian float32, recovered images, the objective
    reached [n]."""

    label: np.ndarray[tuple[int], np.dtype[np.int64]]
    values: dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]]
    outcome: list[str]
    code: np.ndarray[tuple[int, int], np.dtype[np.float32]]
    images: Tensor
    energy: Tensor


def _best_part(runs: Sequence[Recovered]) -> Recovered:
    """For each image the pass of the part that came to the least objective; the first of equal ones."""
    energy = torch.stack([run.energy for run in runs]).nan_to_num(torch.inf)
    best = energy.argmin(dim=0)
    chosen, every = best.cpu().numpy(), np.arange(len(best))
    values = {name: np.stack([run.values[name] for run in runs])[chosen, every] for name in runs[0].values}
    values["evaluations"] = np.sum([run.values["evaluations"] for run in runs], axis=0)
    values["part"] = chosen.astype(np.float64)
    return Recovered(
        np.full(len(best), -1, dtype=np.int64),
        values,
        [runs[part].outcome[i] for i, part in enumerate(chosen)],
        np.stack([run.code for run in runs])[chosen, every],
        torch.stack([run.images for run in runs])[best, torch.arange(len(best), device=best.device)],
        energy.amin(dim=0),
    )


def _pictures(request: Recovery, targets: Targets, run: Recovered) -> dict[str, bytes]:
    """What was looked for, as the operator shows it, beside the images found, before the operator."""
    aims = on_generated(request.operator)(targets.aims[:SHOWN])
    return {"targets": strip(as_large(aims, run.images)), "recoveries": strip(run.images[:SHOWN])}


def _recovered(
    request: Recovery, targets: Targets, label: Tensor | None, generator: Generator, distance: Distance, world: World
) -> Recovered:
    phi = on_generated(request.operator)
    if isinstance(request.solver, Encoder):
        best = _encoded(request, targets, label, generator, distance)
    else:
        best = _best_of_restarts(request, targets, label, generator, distance, world)
    with torch.no_grad():
        images = generator.decode(best.code, label, space=request.space)
        near, aims = phi(images), phi(targets.aims)
        apart = distance(near, aims).double()
    if not bool(torch.isfinite(images).all()):
        broken = int((~torch.isfinite(images.flatten(1)).all(dim=1)).sum())
        raise GeneratorError(
            f"model {request.model.name!r}: {broken} of {len(images)} images are not finite from any start; "
            f"check the model with `preimage check {request.model.name}`"
        )
    squares = (near - aims).double().square().flatten(1)
    prior = generator.space(request.space).prior
    values = {
        "distance": apart,
        "mse": squares.mean(dim=1),
        "l2": squares.sum(dim=1).sqrt(),
        "evaluations": (best.evaluations + 1).double(),
        "code_norm": best.code.double().norm(dim=1),
    }
    if prior is not None:
        values["outside_prior"] = (
            (prior.project(best.code) - best.code).norm(dim=1) > 1e-4 * best.code.norm(dim=1)
        ).double()
    used = torch.full((len(images),), -1) if label is None else label
    return Recovered(
        used.cpu().numpy().astype(np.int64),
        {name: v.cpu().numpy() for name, v in values.items()},
        [o.name for o in best.outcome],
        best.code.cpu().numpy().astype("<f4"),
        images,
        best.energy,
    )


def _encoded(
    request: Recovery, targets: Targets, label: Tensor | None, generator: Generator, distance: Distance
) -> Minimum:
    """Recovery by the model's own encoder: ``z* = E(x)``, one pass (Webster 3.1), pushed to the request's space."""
    native = generator.native.name
    with torch.no_grad():
        code = generator.encode(targets.aims, label).float()
        if request.space != native:
            code = generator.push(code, label, source=native, target=request.space)
        energy = distance(generator.decode(code, label, space=request.space), targets.aims)
    count = len(targets.aims)
    spent = torch.ones(count, dtype=torch.int64, device=code.device)
    return Minimum(code, energy, spent, [Outcome.ENCODED] * count)


def _best_of_restarts(
    request: Recovery, targets: Targets, label: Tensor | None, generator: Generator, distance: Distance, world: World
) -> Minimum:
    space = generator.space(request.space)
    boxed = bool(request.penalty) and isinstance(space.prior, Uniform)  # flat: its codes are clipped instead
    project = space.prior.project if (request.project or boxed) and space.prior is not None else None

    def energy_in(distance: Distance, metric: ModelMetric | None) -> RecoveryEnergy:
        return RecoveryEnergy(
            generator,
            targets.aims,
            distance,
            label,
            space=request.space,
            beta=0.0 if boxed else request.penalty,
            operator=on_generated(request.operator),
            preconditioner=None if metric is None else MetricPreconditioner(stored_metrics(metric, world), label),
        )

    energy, solver = energy_in(distance, request.metric), request.solver
    first, first_energy = request.first, None
    if first is not None:
        distance = world.distance(first.distance, first.distance_identity)
        first_energy = energy_in(distance, first.metric)
        solver = _with_steps(solver, solver.steps - first.steps)
    runs = []
    for restart in range(request.restarts):
        streams = Streams([seed_of(request.seed, "start", restart, i) for i in targets.indices], world.device)
        start = draw(generator, streams, label, request.space)
        if request.draws > 1:
            start = _nearest_starts(request, restart, targets, label, generator, world)
        if request.trained_start and restart == 0:
            kept = generator.kept_codes[targets.indices.start : targets.indices.stop].to(start)
            start = torch.cat([kept, start[len(kept) :]])

        def redraw(index: Tensor, streams: Streams = streams) -> Tensor:
            return draw(generator, streams.select(index), None if label is None else label[index], request.space)

        spent = torch.zeros(len(start), dtype=torch.int64, device=start.device)
        if first is not None and first_energy is not None:
            begun = _with_steps(request.solver, first.steps)
            found = minimise(first_energy, begun, start, projection=project, redraw=redraw, streams=streams)
            start, spent = found.code, found.evaluations
        run = minimise(energy, solver, start, projection=project, redraw=redraw, streams=streams)
        runs.append(run._replace(evaluations=run.evaluations + spent))
    return best_of(runs)


def _with_steps(solver: Solver[Any], steps: int) -> Solver[Any]:
    settings: Any = solver  # a frozen dataclass, which its protocol cannot say
    changed: Solver[Any] = dataclasses.replace(settings, steps=steps)
    return changed


def _nearest_starts(
    request: Recovery, restart: int, targets: Targets, label: Tensor | None, generator: Generator, world: World
) -> Tensor:
    """For each image the nearest of the restart's own prior samples; they are decoded once per model and label.

    Nearest in l2, whatever is minimised (METHODS 1, "Intriguing Properties of Modern GANs").
    """
    phi = on_generated(request.operator)
    starts = torch.empty((len(targets.aims), generator.space(request.space).dim), device=world.device)
    groups: list[int | None] = [None] if label is None else sorted(set(label.tolist()))
    for group in groups:
        chosen = torch.arange(len(starts), device=world.device)
        if label is not None:
            chosen = chosen[label == group]
        codes, images = _pool(request, restart, group, generator, world)
        starts[chosen] = codes[_nearest(phi(targets.aims[chosen]), phi(images))]
    return starts


def _pool(
    request: Recovery, restart: int, label: int | None, generator: Generator, world: World
) -> tuple[Tensor, Tensor]:
    """Codes and images of a restart's prior samples, decoded block by block and kept for the next images."""

    def decoded() -> tuple[Tensor, Tensor]:
        streams = Streams([seed_of(request.seed, "pool", restart, j) for j in range(request.draws)], world.device)
        labels = None if label is None else torch.full((request.draws,), label, device=world.device)
        codes = draw(generator, streams, labels, request.space)
        parts = [slice(i, i + request.block) for i in range(0, request.draws, request.block)]
        with torch.no_grad():
            images = [
                generator.decode(codes[part], None if labels is None else labels[part], space=request.space)
                for part in parts
            ]
        pool = torch.cat(images)
        check_images(pool, request.draws, generator.image, f"model {request.model.name!r}")
        return codes, pool

    identity = (request.model, request.space, request.seed, request.draws, request.block, request.threads)
    return world.keep(("pool", *identity, restart, label), decoded)


def _nearest(targets: Tensor, images: Tensor) -> Tensor:
    """The index of the image nearest in l2 for each of n targets, [n]."""
    with torch.no_grad():
        apart = torch.cdist(targets.flatten(1).double(), images.flatten(1).double())
        return apart.nan_to_num(torch.inf).argmin(dim=1)
