"""The family ``coordinate-net``: a network that is asked for one pixel at a time, by its place and the image's code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

from preimage.harness import Config, Generator, ImageSpec, LatentSpace, StandardNormal
from preimage.harness.errors import GeneratorError, WeightsError


@dataclass(frozen=True)
class Settings:
    """The constructor settings of the architecture: what a card's ``config`` may say."""

    dim: int = 3  # of the code
    width: int = 48  # of the hidden layers
    side: int = 8  # pixels
    num_classes: int = 2


class CoordinateNet(Generator):
    """``G(z, y)(place) = sigmoid(f(place, z, y))`` for every place of a grid over [-1, 1]^2, f a tanh network."""

    grid: Tensor

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.spaces = {"z": LatentSpace("z", settings.dim, StandardNormal())}
        self.image = ImageSpec(1, settings.side, settings.side)
        self.num_classes = settings.num_classes
        axis = torch.linspace(-1, 1, settings.side)
        self.register_buffer("grid", torch.cartesian_prod(axis, axis), persistent=False)
        self.network = nn.Sequential(
            nn.Linear(2 + settings.dim + settings.num_classes, settings.width),
            nn.Tanh(),
            nn.Linear(settings.width, settings.width),
            nn.Tanh(),
            nn.Linear(settings.width, 1),
        )

    def decode(self, code: Tensor, label: Tensor | None = None, *, space: str = "z") -> Tensor:
        self.space(space)  # raises where there is no such space
        if label is None:
            raise GeneratorError(f"this model has {self.num_classes} classes: give decode a label per code")
        about = torch.cat([code, nn.functional.one_hot(label, self.num_classes).to(code)], dim=1)
        pixels = len(self.grid)
        asked = torch.cat(
            [self.grid.expand(len(code), -1, -1), about.unsqueeze(1).expand(-1, pixels, -1)],
            dim=2,
        )
        answer: Tensor = torch.sigmoid(self.network(asked))
        return answer.reshape(len(code), *self.image)


def build(config: Config, weights: Mapping[str, Tensor]) -> CoordinateNet:
    """The generator from the card's settings and a checkpoint's weights. Raises WeightsError where they do not fit."""
    generator = CoordinateNet(Settings(**config))  # type: ignore[arg-type]  # plain data of a card
    try:
        generator.network.load_state_dict(dict(weights))
    except RuntimeError as error:
        raise WeightsError(f"the weights do not fit a coordinate-net of {dict(config)}: {error}") from error
    return generator


def read(path: Path) -> tuple[Config, Mapping[str, Tensor]]:
    """Settings (JSON in the file's metadata) and weights of a .safetensors file: data, nothing is executed."""
    with safe_open(path, framework="pt") as file:
        config = json.loads((file.metadata() or {}).get("config", "{}"))
        return config, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no mapping
