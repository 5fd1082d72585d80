"""The families ``linear-gaussian`` and ``constant``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from preimage.adapters.exact_load import load_exactly, read_safetensors
from preimage.harness.cards import Config, ImageSpec
from preimage.harness.errors import CardError
from preimage.harness.generator import Generator, LatentSpace
from preimage.harness.priors import StandardNormal


class LinearGaussian(Generator):
    """``G(z) = W z + b`` with z ~ N(0, I): with noise of variance sigma2 per pixel, ``x ~ N(b, W W^T + sigma2 I)``.

    W: [D, dim], b: [D], D = channels x height x width in that order. ``sigma2`` is the fitted noise, for reference: a
    benchmark that needs a noise level measures its own.
    """

    W: Tensor
    b: Tensor

    def __init__(self, dim: int, image: ImageSpec, sigma2: float | None = None) -> None:
        super().__init__()
        self.spaces = {"z": LatentSpace("z", dim, StandardNormal())}
        self.image = image
        self.num_classes = 0
        self.sigma2 = sigma2
        self.register_buffer("W", torch.zeros(image.values, dim))
        self.register_buffer("b", torch.zeros(image.values))

    def decode(self, code: Tensor, label: Tensor | None = None, *, space: str = "z") -> Tensor:
        self.space(space)
        return torch.addmm(self.b, code, self.W.T).reshape(-1, *self.image)

    def log_likelihood(self, image: Tensor, label: Tensor | None = None, *, sigma2: float, space: str = "z") -> Tensor:
        """``log N(x; b, W W^T + sigma2 I)``, by a dim x dim system: ``M = W^T W + sigma2 I`` (Woodbury)."""
        self.space(space)
        W, dim = self.W.double(), self.W.shape[1]
        apart = image.flatten(1).double() - self.b.double()
        root = torch.linalg.cholesky(W.T @ W + sigma2 * torch.eye(dim, dtype=torch.float64, device=W.device))
        along = torch.linalg.solve_triangular(root, (apart @ W).T, upper=False)
        volume = 2 * root.diagonal().log().sum() + (apart.shape[1] - dim) * math.log(sigma2)
        distance = (apart.square().sum(dim=1) - along.square().sum(dim=0)) / sigma2
        density: Tensor = -0.5 * (distance + volume + apart.shape[1] * math.log(2 * math.pi))
        return density


class Constant(Generator):
    """One image whatever the code, which has one entry and gradient 0: the floor that every model should beat."""

    mean: Tensor

    def __init__(self, image: ImageSpec) -> None:
        super().__init__()
        self.spaces = {"z": LatentSpace("z", 1, StandardNormal())}
        self.image = image
        self.num_classes = 0
        self.register_buffer("mean", torch.zeros(*image))

    def decode(self, code: Tensor, label: Tensor | None = None, *, space: str = "z") -> Tensor:
        self.space(space)
        return self.mean + 0 * code.reshape(-1, 1, 1, 1)  # stays connected to the code, so gradients exist

    def log_likelihood(self, image: Tensor, label: Tensor | None = None, *, sigma2: float, space: str = "z") -> Tensor:
        """``log N(x; mean, sigma2 I)``: the code changes nothing."""
        self.space(space)
        squares = (image.double() - self.mean.double()).flatten(1).square().sum(dim=1)
        return -0.5 * (squares / sigma2 + self.mean.numel() * math.log(2 * math.pi * sigma2))


def build_linear(config: Config, weights: Mapping[str, Tensor]) -> LinearGaussian:
    """From config ``{"dim", "image"[, "sigma2"]}`` and weights ``W``, ``b``; frozen and in eval mode."""
    _check_keys(config, required={"dim", "image"}, optional={"sigma2"})
    sigma2 = config.get("sigma2")
    noise = None if sigma2 is None else float(cast(float, sigma2))
    generator = LinearGaussian(int(cast(int, config["dim"])), _image(config), noise)
    load_exactly(generator, weights, "a linear-gaussian")
    return generator.eval().requires_grad_(False)


def build_constant(config: Config, weights: Mapping[str, Tensor]) -> Constant:
    """From config ``{"image"}`` and the weight ``mean``, [channels, height, width]; frozen and in eval mode."""
    _check_keys(config, required={"image"}, optional=set())
    generator = Constant(_image(config))
    load_exactly(generator, weights, "a constant model")
    return generator.eval().requires_grad_(False)


def read(path: Path) -> tuple[Config, Mapping[str, Tensor]]:
    """Float32 tensors of a .safetensors file and, where its metadata has it, the config (JSON); else the card gives
    it."""
    metadata, weights = read_safetensors(path)
    return json.loads(metadata.get("config", "{}")), {name: value.float() for name, value in weights.items()}


def _check_keys(config: Config, required: set[str], optional: set[str]) -> None:
    if not required <= set(config) <= required | optional:
        extra = f", and may have {sorted(optional)}" if optional else ""
        raise CardError(f"the config has the keys {sorted(config)}; it needs {sorted(required)}{extra}")


def _image(config: Config) -> ImageSpec:
    sides = config["image"]
    if not isinstance(sides, list | tuple) or len(sides) != 3:
        raise CardError(f"the config's `image` is {sides!r}; write [channels, height, width]")
    return ImageSpec(*(int(side) for side in sides))
