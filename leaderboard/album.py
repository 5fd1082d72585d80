"""Pictures of a site: the strips that the database holds, cut again into grids, in files named by their content."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

CELL = 56  # pixels on the screen that one image is brought to, in whole multiples
GAP = 4
MOST_WIDE, MOST_HIGH = 256, 64  # pixels of an image in a strip of all images of a block


@dataclass(frozen=True)
class Picture:
    """A file of the site and the size at which it is shown."""

    path: str
    width: int
    height: int
    count: int


@dataclass
class Album:
    """The files that pages show, by path."""

    files: dict[str, bytes] = field(default_factory=dict)
    _made: dict[tuple[object, ...], Picture | None] = field(default_factory=dict)

    def keep(self, image: Image, count: int, scale: int) -> Picture:
        """Write a picture under the hash of its bytes; the same picture is one file."""
        file = io.BytesIO()
        image.save(file, format="PNG", compress_level=6)
        path = f"img/{hashlib.sha256(file.getvalue()).hexdigest()[:24]}.png"
        self.files[path] = file.getvalue()
        return Picture(path, image.width * scale, image.height * scale, count)

    def grid(
        self, strips: Sequence[bytes], card: Mapping[str, Any], columns: int, most: int | None = None
    ) -> Picture | None:
        """Strips of images of the card's shape as lines of so many images; several strips stand one above the other.

        So a target is right above its recovery. None where a strip cannot be read or holds no image of that shape.
        """
        key = (*strips, *card["image"], columns, most)
        if key not in self._made:
            self._made[key] = self._grid(strips, card, columns, most)
        return self._made[key]

    def single(self, strip: bytes, count: int, place: int) -> Picture | None:
        """One of so many images that stand side by side in a strip; None where the strip cannot be read as such."""
        key = (strip, count, place)
        if key not in self._made:
            tiles = _equal_tiles(strip, count)
            self._made[key] = None
            if place < len(tiles):
                self._made[key] = self.keep(tiles[place], 1, max(1, round(CELL / tiles[place].width)))
        return self._made[key]

    def _grid(self, strips: Sequence[bytes], card: Mapping[str, Any], columns: int, most: int | None) -> Picture | None:
        from PIL import Image

        height, width = card["image"][1:]
        rows = [tiles for strip in strips if (tiles := _tiles(strip, width, height))]
        if not rows or len(rows) != len(strips):
            return None
        count = min([len(tiles) for tiles in rows] + ([most] if most is not None else []))
        across = min(columns, count)
        scale = max(1, round(CELL / width))
        gap = -(-GAP // scale)
        lines = -(-count // across)
        block = len(rows) * height + (len(rows) - 1)
        mode = "LA" if all(tile.mode == "L" for tiles in rows for tile in tiles) else "RGBA"
        size = (across * (width + gap) - gap, lines * (block + 2 * gap) - 2 * gap)
        page = Image.new(mode, size, (0,) * len(mode))
        for index in range(count):
            for row, tiles in enumerate(rows):
                at = (index % across * (width + gap), index // across * (block + 2 * gap) + row * (height + 1))
                page.paste(tiles[index].convert(mode), at)
        return self.keep(page, count, scale)


def _tiles(strip: bytes, width: int, height: int) -> list[Image]:
    """The images of a strip; none where it is no PNG, or not of images of that shape."""
    whole = _opened(strip, 64 * width, height)
    if whole is None or whole.height != height or whole.width % width:
        return []
    return [whole.crop((x, 0, x + width, height)) for x in range(0, whole.width, width)]


def _equal_tiles(strip: bytes, count: int) -> list[Image]:
    """So many images of equal width that fill a strip; none where it is no PNG, or they do not fill it."""
    whole = _opened(strip, MOST_WIDE * count, MOST_HIGH)
    if whole is None or count < 1 or whole.width % count:
        return []
    width = whole.width // count
    return [whole.crop((x, 0, x + width, whole.height)) for x in range(0, whole.width, width)]


def _opened(strip: bytes, most_wide: int, most_high: int) -> Image | None:
    """The picture of a strip; None where it is no PNG or larger."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(strip), formats=["PNG"]) as picture:
            if picture.height > most_high or picture.width > most_wide:
                return None
            return picture.convert("L" if picture.mode in ("1", "L") else "RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None  # the page then says that there is no picture
