"""``compare.html``: two models side by side. Their scores, replicates and pictures lie in one script per model.

A script holds the bootstrap replicates of each score, rounded to 16 bits of their range, so the page computes the
paired difference of any two models: there are too many pairs to write them all down.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from preimage.harness.pairing import comparable
from preimage.harness.results import Results, explained
from preimage.leaderboard import words
from preimage.leaderboard.album import Album, Picture
from preimage.leaderboard.board import Cell
from preimage.leaderboard.measured import SAMPLES, Measured
from preimage.leaderboard.records import Figure, ModelRecord, Records
from preimage.leaderboard.script_data import Value, script
from preimage.leaderboard.sections import Section

SHOWN = 12  # pictures of each kind
DISTANCE = "squared-l2"  # whose recoveries need no further name
STEPS = 65535

Classes = dict[tuple[int, str], tuple[int, int]]
"""For (evaluation, metric): scores that have the same were measured on the same images."""


def compare_context(records: Records) -> Mapping[str, Any]:
    """What the template of the page is given."""
    return {"models": sorted(records.models, key=lambda model: (model.mark != "", model.name))}


def compare_files(results: Results, records: Records, sections: Sequence[Section], album: Album) -> dict[str, bytes]:
    """The scripts, by path: one per model."""
    classes = classes_of(results, sections)
    replicates = _replicates(results)
    scored: dict[str, list[Value]] = {model.name: [] for model in records.models}
    for section in sections:
        for number, board in enumerate(section.boards):
            for line in board.lines:
                for metric, cell in zip(board.columns, line.cells, strict=True):
                    if cell is not None:
                        key = line.entry.evaluation.id, metric.name
                        images = classes.get(key)
                        drawn = replicates[key] if images is not None else None
                        told = _score(line.entry.figures[metric.name], cell, images, drawn)
                        scored[line.model.name].append({**_place(section, number, metric.name), **told})
    pictures = pictures_of(results, records, album)
    files = {}
    for model in records.models:
        whole: Value = {
            **_model(model),
            "scores": scored[model.name],
            "pictures": pictures.get(model.name, []),
            "unscored": _unscored(sections, model),
        }
        files[f"compare/{model.slug}.js"] = script("preimage.model", whole)
    return files


def classes_of(results: Results, sections: Sequence[Section]) -> Classes:
    """Which scores were measured on the same images, as the harness's paired comparison says."""
    found: Classes = {}
    boards = [board for section in sections for board in section.boards]
    for number, (board, metric) in enumerate((b, column.name) for b in boards for column in b.columns):
        having = [line.entry.evaluation for line in board.lines if metric in line.entry.figures]
        for place, alike in enumerate(comparable(results, having, metric)):
            found.update({(evaluation.id, metric): (number, place) for evaluation in alike})
    return found


def _replicates(results: Results) -> dict[tuple[int, str], list[Value]]:
    """The packed replicates of every score that has some, by evaluation and metric."""
    with explained(results.path):
        rows = results.db.query("SELECT evaluation, metric, replicates FROM metric_score WHERE length(replicates) > 0")
        return {(row["evaluation"], row["metric"]): packed(row["replicates"]) for row in rows}


def _model(model: ModelRecord) -> dict[str, Value]:
    return {
        "slug": model.slug,
        "name": words.shown(model.name, 120),
        "family": words.shown(model.family, 60),
        "mark": model.mark,
    }


def _place(section: Section, protocol: int, metric: str) -> dict[str, Value]:
    """What a score is of. Models share a score where ``at`` is the same."""
    return {
        "at": [*section.keys.values(), protocol, metric],
        "dataset": words.shown(section.dataset, 60),
        "benchmark": words.shown(section.benchmark.name, 60),
        "suite": words.shown(section.suite, 60),
        "page": section.page,
    }


def _score(
    figure: Figure, cell: Cell, images: tuple[int, int] | None, replicates: list[Value] | None
) -> dict[str, Value]:
    """A score as numbers and as it is printed. images: scores that have the same were measured on the same ones."""
    return {
        "metric": words.shown(figure.metric.name, 80),
        "unit": words.shown(figure.metric.unit, 40),
        "better": figure.metric.better,
        "meaning": words.shown(figure.metric.meaning, 300),
        "value": figure.value,
        "low": figure.low,
        "high": figure.high,
        "n": figure.n,
        "shown": cell.value,
        "interval": cell.interval,
        "doubt": cell.doubt,
        "images": None if images is None else "{}.{}".format(*images),
        "replicates": replicates,
    }


def packed(replicates: bytes) -> list[Value]:
    """Little-endian float64 as [least, greatest, base64 of little-endian uint16 between them]."""
    import numpy as np

    values = np.frombuffer(replicates, dtype="<f8")
    low, high = float(values.min()), float(values.max())
    steps = np.rint((values - low) / ((high - low) or 1.0) * STEPS).astype("<u2")
    return [low, high, base64.b64encode(steps.tobytes()).decode("ascii")]


def _unscored(sections: Sequence[Section], model: ModelRecord) -> list[Value]:
    """What refused the model or failed, and why."""
    return [
        {
            "at": list(section.keys.values()),
            "benchmark": words.shown(section.benchmark.name, 60),
            "status": entry.evaluation.status,
            "reason": words.shown(entry.evaluation.reason, 300),
        }
        for section in sections
        for entry in (*section.refused, *section.failed)
        if entry.model.name == model.name
    ]


def pictures_of(results: Results, records: Records, album: Album) -> dict[str, list[Value]]:
    """By model: the images that it was asked for beside its recoveries, one pair of pictures per request."""
    cards = {model.name: model.card for model in records.models}
    homes = _homes(records)
    strips: dict[tuple[str, str, str], dict[str, bytes]] = {}
    for row in results.query(
        "SELECT r.key, r.model, r.description, p.name, p.png FROM picture p JOIN block b ON b.id = p.block "
        "JOIN request r ON r.key = b.request WHERE b.number = 0 AND p.name IN ('targets', 'recoveries')"
    ):
        if row["key"] in homes and row["model"] in cards:
            strips.setdefault((row["model"], row["key"], row["description"]), {})[row["name"]] = row["png"]
    found: dict[str, list[tuple[tuple[object, ...], Value]]] = {}
    for (name, request, description), pngs in strips.items():
        of = Measured(request, homes[request], json.loads(description), 0, [], 0, 0.0, True)
        if of.images == SAMPLES or not of.one_row_each or len(pngs) < 2:
            continue
        targets, recoveries = (
            album.grid([pngs[kind]], cards[name], SHOWN, SHOWN) for kind in ("targets", "recoveries")
        )
        if targets is not None and recoveries is not None:
            shown: Value = {
                "dataset": words.shown(of.home, 60),
                "images": of.title if of.distance == DISTANCE else f"{of.title}, {words.shown(of.distance, 60)}",
                "targets": _picture(targets),
                "recoveries": _picture(recoveries),
            }
            found.setdefault(name, []).append(
                ((of.home, of.place, of.distance != DISTANCE, of.distance, request), shown)
            )
    return {name: [shown for _, shown in sorted(pairs, key=lambda p: p[0])] for name, pairs in found.items()}


def _homes(records: Records) -> dict[str, str]:
    """By request: the data set of the evaluation that asked for it."""
    return {ask.request: entry.evaluation.dataset for entry in records.entries for ask in entry.evaluation.asks}


def _picture(picture: Picture) -> Value:
    return {"src": picture.path, "width": picture.width, "height": picture.height, "count": picture.count}
