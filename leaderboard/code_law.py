"""The law of recovered codes beside the prior's: do recoveries come from where the model draws?"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from preimage.harness.results import Results
from preimage.leaderboard.chi import ChiLaw
from preimage.leaderboard.histogram import Histogram, Sample, histogram_of
from preimage.leaderboard.measured import SAMPLES, Measured, Values

NORM, OUTSIDE = "code_norm", "outside_prior"
_ROUNDING = 1e-3  # of a squared norm, within which a code may count as on either side of the plausible set's edge


@dataclass(frozen=True)
class Outside:
    """How many codes of a group lie outside the prior's plausible set."""

    name: str
    outside: int
    n: int


@dataclass(frozen=True)
class CodeLaw:
    """Norms of recovered codes, by group of images. dim: of the codes; normal: whether the prior is standard normal."""

    histogram: Histogram
    dim: int | None
    normal: bool
    outside: tuple[Outside, ...]

    @property
    def radius(self) -> float:
        """Where the plausible set of a standard normal prior ends: ``||z||^2 = d + 3 sqrt(2 d)``."""
        dim = self.dim or 0
        return math.sqrt(dim + 3 * math.sqrt(2 * dim))


def code_law_of(
    results: Results, measured: Sequence[Measured], found: Mapping[str, Values], styles: Mapping[str, str]
) -> CodeLaw | None:
    """The law of the codes of some requests; None where they have none.

    The database does not name the prior. It is taken to be standard normal where every stored code lies on the side of
    the sphere ``||z||^2 = d + 3 sqrt(2 d)`` that the measurement says, some of them outside: no other prior's rule does
    so. Else the codes found for the model's own samples are all that recoveries can be compared with.
    """
    groups = [(one, found[one.key].values) for one in measured if found[one.key].values.get(NORM)]
    if not groups:
        return None
    dims = code_dims(results, [one.key for one, _ in groups])
    dim = next(iter(set(dims.values()))) if len(set(dims.values())) == 1 and len(dims) == len(groups) else None
    normal = dim is not None and follows_normal_rule(dim, [values for _, values in groups])
    samples = [Sample(one.title, styles[one.key], values[NORM], one.images != SAMPLES) for one, values in groups]
    drawn = histogram_of(samples, ChiLaw(dim) if normal and dim is not None else None)
    if drawn is None:
        return None
    outside = tuple(
        Outside(one.title, round(sum(values[OUTSIDE])), len(values[OUTSIDE]))
        for one, values in groups
        if values.get(OUTSIDE)
    )
    return CodeLaw(drawn, dim, normal, outside)


def follows_normal_rule(dim: int, groups: Sequence[Mapping[str, Sequence[float]]]) -> bool:
    """Whether what lies outside the prior's plausible set, and what inside, is told by a standard normal's rule."""
    edge = dim + 3 * math.sqrt(2 * dim)
    outside = 0
    for values in groups:
        norms, flags = values[NORM], values.get(OUTSIDE, ())
        if len(flags) != len(norms):
            return False
        for norm, flag in zip(norms, flags, strict=True):
            apart = norm * norm / edge - 1
            if abs(apart) > _ROUNDING and (apart > 0) != bool(flag):
                return False
            outside += bool(flag)
    return outside > 0


def code_dims(results: Results, keys: Collection[str]) -> dict[str, int]:
    """The dimension of a request's codes: four bytes each number."""
    found = {}
    for key in keys:
        stored = results.query(
            "SELECT length(r.code) / 4 AS dim FROM block b JOIN row r ON r.block = b.id "
            "WHERE b.request = ? AND r.code IS NOT NULL ORDER BY b.number, r.image, r.label LIMIT 1",
            key,
        )
        if stored:
            found[key] = int(stored[0]["dim"])
    return found
