"""Texts and numbers as pages show them."""

from __future__ import annotations

import math
import statistics
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

MINUS, TIMES = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}"
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_MOST_DECIMALS = 6
_UNSEEN = ("Cc", "Cf", "Cs")  # Unicode's control, format (directions among them) and surrogate characters


def shown(text: object, most: int = 200) -> str:
    """A text without control and direction characters, cut where it is longer than ``most``."""
    kept = str(text)[: most + 1]
    if not kept.isprintable():
        kept = "".join(
            "\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in _UNSEEN and c not in "\n\t" else c for c in kept
        )
    return kept if len(kept) <= most else kept[: most - 1] + "…"


def tail(text: str, most: int) -> str:
    """The end of a text: of a traceback, the part that says what happened."""
    return shown(text, most) if len(text) <= most else "…" + shown(text[1 - most :], most)


def decimals(values: Iterable[float], widths: Iterable[float]) -> int:
    """How many decimals a column deserves: two digits of half its typical interval, else three of a value."""
    positive = [width / 2 for width in widths if width > 0]
    digits = 2 if positive else 3
    sizes = positive or [abs(value) for value in values if value]
    if not sizes:
        return 0
    return min(max(digits - 1 - math.floor(math.log10(statistics.median(sizes))), 0), _MOST_DECIMALS)


def number(value: float, places: int, reach: float = 0.0) -> str:
    """A number with so many decimals; where they would leave nothing of it, in powers of ten.

    reach: the larger end of its interval. A number that is nothing beside that stays with its column's decimals.
    """
    if value == 0 and reach == 0:
        return "0"
    if _too_small(max(abs(value), abs(reach)), places, reach != 0):
        return scientific(value)
    return _fixed(value, places)


def _too_small(size: float, places: int, interval: bool) -> bool:
    """Whether so many decimals show nothing of a number, or no whole digit of an interval that ends there."""
    return size < (5.0 if interval else 0.5) * 10.0**-places


def _fixed(value: float, places: int) -> str:
    text = f"{value:,.{places}f}"
    return (text if any(c in "123456789" for c in text) else text.lstrip("-")).replace("-", MINUS)


def scientific(value: float) -> str:
    """A number as ``1.2×10⁻⁷``."""
    if value == 0:
        return "0"
    mantissa, _, exponent = f"{value:.1e}".partition("e")
    return f"{mantissa}{TIMES}10{str(int(exponent)).translate(_RAISED)}".replace("-", MINUS)


def interval(low: float | None, high: float | None, places: int) -> str:
    """``[low, high]``, or nothing where there is no interval."""
    if low is None or high is None:
        return ""
    if low == high == 0:
        return "[0, 0]"
    if _too_small(max(abs(low), abs(high)), places, True):
        return f"[{scientific(low)}, {scientific(high)}]"
    return f"[{_fixed(low, places)}, {_fixed(high, places)}]"


def short(value: float) -> str:
    """A number on an axis: as few digits as it has."""
    text = f"{value:.6g}"
    if "e" in text:
        mantissa, _, power = scientific(value).partition(TIMES)
        text = power if mantissa == "1.0" else f"{mantissa.removesuffix('.0')}{TIMES}{power}"
    return text.replace("-", MINUS)


def count(value: int) -> str:
    """A whole number with its thousands apart."""
    return f"{value:,}"


def seconds(value: float) -> str:
    """A time as people say it."""
    if value < 90:
        return f"{value:.1f} s"
    return f"{value / 60:.1f} min" if value < 5400 else f"{value / 3600:.1f} h"


def better(which: str) -> str:
    """Which way of a metric is better, in words."""
    return {"higher": "higher is better", "lower": "lower is better"}.get(which, "")


def flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as pairs of texts, ``solver.steps`` and ``100``, in their order."""
    pairs: list[tuple[str, str]] = []
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            pairs += flat(value, f"{prefix}{key}.")
        else:
            pairs.append((f"{prefix}{key}", setting(value)))
    return pairs


def setting(value: object) -> str:
    """The value of a setting."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value == "" or value == {} or value == []:
        return "not set"
    if isinstance(value, (list, tuple)):
        return ", ".join(setting(part) for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
