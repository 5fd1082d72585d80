"""The exhibit of a data set: what every model draws, beside how near it comes to the same real images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from preimage.harness.results import Results
from preimage.leaderboard.album import Album, Picture
from preimage.leaderboard.board import Board
from preimage.leaderboard.measured import SAMPLES, measured_of
from preimage.leaderboard.records import ModelRecord

SHOWN = 8


@dataclass(frozen=True)
class Exhibited:
    """One model: its samples (a reference has none) and its recoveries."""

    model: ModelRecord
    samples: Picture | None
    recoveries: Picture


@dataclass(frozen=True)
class Exhibit:
    """The real images, and each model's recoveries of these very images."""

    split: str
    targets: Picture
    models: tuple[Exhibited, ...]


def exhibit_of(results: Results, album: Album, boards: Sequence[Board]) -> Exhibit | None:
    """The exhibit of the first board that has pictures of unseen images, in its order, checkpoints of trainings last.

    Models that saw other images are left out.
    """
    for board in boards:
        found = []
        known = measured_of(results, [line.entry for line in board.lines])
        for line in board.lines:
            measured = [known[ask.request] for ask in line.entry.evaluation.asks]
            measured = [m for m in measured if m.one_row_each and m.complete and m.at_home]
            seen = next((m for m in measured if m.images not in (SAMPLES, "train")), None)
            own = next((m for m in measured if m.images == SAMPLES), None)
            strips = results.pictures(seen.key) if seen is not None else {}
            if seen is not None and {"targets", "recoveries"} <= set(strips):
                drawn = results.pictures(own.key).get("targets") if own is not None else None
                found.append((line.model, seen.images, strips, drawn))
        if not found:
            continue
        common = Counter(strips["targets"] for _, _, strips, _ in found).most_common(1)[0][0]
        found = [row for row in found if row[2]["targets"] == common]
        found.sort(key=lambda row: bool(row[0].card.get("parent")))  # where there is little room, checkpoints go
        targets = album.grid([common], found[0][0].card, SHOWN, SHOWN)
        models = tuple(
            Exhibited(model, album.grid([drawn], model.card, SHOWN, SHOWN) if drawn is not None else None, recoveries)
            for model, _, strips, drawn in found
            if (recoveries := album.grid([strips["recoveries"]], model.card, SHOWN, SHOWN)) is not None
        )
        if targets is not None and models:
            return Exhibit(found[0][1], targets, models)
    return None
