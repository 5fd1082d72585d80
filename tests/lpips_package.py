"""The ``lpips`` package as the reference: its network filled with a backbone's weights, real images to compare on."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from pathlib import Path

import lpips
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from preimage.harness.backbone_cards import BackboneCard
from preimage.harness.backbones import Backbone, load_backbone
from preimage.harness.cards import Weights
from preimage.harness.distances import DistanceCard
from preimage.harness.perceptual import LayerDistance
from preimage.harness.plugins import installed

NETS = {"lpips-alex": "alex", "lpips-vgg": "vgg", "lpips-squeeze": "squeeze"}
"""What the package calls the network of each distance."""


def random_weights(backbone: str) -> dict[str, Tensor]:
    """Of torchvision's whole network, classifier included, of a scale that keeps its maps alive."""
    from torchvision import models

    with torch.device("meta"):
        shapes = {key: value.shape for key, value in models.get_model(backbone, weights=None).state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    state = {}
    for key, shape in shapes.items():
        if key.startswith("classifier.") and backbone != "squeezenet1_1":
            shape = torch.Size([1])  # of VGG19 it is half a gigabyte; nothing reads it
        fan = shape[1:].numel() if len(shape) == 4 else 1
        scale = (2 / fan) ** 0.5 if key.endswith("weight") else 0.1
        state[key] = scale * torch.randn(shape, generator=generator)
    return state


def opened(name: str, shared: Callable[[], Path], folder: Path) -> LayerDistance:
    """The distance with real weights where there are some: AlexNet's ship, VGG16's are reference data.

    Those of the others are random. shared: gives the folder of reference data. folder: where to write weights.
    """
    card = installed().distances[name]
    assert isinstance(card, DistanceCard)

    def backbones(backbone: str) -> Backbone:
        if backbone == "alexnet":
            return installed().backbone(backbone)
        if backbone == "vgg16":
            path = shared() / "assets" / "lpips" / "vgg16_features.safetensors"
        else:
            path = folder / f"{backbone}.pth"
            torch.save(random_weights(backbone), path)
        return load_backbone(BackboneCard(backbone, backbone, Weights(str(path))), offline=True)

    distance = card.open(backbones)
    assert isinstance(distance, LayerDistance)
    return distance


def package(net: str, network: nn.Module) -> nn.Module:
    """The package's LPIPS, its network's weights replaced by those of torchvision's ``features``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package uses names that torchvision has renamed
        reference: nn.Module = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    for part in reference.get_submodule("net").children():
        for name, module in part.named_children():
            module.load_state_dict(network.get_submodule(name).state_dict())
    return reference


def by_package(reference: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """What the package says of images in [0, 1]."""
    three = [images.expand(-1, 3, -1, -1) for images in (x, y)]
    with torch.no_grad():
        distances: Tensor = reference(*three, normalize=True).flatten()
    return distances


def clothes(n: int) -> Tensor:
    """Fashion-MNIST, [n, 1, 28, 28]."""
    return installed().dataset("fashion-mnist").read("test", range(n))[0]


def photographs(shared: Path, file: str, n: int) -> list[Tensor]:
    """JPEGs of a file of reference data, [3, h, w] each."""
    held = np.load(shared / "assets" / "data" / file)
    offsets = held["offsets"]
    pictures = [
        Image.open(io.BytesIO(held["blob"][offsets[i] : offsets[i + 1]].tobytes())).convert("RGB") for i in range(n)
    ]
    return [torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255 for picture in pictures]
