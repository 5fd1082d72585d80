"""The data set ``shapes``: a round spot (class 0) or a straight bar (class 1), somewhere, more or less blurred."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from preimage.harness import ArrayDataset

SIDE = 8
SIZES = {"train": 512, "test": 128}


def factors(split: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """What each image of a split is drawn from: three standard normal numbers [n, 3], and its class [n]."""
    rng = np.random.default_rng({"train": 1, "test": 2}[split])
    return rng.standard_normal((SIZES[split], 3)), np.arange(SIZES[split]) % 2


def draw(code: NDArray[np.float64], label: NDArray[np.int64]) -> NDArray[np.float64]:
    """Images [n, 1, 8, 8] in [0, 1] of factors [n, 3]: across, down (or the bar's angle), blur."""
    x, y = np.meshgrid(np.linspace(-1, 1, SIDE), np.linspace(-1, 1, SIDE))
    across, down, blur = (0.6 * np.tanh(code.T))[:, :, None, None]
    angle = np.pi * down
    bar = (x - across) * np.cos(angle) + y * np.sin(angle)
    spot = np.hypot(x - across, y - down)
    distance = np.where(label[:, None, None] == 1, bar, spot)
    return np.exp(-((distance / (0.4 + 0.3 * blur)) ** 2))[:, None]


def open_dataset() -> ArrayDataset:
    """The data set, from arrays: levels of 8 bits, one label per image."""
    splits = {}
    for split in SIZES:
        code, label = factors(split)
        splits[split] = ((255 * draw(code, label)).round().astype(np.uint8), label)
    return ArrayDataset("shapes", splits)
