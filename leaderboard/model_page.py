"""``model/<slug>.html``: one model, everything the database knows of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from preimage.harness.results import Results
from preimage.leaderboard import words
from preimage.leaderboard.album import Album
from preimage.leaderboard.board import Cell, column_decimals, doubtful, flags_of, score_cell
from preimage.leaderboard.checkpoints import Course, Panels, courses_of, panels_of
from preimage.leaderboard.evidence import evidence_of
from preimage.leaderboard.likelihoods import likelihoods_of
from preimage.leaderboard.measured import measured_of
from preimage.leaderboard.proof import LIKELIHOOD
from preimage.leaderboard.records import Entry, Figure, ModelRecord, Records, precedence
from preimage.leaderboard.reproducing import run_command, verify_command
from preimage.leaderboard.requests_shown import listed

LONG = 1500  # characters of one setting that the page shows
TRACE = 40_000


@dataclass(frozen=True)
class Scored:
    """A score as the page prints it."""

    figure: Figure
    cell: Cell


@dataclass(frozen=True)
class Evaluated:
    """A benchmark applied to the model, with the commands that measure it again and that check it."""

    entry: Entry
    scores: tuple[Scored, ...]
    flags: tuple[str, ...]
    doubtful: bool
    unreliable: bool
    in_bits: bool
    run: str
    verify: str


@dataclass(frozen=True)
class Training:
    """The course of training that a model belongs to. panels: on the page of the model that it leads to."""

    course: Course
    head: ModelRecord
    panels: Panels | None


def model_context(results: Results, records: Records, model: ModelRecord, album: Album) -> Mapping[str, Any]:
    """What the template of the page is given."""
    entries = sorted(
        (entry for entry in records.entries if entry.model.name == model.name),
        key=lambda e: (e.evaluation.dataset, precedence(e.benchmark.name), e.benchmark.name),
    )
    measured = measured_of(results, entries)
    evidence = evidence_of(results, album, model, entries, measured)
    return {
        "model": model,
        "facts": facts(model),
        "settings": {name: words.flat(model.card.get(name) or {}) for name in ("config", "training")},
        "samples": next((e.samples for e in evidence if e.samples is not None), None),
        "evidence_groups": evidence,
        "likelihoods": likelihoods_of(results, album, measured),
        "trainings": _trainings(results, records, model),
        "evaluated": [_evaluated(entry) for entry in entries],
        "requests": listed(results, measured.values()),
        "reported": [row for row in records.reported if row["model"] == model.name],
        "long": LONG,
        "trace_length": TRACE,
    }


def _trainings(results: Results, records: Records, model: ModelRecord) -> list[Training]:
    """The courses that the model is a checkpoint of."""
    found = []
    for parent, course in courses_of(records.models).items():
        if model not in [checkpoint for _, checkpoint in course]:
            continue
        head = next((one for one in records.models if one.name == parent), course[-1][1])
        panels = panels_of(results, records, course) if head == model else None
        found.append(Training(course, head, panels))
    return found


def _evaluated(entry: Entry) -> Evaluated:
    scores = tuple(
        Scored(figure, score_cell(entry, name, column_decimals([figure]))) for name, figure in entry.figures.items()
    )
    run, verify = run_command(entry.evaluation), verify_command(entry.evaluation)
    unreliable = any(score.cell.doubt for score in scores)
    in_bits = entry.benchmark.name == LIKELIHOOD and bool(scores)
    return Evaluated(entry, scores, flags_of(entry), doubtful(entry), unreliable, in_bits, run, verify)


def facts(model: ModelRecord) -> Sequence[tuple[str, str]]:
    """The card, as terms and texts; what it does not say is left out, except the licence."""
    card = model.card
    image = words.setting(card.get("image")).replace(", ", " \N{MULTIPLICATION SIGN} ")
    weights = card.get("weights") or {}
    trained = card.get("trained_on")
    rows = [
        ("Family", model.family),
        ("Kind", model.kind),
        ("Licence", card.get("licence") or "not stated"),
        ("Paper", card.get("paper")),
        ("Data set", card.get("dataset")),
        ("Trained on", f"the first {words.count(trained)} images of train" if isinstance(trained, int) else None),
        ("Image", image),
        ("Classes", card.get("num_classes") or "none: unconditional"),
        ("Latent space", card.get("space")),
        ("Weights", weights.get("uri")),
        ("Weights sha256", weights.get("sha256")),
        ("Tags", words.setting(card.get("tags"))),
        ("Parent", card.get("parent")),
        ("Step", card.get("step")),
        ("Version", card.get("version")),
        ("Identity", model.identity),
    ]
    if model.kind == "reference":
        rows = [row for row in rows if row[0] not in ("Latent space", "Classes")]
    return [(term, words.shown(text, LONG)) for term, text in rows if text not in (None, "", "not set")]
