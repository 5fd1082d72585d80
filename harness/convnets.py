"""torchvision's convolutional networks as backbones: the ``features`` of AlexNet, VGG16, VGG19 and SqueezeNet 1.1."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from preimage.harness.backbone_cards import BackboneCard
from preimage.harness.backbones import Backbone, check_channels, lastingly
from preimage.harness.checkpoints import misfits, not_finite, read_tensors
from preimage.harness.errors import WeightsError
from preimage.harness.weights import locate

SIDE = 64
"""What the shorter side of images that are too small is resized to (METHODS 8)."""
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""Of the ``lpips`` package's scaling layer: a channel of ``2x - 1`` becomes ``(2x - 1 - shift) / scale``."""
PREFIX = "features."


@dataclass(frozen=True)
class Architecture:
    """A network of torchvision's.

    taps: the modules of ``features`` whose outputs are its layers, those of the ``lpips`` package; of VGG19, which it
    has not, likewise the last ReLU of each block. smallest: the least side of an image that all of them can be made of.
    """

    taps: tuple[int, ...]
    smallest: int


ARCHITECTURES = {
    "alexnet": Architecture((1, 4, 7, 9, 11), 31),
    "vgg16": Architecture((3, 8, 15, 22, 29), 16),
    "vgg19": Architecture((3, 8, 17, 26, 35), 16),
    "squeezenet1_1": Architecture((1, 4, 7, 9, 10, 11, 12), 17),
}


class ConvNet(Backbone):
    """The convolutions of a torchvision network, their outputs tapped where the ``lpips`` package taps them.

    name: the card's. weights: tensors under torchvision's names, ``features.N.weight``; others are ignored.
    Grey images are repeated to three channels; where the shorter side is under ``smallest`` it is resized bilinearly
    (not aligned at corners) to 64, the longer one in proportion.
    Raises WeightsError that lists the tensors which are missing, left over, of another shape or not finite.
    """

    def __init__(self, name: str, architecture: str, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.name, self.architecture = name, architecture
        self._taps, self._smallest = ARCHITECTURES[architecture].taps, ARCHITECTURES[architecture].smallest
        used = {key: value for key, value in weights.items() if key.startswith(PREFIX)}
        features = _empty(architecture)
        _check(features.state_dict(), used, f"backbone {name!r} ({architecture})")
        exact = {key: value.detach().to(torch.float32).clone().contiguous() for key, value in used.items()}
        features.load_state_dict({key.removeprefix(PREFIX): value for key, value in exact.items()}, assign=True)
        self.network = features
        self.requires_grad_(False).eval()
        self.register_buffer("shift", torch.tensor(SHIFT)[:, None, None], persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE)[:, None, None], persistent=False)
        self.identity = _identity(architecture, exact)
        self.rule = (
            f"grey repeated to three channels; shorter side under {self._smallest} resized bilinearly to {SIDE}, "
            "aspect kept; scaled as by the lpips package"
        )

    def layers(self, images: Tensor) -> list[Tensor]:
        """The maps of the LPIPS layers: AlexNet and VGG 5 of them, SqueezeNet 7."""
        x = self._ready(images)
        found = []
        for i, module in enumerate(self.network):
            x = module(x)
            if i in self._taps:
                found.append(x)
                if i == self._taps[-1]:
                    break
        return found

    def features(self, images: Tensor) -> Tensor:
        """The last LPIPS layer's map, its mean over positions: [n, 256] of AlexNet, [n, 512] of the others."""
        return self.layers(images)[-1].mean(dim=(2, 3))

    def _ready(self, images: Tensor) -> Tensor:
        """Images in the network's size, channels and scale, in the network's dtype. Raises UsageError."""
        check_channels(images, f"backbone {self.name!r}")
        self._follow(images)
        x = images.to(self.shift.dtype)
        height, width = x.shape[2:]
        shorter = min(height, width)
        if shorter < self._smallest:
            size = [round(side * SIDE / shorter) for side in (height, width)]
            x = functional.interpolate(x, size=size, mode="bilinear", align_corners=False)
        return (2 * x.expand(-1, 3, -1, -1) - 1 - self.shift) / self.scale

    def _follow(self, images: Tensor) -> None:
        """Move to where the images are; double precision where they have it, else single."""
        dtype = torch.float64 if images.dtype == torch.float64 else torch.float32
        if self.shift.device != images.device or self.shift.dtype != dtype:
            lastingly(lambda: self.to(device=images.device, dtype=dtype))

    shift: Tensor
    scale: Tensor


def load_convnet(card: BackboneCard, offline: bool) -> ConvNet:
    """The network of a card, loaded once per process and file. Raises WeightsError."""
    if card.weights is None:
        raise WeightsError(
            f"backbone {card.name!r}: its card names no weights. Write `weights: PATH`, a file with torchvision's "
            f"names ({PREFIX}0.weight, ...)"
        )
    path = locate(card.weights, offline=offline)
    state = path.stat()
    return _loaded(card.name, card.architecture, path.resolve(), state.st_size, state.st_mtime_ns)


@cache
def _loaded(name: str, architecture: str, path: Path, size: int, mtime: int) -> ConvNet:
    return ConvNet(name, architecture, read_tensors(path))


def _empty(architecture: str) -> nn.Sequential:
    """The network's ``features`` without memory for its weights."""
    from torchvision import models

    with torch.device("meta"):
        features: nn.Sequential = models.get_model(architecture, weights=None).features
    return features


def _check(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], what: str) -> None:
    if faults := misfits({PREFIX + key: value for key, value in wanted.items()}, given) + not_finite(given):
        listed = "\n  ".join(faults)
        raise WeightsError(
            f"the weights do not fit {what}:\n  {listed}\nGive torchvision's file of that network, or its "
            "convolutions alone under the same names"
        )


def _identity(architecture: str, weights: Mapping[str, Tensor]) -> str:
    """The hash of all that the maps depend on: the tensors that are used, and what is done to images first."""
    known = ARCHITECTURES[architecture]
    said = [architecture, known.taps, known.smallest, SIDE, "bilinear", SHIFT, SCALE]
    digest = hashlib.sha256(json.dumps(said).encode())
    for key, value in sorted(weights.items()):
        digest.update(f"{key}{list(value.shape)}".encode())
        digest.update(value.cpu().numpy().tobytes())
    return digest.hexdigest()
