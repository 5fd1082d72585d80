"""Names of data sets that are made from others: ``NAME@CxHxW`` and ``inverted:NAME``. Reads names only, no images."""

from __future__ import annotations

import re
from collections.abc import Container
from pathlib import Path
from typing import NamedTuple

from preimage.harness.cards import ImageSpec
from preimage.harness.errors import UsageError

INVERTED = "inverted:"
HUB = "hf://"

_SHAPE = re.compile(r"(?P<base>.+)@(?P<channels>[13])x(?P<height>[1-9]\d{0,4})x(?P<width>[1-9]\d{0,4})", re.DOTALL)


class Derivation(NamedTuple):
    """A data set made from another: resized to ``image`` or, where that is None, inverted."""

    base: str
    image: ImageSpec | None


def derivation(name: str) -> Derivation | None:
    """How the data set of that name is made from another; None where the name is no derived one.

    The outermost comes first: ``inverted:digits@1x28x28`` is ``inverted:digits``, resized. In the name of a Hub
    repository another text after ``@`` is a revision. Raises UsageError for a shape that is none.
    """
    match = _SHAPE.fullmatch(name)
    if match is not None:
        return Derivation(match["base"], ImageSpec(*(int(match[side]) for side in ("channels", "height", "width"))))
    if name.startswith(INVERTED):
        return Derivation(name.removeprefix(INVERTED), None)
    base, at, shape = name.rpartition("@")
    if at and base and not name.startswith(HUB):
        raise UsageError(
            f"data set {name!r}: {shape!r} is not the shape of an image. Write channels (1 or 3), height and width, "
            f"e.g. {base}@3x32x32"
        )
    return None


def base_name(name: str, known: Container[str]) -> str:
    """What a derived name is made of in the end: the first name on the way there that is known, else the last."""
    while name not in known:
        shape = _SHAPE.fullmatch(name)
        if shape is not None or ("@" in name and not name.startswith((HUB, INVERTED))):
            name = name.rpartition("@")[0]
        elif name.startswith(INVERTED):
            name = name.removeprefix(INVERTED)
        else:
            break
    return name


def path_in(name: str) -> str:
    """The path in ``PATH@CxHxW`` or ``inverted:PATH``; a path that exists is taken as it stands."""
    while not Path(name).expanduser().exists():
        if (shape := _SHAPE.fullmatch(name)) is not None:
            name = shape["base"]
        elif name.startswith(INVERTED):
            name = name.removeprefix(INVERTED)
        else:
            break
    return name
