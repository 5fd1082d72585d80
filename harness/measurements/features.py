"""Features, measured: what an extractor sees in a split's images or in the model's own samples."""

from __future__ import annotations

import hashlib
import time

import numpy as np
import torch

from preimage.harness.errors import WeightsError
from preimage.harness.feature_requests import Features
from preimage.harness.measurements.targets import own_samples
from preimage.harness.requests import Samples
from preimage.harness.rows import Block
from preimage.harness.world import World


@torch.no_grad()
def measure_features(request: Features, block: int, world: World) -> Block:
    """The features of a block's images, clamped to [0, 1] first: one row per image, the vector as the row's code.

    Raises WeightsError where the extractor is not the planned one or gives features that are not finite.
    """
    torch.set_num_threads(request.threads)
    began = time.perf_counter()
    extractor = world.backbone(request.extractor)
    if extractor.identity != request.extractor_identity:
        raise WeightsError(
            f"extractor {request.extractor!r} is not the one that was planned: identity {extractor.identity[:12]} "
            f"loaded, {request.extractor_identity[:12] or 'none'} planned. Its weights were replaced meanwhile: type "
            "the same command again"
        )
    indices = range(block * request.block, (block + 1) * request.block)
    if isinstance(request.images, Samples):
        generator = world.measured(request.model)
        images, labels = own_samples(request.images, request.model.name, indices, world, generator)
        spent = len(images)
    else:
        images, _ = world.images(request.images, indices)
        labels, spent = torch.full((len(images),), -1), 0
    features = extractor.features(images.clamp(0, 1)).float()
    if features.shape[:1] != images.shape[:1] or features.ndim != 2 or not bool(torch.isfinite(features).all()):
        raise WeightsError(
            f"extractor {request.extractor!r} gave {list(features.shape)} numbers for {len(images)} images, or numbers "
            "that are not finite; it must give one finite vector per image. Check its weights and its card"
        )
    vectors = features.cpu().numpy().astype("<f4")
    count = len(vectors)
    return Block(
        image=np.arange(indices.start, indices.start + count),
        label=labels.cpu().numpy().astype(np.int64),
        values={
            "norm": np.linalg.norm(vectors.astype(np.float64), axis=1),
            "evaluations": np.full(count, float(spent > 0)),
        },
        code=tuple(vector.tobytes() for vector in vectors),
        pixels=hashlib.sha256(images.cpu().numpy().tobytes()).hexdigest(),
        evaluations=spent,
        seconds=time.perf_counter() - began,
    )


def stored_features(request: Features, count: int, world: World) -> torch.Tensor:
    """The stored features of images 0 to count - 1, [count, k] float64 on the device."""
    _, codes = world.rows(request, count)
    found = np.frombuffer(b"".join(codes), dtype="<f4").reshape(len(codes), -1)
    return torch.from_numpy(found.astype(np.float64)).to(world.device)
