"""The view ``score`` as text for scripts: what the command line prints and the site offers to download."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

COLUMNS = (
    "model",
    "family",
    "dataset",
    "benchmark",
    "metric",
    "value",
    "low",
    "high",
    "n",
    "unit",
    "better",
    "suite",
    "status",
    "reason",
    "request",
    "created",
)


def scores_json(scores: Sequence[Mapping[str, Any]]) -> str:
    """A list of objects, one per score."""
    rows = [{name: row[name] for name in COLUMNS} for row in scores]
    return json.dumps(rows, indent=1) + "\n"


def scores_csv(scores: Sequence[Mapping[str, Any]]) -> str:
    """A table with a header line; what is null is empty."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([row[name] for name in COLUMNS] for row in scores)
    return file.getvalue()
