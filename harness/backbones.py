"""Backbones: fixed image networks that distances and feature metrics look through; loaded once per process, frozen."""

from __future__ import annotations

from torch import Tensor, nn

from preimage.harness.backbone_cards import BackboneCard
from preimage.harness.errors import WeightsError


class Backbone(nn.Module):
    """A fixed image network, frozen, in eval mode, differentiable in the images.

    name: its card's. identity: sha256 of architecture, the tensors that are used, preprocessing and resize rule.
    rule: one line that says how images are made ready (channels, resizing, normalisation).
    Images are [n, c, h, w] float32, nominally in [0, 1], one channel or RGB, on any device: it follows them.
    """

    name: str
    identity: str
    rule: str

    def layers(self, images: Tensor) -> list[Tensor]:
        """Feature maps of a convolutional network's stages, [n, channels, height, width] each, first layers first."""
        raise NotImplementedError

    def features(self, images: Tensor) -> Tensor:
        """One feature vector per image, [n, k]: what feature metrics compare."""
        raise NotImplementedError


def load_backbone(card: BackboneCard, *, offline: bool = False) -> Backbone:
    """The backbone that a card describes. Raises WeightsError where its weights cannot be had or do not fit."""
    raise WeightsError(f"backbone {card.name!r}: architecture {card.architecture!r} is not known")
