"""How a timm model's images are made ready: what timm's evaluation transform does to PIL images, done to tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as transforms

from preimage.harness.cards import Config
from preimage.harness.errors import CardError, GeneratorError

INTERPOLATIONS = {"bicubic": InterpolationMode.BICUBIC, "bilinear": InterpolationMode.BILINEAR}
CROPS = ("center", "squash", "border")
SETTINGS = ("input_size", "crop_pct", "crop_mode", "mean", "std", "interpolation")
"""The names of these settings in a config, which are timm's."""


@dataclass(frozen=True)
class Preprocessing:
    """The evaluation transform of timm (``timm.data.create_transform``), PIL's antialiased resizing included.

    center: the shorter side to ``floor(size / crop_pct)``, then a centre crop. squash: both sides. border: the longer
    side, and the mean colour around it.
    """

    input_size: tuple[int, int, int]
    crop_pct: float
    crop_mode: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str

    @property
    def rule(self) -> str:
        """One line of plain text."""
        channels, height, width = self.input_size
        side = {"center": "shorter side", "squash": "sides", "border": "longer side"}[self.crop_mode]
        first, second = (math.floor(size / self.crop_pct) for size in (height, width))
        to = f"{first}" if first == second else f"{first}x{second}"
        mean, std = (", ".join(f"{v:g}" for v in dict.fromkeys(values)) for values in (self.mean, self.std))
        return (
            f"clamped to [0, 1], {side} to {to} ({self.interpolation}, antialiased), centre crop to {height}x{width}, "
            f"{channels} channel{'s' * (channels > 1)}, minus {mean}, over {std}"
        )

    def __call__(self, images: Tensor) -> Tensor:
        """Images [n, c, h, w] in [0, 1] as the network takes them. Raises GeneratorError for other channels."""
        channels, height, width = self.input_size
        if images.shape[1] == 1 and channels == 3:
            images = images.expand(-1, 3, -1, -1)
        if images.shape[1] != channels:
            raise GeneratorError(
                f"images have {images.shape[1]} channels, the network takes {channels}. Give images of as many"
            )
        images = self._resized(images.clamp(0, 1))
        mean, std = (torch.tensor(v, device=images.device).reshape(-1, 1, 1) for v in (self.mean, self.std))
        if self.crop_mode == "border":
            images = self._bordered(images, (mean * 255).round() / 255)
        return (cast(Tensor, transforms.center_crop(images, [height, width])) - mean) / std

    def _resized(self, images: Tensor) -> Tensor:
        """As PIL: across, then down, cut to its range each time, since bicubic overshoots."""
        height, width = self._size(*images.shape[2:])
        for size in ([images.shape[2], width], [height, width]):
            images = transforms.resize(images, size, INTERPOLATIONS[self.interpolation], antialias=True).clamp(0, 1)
        return images

    def _size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width that images of a height and width are resized to; rounded as timm rounds."""
        high, wide = (math.floor(size / self.crop_pct) for size in self.input_size[1:])
        if self.crop_mode == "squash":
            return high, wide
        if self.crop_mode == "center" and high == wide:
            short = min(height, width)
            return int(high * height / short), int(high * width / short)
        ratio = (max if self.crop_mode == "border" else min)(height / high, width / wide)
        return round(height / ratio), round(width / ratio)

    def _bordered(self, images: Tensor, fill: Tensor) -> Tensor:
        """The images in the middle of the mean colour where they are smaller than the crop, as PIL centres them."""
        short = [max(0, size - side) for size, side in zip(self.input_size[1:], images.shape[2:], strict=True)]
        top, left = (each // 2 for each in short)
        wide = fill.expand(len(images), -1, images.shape[2] + short[0], images.shape[3] + short[1]).clone()
        wide[:, :, top : top + images.shape[2], left : left + images.shape[3]] = images
        return wide


def preprocessing(config: Config, released: Mapping[str, object], channels: int, what: str) -> Preprocessing:
    """What timm says of the released model, with whatever the config says otherwise. Raises CardError.

    channels: those that the network takes.
    """
    said = {**released, **{name: config[name] for name in SETTINGS if name in config}}
    size = _numbers(said["input_size"], "input_size", what)
    if len(size) != 3 or any(side != int(side) or side < 1 for side in size) or size[0] != channels:
        raise CardError(f"{what}: `input_size` is {list(size)}; write [channels, height, width], {channels} channels")
    mean, std = (_channelled(said[name], name, channels, what) for name in ("mean", "std"))
    if min(std) <= 0:
        raise CardError(f"{what}: `std` is {list(std)}; every value must be above 0")
    crop = said["crop_pct"]
    if isinstance(crop, bool) or not isinstance(crop, (int, float)) or not 0 < crop <= 1:
        raise CardError(f"{what}: `crop_pct` is {crop!r}; it must be above 0 and at most 1, e.g. 0.875")
    for name, known in (("interpolation", tuple(INTERPOLATIONS)), ("crop_mode", CROPS)):
        if said[name] not in known:
            raise CardError(f"{what}: `{name}` is {said[name]!r}; choose one of {', '.join(known)}")
    mode, crop_mode = str(said["interpolation"]), str(said["crop_mode"])
    return Preprocessing((channels, int(size[1]), int(size[2])), float(crop), crop_mode, mean, std, mode)


def _channelled(value: object, name: str, channels: int, what: str) -> tuple[float, ...]:
    numbers = _numbers(value, name, what)
    if len(numbers) == 1:
        return numbers * channels
    if len(numbers) != channels:
        raise CardError(f"{what}: `{name}` has {len(numbers)} values, images have {channels} channels; give as many")
    return numbers


def _numbers(value: object, name: str, what: str) -> tuple[float, ...]:
    values = [value] if isinstance(value, (int, float)) else value
    if not isinstance(values, Sequence) or not values or any(not isinstance(v, (int, float)) for v in values):
        raise CardError(f"{what}: `{name}` is {value!r}; write a list of numbers")
    return tuple(float(v) for v in values)
