"""Backbones and the distances that look through them: LPIPS and VGG features.

AlexNet's convolutions ship with the project; the others are torchvision's files, fetched when they are first needed, or
a file that a card names. Hook module: it opens nothing and leaves torch unimported.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from preimage.harness.distances import DistanceCard
from preimage.harness.hooks import Register, hookimpl, lazy

LPIPS = {"lpips-alex": ("alexnet", "AlexNet"), "lpips-vgg": ("vgg16", "VGG16")} | {
    "lpips-squeeze": ("squeezenet1_1", "SqueezeNet 1.1")
}
"""The backbone of each, and what to call it."""

FEATURES = {"vgg16-features": ("vgg16", "VGG16"), "vgg19-features": ("vgg19", "VGG19")}


@hookimpl
def register_backbones(register: Register) -> None:
    register(Path(__file__).parent)


@hookimpl
def register_distances(register: Register) -> None:
    home = "preimage.harness.perceptual"
    for name, (backbone, network) in LPIPS.items():
        opener = partial(lazy(f"{home}:open_lpips"), name, backbone)
        said = f"LPIPS (version 0.1) through {network}: unit-normalised features, weighted by what people see"
        register(DistanceCard(name, opener, (backbone,), said))
    for name, (backbone, network) in FEATURES.items():
        opener = partial(lazy(f"{home}:open_features"), name, backbone)
        said = f"Squared differences of {network}'s features, the last ReLU of each of its five blocks (Webster's phi)"
        register(DistanceCard(name, opener, (backbone,), said))
