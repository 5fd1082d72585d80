"""Labels that a measurement relies on."""

from __future__ import annotations

import torch
from torch import Tensor

from preimage.harness.errors import DatasetError
from preimage.harness.requests import LabelRule, Split


def check_labels(labels: Tensor, classes: int, split: Split) -> None:
    """Raises DatasetError where an image has no label, or one that the model does not know. labels: [n] int64."""
    wrong = (labels < 0) | (labels >= classes)
    if bool(wrong.any()):
        raise DatasetError(
            f"data set {split.dataset!r}, split {split.split!r}: {int(wrong.sum())} of {len(labels)} images have "
            f"no label from 0 to {classes - 1} (label {int(labels[wrong][0])} seen; -1: none). "
            "Give every image its class"
        )


def labels_asked(rule: LabelRule, own: Tensor, classes: int) -> list[Tensor | None]:
    """The labels [n] of each pass over a block: none, the images' own, or each class in turn."""
    match rule:
        case "none":
            return [None]
        case "true":
            return [own]
        case "every":
            return [torch.full_like(own, label) for label in range(classes)]
