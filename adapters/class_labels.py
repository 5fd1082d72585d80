"""Labels as conditional generators take them: numbers of classes, weights of classes, or vectors in their place."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from preimage.harness.errors import GeneratorError


def checked_label(label: Tensor | None, code: Tensor, classes: int, vector: int | None = None) -> Tensor:
    """The label of codes [n, dim] if it is [n] int64 below ``classes``, or float: [n, classes] or [n, vector].

    A float label gets the codes' dtype. Raises GeneratorError that says what labels are.
    """
    count = len(code)
    if label is None:
        raise GeneratorError(f"this model has {classes} classes: give decode a label per code, [n] int64")
    if label.is_floating_point() and tuple(label.shape) in ((count, classes), (count, vector)):
        return label.to(code.dtype)
    if label.is_floating_point() or tuple(label.shape) != (count,):
        embedded = "" if vector is None else f", or class vectors [{count}, {vector}] float32"
        raise GeneratorError(
            f"labels are [{count}] int64, weights of the classes [{count}, {classes}] float32{embedded}; not "
            f"{list(label.shape)} {label.dtype}"
        )
    if len(label) and not 0 <= int(label.min()) <= int(label.max()) < classes:
        raise GeneratorError(f"labels are {sorted(set(label.tolist()))}; they must be from 0 to {classes - 1}")
    return label


def class_vectors(label: Tensor | None, code: Tensor, table: Tensor) -> Tensor:
    """The vectors [n, dim] of the labels of n codes: rows of ``table`` [classes, dim], or weighted sums of them.

    A float label of the width of a vector is taken as the vectors themselves, unless there are as many classes.
    """
    classes, dim = table.shape
    label = checked_label(label, code, classes, dim)
    if not label.is_floating_point():
        return functional.embedding(label, table)
    return label @ table if label.shape[1] == classes else label
