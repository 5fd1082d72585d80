"""A user's plug-in: decoders of MNIST that other people trained, read from their checkpoints, and MNIST as arrays.

``preimage run -b likelihood --plugin tests/decoder_plugin.py -m mnist-mlp`` runs one; the files are found in the folder
that PREIMAGE_ASSETS names, the variational autoencoder's in the one that PREIMAGE_VAE50 names.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from preimage.harness import (
    ArrayDataset,
    DatasetCard,
    Generator,
    ImageSpec,
    LatentSpace,
    ModelCard,
    StandardNormal,
    hookimpl,
)

ASSETS = Path(os.environ["PREIMAGE_ASSETS"])
VAE50 = Path(os.environ.get("PREIMAGE_VAE50", ASSETS.parent / "golden" / "bdmc-vae50"))
IMAGE = ImageSpec(1, 28, 28)


class Decoder(Generator):
    """Layers from codes to images, of which ``signed`` ones are brought from [-1, 1] to [0, 1]."""

    def __init__(self, dim: int, layers: nn.Module, *, signed: bool) -> None:
        super().__init__()
        self.spaces = {"z": LatentSpace("z", dim, StandardNormal())}
        self.image, self.num_classes = IMAGE, 0
        self.layers, self.signed = layers, signed

    def decode(self, code: Tensor, label: Tensor | None = None, *, space: str = "z") -> Tensor:
        """Images [n, 1, 28, 28] from codes [n, dim]."""
        images: Tensor = self.layers(code).reshape(-1, *IMAGE)
        return images * 0.5 + 0.5 if self.signed else images


def mlp(device: torch.device) -> Generator:
    """Linear 64-256-256-784, ReLU between, tanh at the end."""
    layers = nn.Sequential(
        nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 784), nn.Tanh()
    )  # fmt: skip
    return Decoder(64, filled(layers, ASSETS / "generators" / "csinva_mnist_mlp" / "G--300.ckpt"), signed=True)


def wgan_gp(device: torch.device) -> Generator:
    """Four transposed convolutions, batch norms between, tanh at the end."""

    def block(before: int, after: int, kernel: int, stride: int) -> nn.Sequential:
        return nn.Sequential(nn.ConvTranspose2d(before, after, kernel, stride), nn.BatchNorm2d(after), nn.ReLU())

    layers = nn.Sequential(
        nn.Unflatten(1, (64, 1, 1)), block(64, 256, 3, 2), block(256, 128, 4, 1), block(128, 64, 3, 2),
        nn.Sequential(nn.ConvTranspose2d(64, 1, 4, 2), nn.Tanh()),
    )  # fmt: skip
    return Decoder(64, filled(layers, ASSETS / "generators" / "ryhan_mnist_wgangp" / "generator.pth"), signed=True)


def vae(device: torch.device) -> Generator:
    """The decoder of a variational autoencoder, whose file holds the encoder too: 20-400-784, ReLU, a sigmoid."""
    layers = nn.Sequential(nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 784), nn.Sigmoid())
    path = ASSETS / "generators" / "csinva_mnist_vae" / "vae_epoch_25.pth"
    found = torch.load(path, map_location="cpu", weights_only=True)
    names = {"0": "fc3", "2": "fc4"}
    layers.load_state_dict({name: found[f"{names[name[0]]}.{name[2:]}"] for name in layers.state_dict()})
    return Decoder(20, layers, signed=False)


def filled(layers: nn.Module, path: Path) -> nn.Module:
    """The layers with a checkpoint's tensors, which come in the same order under other names."""
    found = torch.load(path, map_location="cpu", weights_only=True)
    state = layers.state_dict()
    if [tuple(t.shape) for t in found.values()] != [tuple(t.shape) for t in state.values()]:
        raise ValueError(f"{path} holds other layers: {[tuple(t.shape) for t in found.values()]}")
    layers.load_state_dict(dict(zip(state, found.values(), strict=True)))
    return layers


def vae50(device: torch.device) -> Generator:
    """Linear 50-200-200-784, ELU between, a sigmoid at the end."""
    layers = nn.Sequential(
        nn.Linear(50, 200), nn.ELU(), nn.Linear(200, 200), nn.ELU(), nn.Linear(200, 784), nn.Sigmoid()
    )  # fmt: skip
    with np.load(VAE50 / "decoder.npz") as file:
        state = {
            f"{2 * i}.{name}": torch.from_numpy(file[f"{letter}{i}"])
            for i in range(3)
            for letter, name in (("W", "weight"), ("b", "bias"))
        }
    layers.load_state_dict(state)
    return Decoder(50, layers, signed=False)


MODELS: dict[str, Callable[[torch.device], Generator]] = {
    "mnist-mlp": mlp, "mnist-vae": vae, "mnist-wgan-gp": wgan_gp, "vae50": vae50
}  # fmt: skip


@hookimpl
def register_models(register: Callable[..., None]) -> None:
    for name, load in MODELS.items():
        register(ModelCard(name, "theirs", "mnist-arrays", IMAGE, 0, load=load))


def opened() -> ArrayDataset:
    """MNIST from its arrays."""
    with np.load(ASSETS / "data" / "mnist.npz") as file:
        splits = {
            split: (torch.from_numpy(file[f"{split}_x"]).reshape(-1, *IMAGE), torch.from_numpy(file[f"{split}_y"]))
            for split in ("train", "test")
        }
    return ArrayDataset("mnist-arrays", splits)


@hookimpl
def register_datasets(register: Callable[..., None]) -> None:
    register(DatasetCard("mnist-arrays", IMAGE, 10, ("train", "test"), opened))
