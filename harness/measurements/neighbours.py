"""Nearest training images, exactly: what a model that remembers all and generates nothing would score."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from preimage.harness.cards import ImageSpec
from preimage.harness.distances import Distance, embedding_of
from preimage.harness.embeddings import Embedded, Source, batch_size, embedded
from preimage.harness.errors import DatasetError, UsageError
from preimage.harness.measurements.labels import check_labels
from preimage.harness.measurements.targets import as_large, operator_streams
from preimage.harness.nearest import Doubles, Floats, Indices, Search
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
    passes = [-1]
    if request.label == "every":
        check_labels(truth, request.labels, request.images)
        passes = list(range(request.labels))
    train = world.keep_latest("neighbours", _kept_by(request), lambda: _train(request, world, distance, phi))
    nearest = _nearest(request, train, _embed(distance, aims, request.distance), first)
    found, _ = world.images(request.train, nearest.flatten().tolist())
    target, near = aims.repeat_interleave(len(passes), dim=0), phi(found)
    squares = (near - target).double().square().flatten(1)
    return Block(
        image=np.repeat(np.arange(first, first + count), len(passes)),
        label=np.tile(np.array(passes), count),
        values={
            "distance": _distances(distance, near, target),
            "mse": squares.mean(dim=1).cpu().numpy(),
            "l2": squares.sum(dim=1).sqrt().cpu().numpy(),
            "neighbour": nearest.flatten().astype(np.float64),
            "neighbour_label": train.labels[nearest.flatten()].astype(np.float64),
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


def _kept_by(request: Neighbours) -> tuple[object, ...]:
    """What the embedded training images depend on."""
    shared = request.operator if request.operator.both_sides else None
    named = (request.train, request.train_size, request.distance, request.distance_identity)
    return (*named, shared, request.threads, request.block)


def _train(request: Neighbours, world: World, distance: Distance, phi: Callable[[Tensor], Tensor]) -> Embedded:
    """The embedded training images, where the limits have a place for them."""

    def embed(indices: range) -> tuple[Floats, Indices]:
        images, labels = world.images(request.train, indices)
        if len(images) < len(indices):
            raise DatasetError(
                f"data set {request.train.dataset!r}, split {request.train.split!r} has no image {indices.stop - 1}, "
                f"but {request.train_size:,} training images were asked for. Correct `trained_on` of the card"
            )
        return _embed(distance, phi(images), request.distance), labels.cpu().numpy()

    image = world.dataset(request.train.dataset).image
    described = request.describe()
    named = {name: described[name] for name in ("train", "distance", "distance_identity", "threads")}
    named["operator"] = described["operator"] if request.operator.both_sides else None
    source = Source(
        request.train_size,
        batch_size(image),
        embed,
        {**named, "image": str(image), "device": str(world.device)},
        cheap=not request.distance_identity,
        what=f"{request.train_size:,} images of {request.train.dataset} in {request.distance}",
    )
    return embedded(source, world.limits.memory, world.embedding_files, request.block, world.say)


def _nearest(request: Neighbours, train: Embedded, queries: Floats, first: int) -> Indices:
    """The index of the nearest training image of each query, [n, 1]; or of each query under each label, [n, labels]."""
    own = np.arange(first, first + len(queries)) if request.leave_one_out and request.images == request.train else None
    labels = request.labels if request.label == "every" else 0
    search = Search(queries, labels, own, threads=request.threads, slab=train.room.slab)
    for part in train.parts():
        search.add(part)
    missing = np.argwhere(search.index < 0)
    if len(missing):
        image, label = missing[0].tolist()
        raise UsageError(
            f"image {first + image} has no neighbour{f' of label {label}' if labels else ''} among the first "
            f"{request.train_size:,} training images{' but itself' if own is not None else ''}. Score a model that was "
            "trained on more images" + (", with images of every label" if labels else "")
        )
    return search.index


def _embed(distance: Distance, images: Tensor, name: str) -> Floats:
    """Images in the distance's embedding, [n, k], a batch at a time: the same batches whatever the limits are."""
    parts = []
    for some in torch.split(images, batch_size(_spec(images))):
        part = embedding_of(distance, some)
        if part is None:
            raise UsageError(
                f"distance {name!r} has no embedding, so that neighbours cannot be searched in it. "
                "Use one that has, e.g. squared-l2 or l2"
            )
        parts.append(part.float().cpu())
    return torch.cat(parts).contiguous().numpy()


def _distances(distance: Distance, near: Tensor, target: Tensor) -> Doubles:
    """The distance of each pair, a batch at a time."""
    size = batch_size(_spec(near))
    pairs = zip(torch.split(near, size), torch.split(target, size), strict=True)
    return torch.cat([distance(x, y).double() for x, y in pairs]).cpu().numpy()


def _spec(images: Tensor) -> ImageSpec:
    return ImageSpec(*images.shape[1:])
