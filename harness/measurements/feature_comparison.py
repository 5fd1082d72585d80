"""Sets of features compared, measured: all images in row 0, all but one group of them in each further row."""

from __future__ import annotations

import time

import numpy as np
import torch

from preimage.harness.feature_requests import FeatureComparison
from preimage.harness.frechet import frechet_distance, frechet_distances_without
from preimage.harness.groups import Groups
from preimage.harness.kernel_distance import kernel_distances
from preimage.harness.manifolds import compare_manifolds
from preimage.harness.measurements.features import stored_features
from preimage.harness.rows import Block
from preimage.harness.world import World


@torch.no_grad()
def measure_comparison(request: FeatureComparison, block: int, world: World) -> Block:
    """Row 0: the values of all images. Row g: those without group g, for a jackknife."""
    torch.set_num_threads(request.threads)
    began = time.perf_counter()
    groups = Groups(request.size, request.groups)
    sets = [stored_features(one, request.size, world) for one in (request.generated, request.train, request.val)]
    generated, train, val = (features[groups.order.to(world.device)] for features in sets)
    manifolds = compare_manifolds(real=val, fake=generated, groups=groups, k=request.k)
    without = {
        "frechet_train": frechet_distances_without(real=train, fake=generated, groups=groups),
        "frechet_val": frechet_distances_without(real=val, fake=generated, groups=groups),
    }
    columns = {
        "frechet_train": [frechet_distance(real=train, fake=generated), *without["frechet_train"]],
        "frechet_val": [frechet_distance(real=val, fake=generated), *without["frechet_val"]],
        "kid": kernel_distances(real=val, fake=generated, groups=groups),
        **manifolds._asdict(),
        "images": [request.size, *(request.size - size for size in groups.sizes)],
    }
    # A request that asks for fewer rows at a time computes them all each time; the default block holds all of them.
    rows = range(block * request.block, min((block + 1) * request.block, request.rows))
    return Block(
        image=np.array(rows, dtype=np.int64),
        label=np.full(len(rows), -1),
        values={name: np.array(column, dtype=np.float64)[rows.start : rows.stop] for name, column in columns.items()},
        seconds=time.perf_counter() - began,
    )
