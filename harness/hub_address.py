"""Addresses of data sets on the Hugging Face Hub: ``hf://org/repo[@revision][:config][?image=3x64x64&crop=none]``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl

from preimage.harness.cards import ImageSpec
from preimage.harness.errors import UsageError
from preimage.harness.options import guess

SETTINGS = {
    "image": r"[13]x[1-9]\d{0,4}x[1-9]\d{0,4}",
    "resize": "box|bilinear|bicubic|lanczos",
    "crop": "center|centre|none",
    "label": ".+",
}
"""What may stand after ``?``, and how its values look."""

_ADDRESS = re.compile(
    r"hf://(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[^:?@\s]+))?(:(?P<config>[^:?@\s]+))?(\?(?P<settings>[^?\s]*))?"
)


@dataclass(frozen=True)
class HubAddress:
    """A repository of images, which revision and configuration of it, and how its images come to have one shape."""

    repo: str
    revision: str | None = None
    config: str | None = None
    image: ImageSpec | None = None
    resize: Literal["box", "bilinear", "bicubic", "lanczos"] = "bilinear"
    crop: Literal["center", "none"] = "center"
    label: str | None = None
    """The column of labels; None: the usual names are tried."""


def hub_address(text: str) -> HubAddress:
    """The address that the text is. Raises UsageError that says what is wrong."""
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise UsageError(
            f"data set {text!r} is no address on the Hub. Write hf://org/repo, hf://org/repo@revision, "
            "hf://org/repo:config, and what you need of ?image=3x64x64&resize=bicubic&crop=none&label=COLUMN"
        )
    settings = dict(parse_qsl(match["settings"] or "", keep_blank_values=True))
    for key, value in settings.items():
        if key not in SETTINGS:
            raise UsageError(
                f"data set {text!r}: unknown setting {key!r}.{guess(key, SETTINGS)} Settings: {', '.join(SETTINGS)}"
            )
        if not re.fullmatch(SETTINGS[key], value):
            form = {"image": "3x64x64 (channels, 1 or 3, height, width)", "label": "the name of a column"}
            raise UsageError(
                f"data set {text!r}: {key}={value!r}; write {form.get(key, SETTINGS[key].replace('|', ', '))}"
            )
    image = settings.get("image")
    if image is None and (lost := [key for key in ("resize", "crop") if key in settings]):
        raise UsageError(
            f"data set {text!r}: {lost[0]} says how images are brought to a shape; write image=3x64x64 too"
        )
    return HubAddress(
        match["repo"],
        match["revision"],
        match["config"],
        ImageSpec(*map(int, image.split("x"))) if image else None,
        settings.get("resize", "bilinear"),
        "none" if settings.get("crop") == "none" else "center",
        settings.get("label"),
    )
