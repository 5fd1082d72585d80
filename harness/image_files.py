"""One encoded image (PNG, JPEG, ...) made into pixels of a given shape."""

from __future__ import annotations

import math
from io import BytesIO
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from preimage.harness.cards import ImageSpec
from preimage.harness.errors import DatasetError

Resize: TypeAlias = Literal["none", "box", "bilinear", "bicubic", "lanczos"]
Crop: TypeAlias = Literal["center", "none"]

_FILTERS = {
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def decoded(source: Path | BytesIO, what: str, image: ImageSpec, resize: Resize, crop: Crop) -> NDArray[np.uint8]:
    """The image, [c, h, w]; see ``FolderDataset`` for the rules of channels, resize and crop.

    what: what to call it in errors. Raises DatasetError where it cannot be read, or has another size and is not to be
    resized.
    """
    channels, height, width = image
    try:
        with Image.open(source) as opened:
            picture = _converted(opened, channels, what)
    except DatasetError:
        raise
    except Exception as error:  # Pillow's decoders raise anything at all on a broken file
        raise _unreadable(what, error) from error
    if picture.size != (width, height):
        if resize == "none":
            raise DatasetError(
                f"{what} is {picture.height}x{picture.width}, its data set is {height}x{width}. Give the size and "
                f"resize='bilinear' (of a data set on the Hub: ?image={image}), or leave the image out"
            )
        picture = _fitted(picture, height, width, _FILTERS[resize], crop)
    return np.asarray(picture).reshape(height, width, channels).transpose(2, 0, 1)


def natural_shape(source: Path | BytesIO, what: str) -> ImageSpec:
    """The shape of an encoded image: one channel where it is grey, else three. Raises DatasetError."""
    try:
        with Image.open(source) as opened:
            grey = opened.mode in ("1", "L", "LA", "La") or opened.mode.startswith("I;16")
            return ImageSpec(1 if grey else 3, opened.height, opened.width)
    except Exception as error:  # as above
        raise _unreadable(what, error) from error


def _unreadable(what: str, error: Exception) -> DatasetError:
    return DatasetError(f"cannot read the image {what}: {type(error).__name__}: {error}. Repair it or remove it")


def _converted(image: Image.Image, channels: int, what: str) -> Image.Image:
    """8-bit RGB (3 channels) or luma (1)."""
    mode = "L" if channels == 1 else "RGB"
    if image.mode.startswith("I;16"):
        levels = np.asarray(image).astype(np.float64) / 257
        return Image.fromarray(np.rint(levels).astype(np.uint8)).convert(mode)
    if image.mode in ("I", "F"):
        raise DatasetError(
            f"{what} has pixels of mode {image.mode} (32 bits), whose range is unknown; save it with 8 or 16 bits"
        )
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert(mode)


def _fitted(image: Image.Image, height: int, width: int, resample: Image.Resampling, crop: Crop) -> Image.Image:
    if crop == "none":
        return image.resize((width, height), resample)
    if image.width * height <= image.height * width:  # the width is the tighter side
        size = (width, max(height, math.floor(width * image.height / image.width)))
    else:
        size = (max(width, math.floor(height * image.width / image.height)), height)
    left, top = round((size[0] - width) / 2), round((size[1] - height) / 2)
    return image.resize(size, resample).crop((left, top, left + width, top + height))
