"""Classifiers: supervised networks that name what an image shows. They make no images; they are the ceiling."""

from __future__ import annotations

from torch import Tensor, nn


class Classifier(nn.Module):
    """A supervised network, frozen, in eval mode, images independent, with preprocessing of its own.

    A subclass sets ``num_classes``, ``identity`` (sha256 of everything that its answers depend on: architecture,
    tensors, preprocessing) and ``rule`` (one line: how images are made ready), and writes ``logits``.
    """

    num_classes: int
    identity: str
    rule: str

    def logits(self, images: Tensor) -> Tensor:
        """Images [n, c, h, w] float32 in [0, 1], of any size, to unnormalised log-probabilities [n, classes]."""
        raise NotImplementedError(f"{type(self).__name__} does not define logits")
