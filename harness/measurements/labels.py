"""Labels that a measurement relies on."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from preimage.harness.errors import DatasetError
from preimage.harness.requests import LabelRule, Split
from preimage.harness.rows import Rows


def check_labels(labels: Tensor, classes: int, split: Split) -> None:
    """Raises DatasetError where an image has no label, or one that the model does not know. labels: [n] int64."""
    wrong = (labels < 0) | (labels >= classes)
    if bool(wrong.any()):
        raise DatasetError(
            f"data set {split.dataset!r}, split {split.split!r}: {int(wrong.sum())} of {len(labels)} images have "
            f"no label from 0 to {classes - 1} (label {int(labels[wrong][0])} seen; -1: none). "
            "Give every image its class"
        )


def labels_used(rule: LabelRule, rows: Rows) -> NDArray[np.int64]:
    """What the codes of stored rows are decoded under, [rows]: their labels, or their parts of a mixture."""
    return rows["part"].astype(np.int64) if rule == "part" else rows.label


def labels_asked(rule: LabelRule, own: Tensor, classes: int) -> list[Tensor | None]:
    """The labels [n] of each pass over a block: none, the images' own, or each class (each part of a mixture) in
    turn."""
    match rule:
        case "none":
            return [None]
        case "true":
            return [own]
        case "every" | "part":
            return [torch.full_like(own, label) for label in range(classes)]
