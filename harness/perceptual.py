"""Distances that look through a backbone: LPIPS, and features of VGG (METHODS 8). All are Euclidean in an embedding."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from preimage.harness.backbones import Backbone, lastingly
from preimage.harness.checkpoints import read_tensors
from preimage.harness.distances import Backbones
from preimage.harness.errors import WeightsError

HEADS = {"lpips-alex": "alex", "lpips-vgg": "vgg", "lpips-squeeze": "squeeze"}
"""What the ``lpips`` package calls the learned weights of each."""
EPSILON = 1e-10
"""What the ``lpips`` package adds to the norm of a position's features."""


class LayerDistance:
    """``sum over layers of ||e_l(x) - e_l(y)||^2``, e_l(x) what a subclass makes of a backbone's l-th map; squared.

    ``embed`` stacks the layers, [n, k], in one pass through the backbone.
    """

    squared = True

    def __init__(self, name: str, backbone: Backbone, what: str) -> None:
        self.name, self.backbone = name, backbone
        self.identity = hashlib.sha256(json.dumps([what, backbone.identity]).encode()).hexdigest()
        self.rule = backbone.rule

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        pairs = zip(self.backbone.layers(x), self.backbone.layers(y), strict=True)
        squares = [(self._part(i, a) - self._part(i, b)).square().sum(dim=(1, 2, 3)) for i, (a, b) in enumerate(pairs)]
        return torch.stack(squares).sum(dim=0)

    def embed(self, x: Tensor) -> Tensor | None:
        parts = [self._part(i, layer).flatten(1) for i, layer in enumerate(self.backbone.layers(x))]
        return torch.cat(parts, dim=1)

    def _part(self, index: int, layer: Tensor) -> Tensor:
        """e_l of the images' maps, [n, channels, height, width]."""
        raise NotImplementedError


class Lpips(LayerDistance):
    """LPIPS, version 0.1 (Zhang et al., CVPR 2018): ``e_l = sqrt(w_l / (H_l W_l)) * f_l / (||f_l|| + 1e-10)``.

    f_l are the features of the l-th layer, normalised at each position; w_l >= 0 are the learned weights of its
    channels, and channels of weight 0 are left out of the embedding. Where all features of a position are 0, e_l is 0
    and so is its gradient.

    backbone: with the layers of ``lpips``'s network. heads: w_l, [channels] each. Raises WeightsError for a negative
    weight.
    """

    def __init__(self, name: str, backbone: Backbone, heads: Sequence[Tensor]) -> None:
        super().__init__(name, backbone, f"lpips 0.1 {_hash(heads)}")
        if any((head < 0).any() for head in heads):
            raise WeightsError(f"distance {name!r}: its heads have negative weights; they must be 0 or more")
        self._heads = _Heads(heads)

    def _part(self, index: int, layer: Tensor) -> Tensor:
        kept, root = self._heads.on(layer)[index]
        height, width = layer.shape[2:]
        squares = layer.square().sum(dim=1, keepdim=True)
        norm = torch.where(squares > 0, squares, 1.0).sqrt()
        inverse = torch.where(squares > 0, 1 / (norm + EPSILON), 0.0)
        part: Tensor = layer.index_select(1, kept) * inverse * (root * float(height * width) ** -0.5)
        return part


class Features(LayerDistance):
    """Squared differences of a backbone's layers, their mean over each layer's values, summed over layers.

    ``e_l = f_l / sqrt(C_l H_l W_l)``: the loss of Johnson et al. (ECCV 2016), which Webster et al. (CVPR 2019, section
    2.2) take for phi. Of VGG the layers are the last ReLU of each of its five blocks.
    """

    def __init__(self, name: str, backbone: Backbone) -> None:
        super().__init__(name, backbone, "features, mean over each layer")

    def _part(self, index: int, layer: Tensor) -> Tensor:
        part: Tensor = layer * float(layer[0].numel()) ** -0.5
        return part


class _Heads:
    """Of each layer the channels whose weight is not 0, and the root of their weights, [kept, 1, 1]."""

    def __init__(self, heads: Sequence[Tensor]) -> None:
        kept = [head.nonzero().flatten() for head in heads]
        self._parts = [(k, head[k].sqrt()[:, None, None]) for k, head in zip(kept, heads, strict=True)]

    def on(self, like: Tensor) -> list[tuple[Tensor, Tensor]]:
        """The same where ``like`` is, in its dtype."""
        _, first = self._parts[0]
        if first.device != like.device or first.dtype != like.dtype:
            device, dtype = like.device, like.dtype
            self._parts = lastingly(lambda: [(k.to(device), root.to(device, dtype)) for k, root in self._parts])
        return self._parts


def open_lpips(name: str, backbone: str, backbones: Backbones) -> Lpips:
    """LPIPS of that name through a backbone, with the heads of the installed ``lpips`` package. Raises WeightsError."""
    return Lpips(name, _of_architecture(backbone, name, backbones), _heads_of(HEADS[name]))


def open_features(name: str, backbone: str, backbones: Backbones) -> Features:
    """The features of a backbone as a distance. Raises WeightsError."""
    return Features(name, _of_architecture(backbone, name, backbones))


def _of_architecture(architecture: str, distance: str, backbones: Backbones) -> Backbone:
    """The backbone that is named as its architecture is: a card may have put another in its place."""
    backbone = backbones(architecture)
    found = getattr(backbone, "architecture", type(backbone).__name__)
    if found != architecture:
        raise WeightsError(
            f"distance {distance!r} looks through {architecture}, but the card of backbone {backbone.name!r} says "
            f"architecture {found}. Write `architecture: {architecture}` there, or give the card another name"
        )
    return backbone


@cache
def _heads_of(net: str) -> tuple[Tensor, ...]:
    """The weights of each layer's channels, from the package's file; its code is not imported."""
    found = importlib.util.find_spec("lpips")
    if found is None or not found.submodule_search_locations:
        raise WeightsError("LPIPS needs the package lpips, which holds its learned weights. Type `pip install lpips`")
    held = read_tensors(Path(found.submodule_search_locations[0]) / "weights" / "v0.1" / f"{net}.pth")
    return tuple(held[f"lin{i}.model.1.weight"].flatten().float() for i in range(len(held)))


def _hash(tensors: Sequence[Tensor]) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{list(tensor.shape)}".encode() + tensor.cpu().float().numpy().tobytes())
    return digest.hexdigest()
