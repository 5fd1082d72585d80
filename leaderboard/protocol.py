"""The protocol of a board in a few words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from preimage.leaderboard import words


def protocol_in_short(suite: str, options: Mapping[str, Any]) -> list[str]:
    """The protocol in a few words; the whole of it stands beside them."""
    parts = [f"suite {words.shown(suite)}" if suite else "no suite: options of the command"]
    if "limit" in options:
        limit = options["limit"]
        which = "all images" if limit is None else f"the first {words.setting(limit)} images"
        parts.append(f"{which} of each split")
    if "distance" in options:
        parts.append(f"distance {words.shown(options['distance'])}")
    if "extractor" in options:
        parts.append(f"features of {words.shown(options['extractor'])}")
    solver = options.get("solver")
    if isinstance(solver, Mapping):
        steps = f", at most {words.setting(solver['steps'])} generator evaluations" if "steps" in solver else ""
        parts.append(f"solver {words.shown(solver.get('name', 'unnamed'))}{steps}")
    sampler = options.get("sampler")
    if isinstance(sampler, Mapping):
        parts.append(sampler_in_short(sampler))
    if options.get("sigma2"):
        parts.append(f"noise variance {words.setting(options['sigma2'])} as asked")
    if options.get("restarts", 1) != 1:
        parts.append(f"{words.setting(options['restarts'])} restarts")
    if "seed" in options:
        parts.append(f"seed {words.setting(options['seed'])}")
    return parts


def sampler_in_short(sampler: Mapping[str, Any]) -> str:
    """A sampler, what a chain of it spends, and how many there are."""
    parts = [f"sampler {words.shown(sampler.get('name', 'unnamed'))}"]
    for name, unit in (("evaluations", "gradient evaluations a chain"), ("chains", "chains")):
        if isinstance(sampler.get(name), int):
            parts.append(f"{words.count(sampler[name])} {unit}")
    return ", ".join(parts)
