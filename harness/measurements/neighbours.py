"""Nearest training images, exactly: what a model that remembers all and generates nothing would score."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from preimage.harness.distances import Distance
from preimage.harness.errors import UsageError
from preimage.harness.measurements.labels import check_labels
from preimage.harness.measurements.targets import as_large, operator_streams
from preimage.harness.operators import on_generated
from preimage.harness.pictures import SHOWN, strip
from preimage.harness.requests import Neighbours
from preimage.harness.rows import Block
from preimage.harness.world import World


@torch.no_grad()
def measure_neighbours(request: Neighbours, block: int, world: World) -> Block:
    """The nearest of the first ``train_size`` training images for each image of a block (METHODS 7).

    Distances and errors are those of the operated images, recomputed between the pair that the search found, so that
    they are exact. Under the label rule ``every`` there is one row per label: the nearest training image of that label.
    """
    torch.set_num_threads(request.threads)
    began = time.perf_counter()
    distance = world.distance(request.distance, request.distance_identity)
    images, truth = world.images(request.images, range(block * request.block, (block + 1) * request.block))
    first, count = block * request.block, len(images)
    streams = operator_streams(request, range(first, first + count), world)
    aims, phi = request.operator(images, streams), on_generated(request.operator)
    if request.label == "every":
        check_labels(truth, request.labels, request.images)
    shared = request.operator if request.operator.both_sides else None
    embedded, labels = world.keep(
        ("neighbours", request.train, request.train_size, request.distance, shared, request.threads),
        lambda: _embedded_train(request, world, distance, phi),
    )
    apart = _gram_distances(_embed(distance, aims, request.distance), embedded)
    passes = list(range(request.labels)) if request.label == "every" else [-1]
    nearest = torch.stack([_nearest(apart, labels, label) for label in passes], dim=1).flatten()
    found, _ = world.images(request.train, nearest.tolist())
    target, near = aims.repeat_interleave(len(passes), dim=0), phi(found)
    squares = (near - target).double().square().flatten(1)
    return Block(
        image=np.repeat(np.arange(first, first + count), len(passes)),
        label=np.tile(np.array(passes), count),
        values={
            "distance": distance(near, target).double().cpu().numpy(),
            "mse": squares.mean(dim=1).cpu().numpy(),
            "l2": squares.sum(dim=1).sqrt().cpu().numpy(),
            "neighbour": nearest.double().cpu().numpy(),
            "neighbour_label": labels[nearest].double().cpu().numpy(),
            "true_label": truth.repeat_interleave(len(passes)).double().cpu().numpy(),
            "evaluations": np.zeros(count * len(passes)),
        },
        outcome=("EXACT",) * (count * len(passes)),
        pixels=hashlib.sha256(images.cpu().numpy().tobytes()).hexdigest(),
        seconds=time.perf_counter() - began,
        pictures={}
        if block or len(passes) > 1
        else {"targets": strip(as_large(aims[:SHOWN], images)), "recoveries": strip(found[:SHOWN])},
    )


def _embedded_train(
    request: Neighbours, world: World, distance: Distance, phi: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    parts, labels = [], []
    for start in range(0, request.train_size, 1024):
        images, truth = world.images(request.train, range(start, min(start + 1024, request.train_size)))
        parts.append(_embed(distance, phi(images), request.distance))
        labels.append(truth)
    return torch.cat(parts), torch.cat(labels)


def _embed(distance: Distance, images: Tensor, name: str) -> Tensor:
    embedded = distance.embed(images)
    if embedded is None:
        raise UsageError(
            f"distance {name!r} has no embedding, so that neighbours cannot be searched in it. "
            "Use one that has, e.g. squared-l2 or l2"
        )
    return embedded


def _gram_distances(x: Tensor, y: Tensor) -> Tensor:
    """``||x_i - y_j||^2`` up to rounding, [n, m], by one matrix product in float64 blocks of y."""
    left = x.double()
    parts = []
    for start in range(0, len(y), 8192):
        right = y[start : start + 8192].double()
        parts.append(left.square().sum(1, keepdim=True) - 2 * left @ right.T + right.square().sum(1))
    return torch.cat(parts, dim=1)


def _nearest(apart: Tensor, labels: Tensor, label: int) -> Tensor:
    if label < 0:
        return apart.argmin(dim=1)
    of_label = labels == label
    if not bool(of_label.any()):
        raise UsageError(f"no training image has label {label}: its nearest cannot be found")
    return torch.where(of_label, apart, torch.full_like(apart, torch.inf)).argmin(dim=1)
