"""Backbones: fixed image networks that distances and feature metrics look through; loaded once per process, frozen."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from torch import Tensor, nn

from preimage.harness.backbone_cards import BackboneCard
from preimage.harness.errors import CardError, UsageError, WeightsError
from preimage.harness.hooks import lazy
from preimage.harness.weights import here

T = TypeVar("T")

_CONVNETS, _EXTRACTORS = "preimage.harness.convnets", "preimage.harness.extractors"
LOADERS = {
    "alexnet": f"{_CONVNETS}:load_convnet",
    "vgg16": f"{_CONVNETS}:load_convnet",
    "vgg19": f"{_CONVNETS}:load_convnet",
    "squeezenet1_1": f"{_CONVNETS}:load_convnet",
    "inception_v3": f"{_EXTRACTORS}:load_inception",
    "timm/": f"{_EXTRACTORS}:load_timm",
}
"""What loads each architecture, ``(card, offline) -> Backbone``; a name that ends in / stands for all that begin so."""


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
    """The backbone that a card describes; offline, the network is never touched.

    Raises CardError for an architecture that is not known, WeightsError where the weights cannot be had or do not fit.
    """
    loader = LOADERS.get(card.architecture) or LOADERS.get(card.architecture.partition("/")[0] + "/")
    if loader is None or card.architecture.endswith("/"):
        close = difflib.get_close_matches(card.architecture, LOADERS, n=1)
        guess = f" Did you mean {close[0]!r}?" if close else ""
        known = ", ".join("timm/NAME" if name == "timm/" else name for name in LOADERS)
        raise CardError(
            f"card {card.name!r}: architecture {card.architecture!r} is not known.{guess} Write one of {known}"
        )
    if offline and card.weights is not None and here(card.weights) is None:
        raise WeightsError(
            f"backbone {card.name!r}: its weights {card.weights.uri!r} are not on this machine, and nothing is "
            f"downloaded offline. {_advice(card)}"
        )
    try:
        loaded: Backbone = lastingly(lambda: lazy(loader)(card, offline))
    except WeightsError as error:
        if card.weights is None or here(card.weights) is not None:
            raise
        raise WeightsError(f"backbone {card.name!r}: {error}. {_advice(card)}") from error
    return loaded


def check_channels(images: Tensor, what: str) -> None:
    """Raises UsageError unless these are images of one or three channels, [n, c, h, w]."""
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise UsageError(
            f"{what} takes images [n, c, h, w] of one channel or three, not {list(images.shape)}. Choose a distance or "
            "an extractor without a backbone, e.g. squared-l2, or give images of one or three channels"
        )


def lastingly(make: Callable[[], T]) -> T:
    """What ``make()`` gives, made where it may outlive the moment.

    Tensors made in inference mode cannot take part in a gradient later, those made inside a transform of torch.func
    are dead after it. Both are a thread's own, so it is made in another thread.
    """
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(make).result()


def _advice(card: BackboneCard) -> str:
    return (
        f"Type `preimage fetch {card.name}` on a machine with a network, or give --card FILE.yaml with kind: backbone, "
        f"name: {card.name}, architecture: {card.architecture}, weights: PATH"
    )
