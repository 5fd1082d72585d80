"""Recovered images, decoded from their stored codes, scored in another distance."""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import Tensor

from preimage.harness.measurements.labels import labels_used
from preimage.harness.measurements.targets import operator_streams, targets_of
from preimage.harness.operators import on_generated
from preimage.harness.requests import Neighbours, Recovery
from preimage.harness.rescoring import Rescored
from preimage.harness.rows import Block, Rows
from preimage.harness.world import World


@torch.no_grad()
def measure_rescored(request: Rescored, block: int, world: World) -> Block:
    """The rows of one block of ``of``, each with its distance from the target in ``request.distance``.

    As in the recovery itself it is the operated images that are compared. Raises StoreError where the block of ``of``
    is not stored.
    """
    torch.set_num_threads(request.threads)
    began = time.perf_counter()
    distance = world.distance(request.distance, request.distance_identity)
    rows, codes = world.block(request.of, block)
    passes = len(rows) // len(set(rows.image.tolist()))
    if isinstance(request.of, Neighbours):
        aims, found = _neighbours(request.of, rows, passes, world)
    else:
        aims, found = _recovered(request.of, block, rows, codes, passes, world)
    phi = on_generated(request.of.operator)
    apart = np.empty(len(rows))
    for label in range(passes):
        apart[label::passes] = distance(phi(found[label::passes]), phi(aims)).double().cpu().numpy()
    spent = 0.0 if isinstance(request.of, Neighbours) else 1.0
    return Block(
        image=rows.image,
        label=rows.label,
        values={"distance": apart, "evaluations": np.full(len(rows), spent)},
        outcome=rows.outcome,
        evaluations=int(spent * len(rows)),
        seconds=time.perf_counter() - began,
    )


def _recovered(
    request: Recovery, block: int, rows: Rows, codes: list[bytes], passes: int, world: World
) -> tuple[Tensor, Tensor]:
    """The targets of a block, [n, c, h, w], and its recovered images, [rows, c, h, w]: one batch per label."""
    generator = world.measured(request.model)
    targets = targets_of(request, block, world, generator)
    code = torch.from_numpy(np.stack([np.frombuffer(c, dtype="<f4") for c in codes])).to(world.device)
    label = None if request.label == "none" else torch.from_numpy(labels_used(request.label, rows)).to(world.device)
    images = torch.empty(len(rows), *generator.image, device=world.device)
    for i in range(passes):
        under = None if label is None else label[i::passes]
        images[i::passes] = generator.decode(code[i::passes], under, space=request.space)
    return targets.aims, images


def _neighbours(request: Neighbours, rows: Rows, passes: int, world: World) -> tuple[Tensor, Tensor]:
    """The targets of a block, [n, c, h, w], and their nearest training images, [rows, c, h, w]."""
    indices = rows.image[::passes].tolist()
    images, _ = world.images(request.images, indices)
    if not request.operator.both_sides:
        images = request.operator(images, operator_streams(request, indices, world))
    found, _ = world.images(request.train, rows["neighbour"].astype(np.int64).tolist())
    return images, found
