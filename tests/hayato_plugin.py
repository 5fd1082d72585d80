"""A user's plug-in: MNIST as arrays, and a conditional WGAN-GP that somebody else trained, read from its checkpoint.

``preimage run intriguing --plugin tests/hayato_plugin.py -m hayato -m mnist-1nn -d mnist-arrays`` runs it; the files
are found in the folder that PREIMAGE_ASSETS names.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from preimage.harness import (
    ArrayDataset,
    Config,
    DatasetCard,
    Family,
    Generator,
    ImageSpec,
    LatentSpace,
    ModelCard,
    StandardNormal,
    Weights,
    hookimpl,
)

ASSETS = Path(os.environ["PREIMAGE_ASSETS"])
IMAGE = ImageSpec(1, 28, 28)


class ConditionalGenerator(Generator):
    """A label embedding beside z, a linear layer, two upsampling convolutions; [-1, 1] is brought to [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.spaces = {"z": LatentSpace("z", 10, StandardNormal())}
        self.image, self.num_classes = IMAGE, 10
        self.label_emb = nn.Embedding(10, 10)
        self.l1 = nn.Sequential(nn.Linear(20, 6272))
        self.conv_blocks = nn.Sequential(
            nn.BatchNorm2d(128), nn.Upsample(scale_factor=2),
            nn.Conv2d(128, 128, 3, padding=1), nn.BatchNorm2d(128, 0.8), nn.ReLU(), nn.Upsample(scale_factor=2),
            nn.Conv2d(128, 64, 3, padding=1), nn.BatchNorm2d(64, 0.8), nn.ReLU(),
            nn.Conv2d(64, 1, 3, padding=1), nn.Tanh(),
        )  # fmt: skip

    def decode(self, code: Tensor, label: Tensor | None = None, *, space: str = "z") -> Tensor:
        """Images [n, 1, 28, 28] from codes [n, 10] and labels [n]."""
        assert label is not None
        hidden = self.l1(torch.cat([code, self.label_emb(label)], dim=1)).view(-1, 128, 7, 7)
        images: Tensor = self.conv_blocks(hidden) * 0.5 + 0.5
        return images


def build(config: Config, weights: Mapping[str, Tensor]) -> Generator:
    generator = ConditionalGenerator()
    generator.load_state_dict(dict(weights))
    return generator


def read(path: Path) -> tuple[Config, Mapping[str, Tensor]]:
    return {}, torch.load(path, map_location="cpu", weights_only=True)


def mnist() -> ArrayDataset:
    with np.load(ASSETS / "data" / "mnist.npz") as file:
        splits: dict[str, Any] = {
            split: (file[f"{split}_x"][:, None], file[f"{split}_y"].astype(np.int64)) for split in ("train", "test")
        }
    return ArrayDataset("mnist-arrays", splits)


@hookimpl
def register_families(register: Any) -> None:
    register(Family("hayato-cwgan-gp", build, read))


@hookimpl
def register_models(register: Any) -> None:
    weights = Weights(str(ASSETS / "generators" / "hayato_mnist_cwgangp" / "generator.pth"))
    register(ModelCard("hayato", "hayato-cwgan-gp", "mnist-arrays", IMAGE, 10, weights=weights))
    register(ModelCard("mnist-1nn", "memory", "mnist-arrays", IMAGE, 10, kind="reference"))
    register(ModelCard("mnist-1nn-300", "memory", "mnist-arrays", IMAGE, 10, kind="reference", trained_on=300))


@hookimpl
def register_datasets(register: Any) -> None:
    register(DatasetCard("mnist-arrays", IMAGE, 10, ("train", "test"), mnist))
