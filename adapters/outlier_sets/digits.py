"""Handwritten digits that come with scikit-learn: 1,797 of 8x8 pixels in 17 levels.

They are the test part of E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI 1998 (CC BY 4.0).
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from preimage.harness.datasets import ArrayDataset

TRAIN = 797
LEVELS = 16


def open_dataset() -> ArrayDataset:
    """The data set ``digits``: the first 797 images are ``train``, the other 1,000 are ``test``, in scikit-learn's
    order; level k is the grey k / 16."""
    digits = load_digits()
    images = (digits.images / LEVELS).astype(np.float32)
    labels = digits.target.astype(np.int64)
    splits = {"train": (images[:TRAIN], labels[:TRAIN]), "test": (images[TRAIN:], labels[TRAIN:])}
    return ArrayDataset("digits", splits, num_classes=10)
