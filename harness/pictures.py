"""Pictures stored beside rows: a strip of images as one PNG, so that pages need no torch and no data set."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

SHOWN = 24
"""How many images of a block are kept as pictures."""
THUMBNAIL = 64
"""Height in pixels of the images of a whole block."""


def strip(images: Tensor) -> bytes:
    """Images [n, c, h, w] side by side as a PNG of h x (n w) pixels; values are clamped to [0, 1] for display."""
    levels = (images.detach().float().clamp(0, 1).cpu().numpy() * 255).round().astype(np.uint8)
    count, channels, height, width = levels.shape
    row = levels.transpose(2, 0, 3, 1).reshape(height, count * width, channels)
    file = io.BytesIO()
    Image.fromarray(row[:, :, 0] if channels == 1 else row).save(file, format="PNG", optimize=True)
    return file.getvalue()


def thumbnails(images: Tensor, height: int = THUMBNAIL) -> bytes:
    """All images of a block as a strip, those above ``height`` pixels brought down to it."""
    if images.shape[2] > height:
        width = max(1, round(images.shape[3] * height / images.shape[2]))
        images = torch.nn.functional.interpolate(images.float(), size=(height, width), mode="area")
    return strip(images)
