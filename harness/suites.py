"""Suites: published protocols, as data. A suite says which benchmarks run with which options."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from preimage.harness.cards import plain_yaml
from preimage.harness.errors import UsageError


@dataclass(frozen=True)
class Figure:
    """A figure that a paper gives, and where: shown beside ours, marked as reported, never ranked with them."""

    model: str
    dataset: str
    benchmark: str
    metric: str
    value: float
    source: str


@dataclass(frozen=True)
class Suite:
    """A protocol: options shared by all its benchmarks, and each benchmark's own. Models and data are its defaults.

    reported: what the paper it follows gives, from CSV files that the YAML names relative to itself.
    """

    name: str
    description: str = ""
    source: str = ""
    models: tuple[str, ...] = ("*",)
    dataset: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    benchmarks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    reported: tuple[Figure, ...] = ()


_FIELDS = ("name", "description", "source", "models", "dataset", "options", "benchmarks", "reported")
_COLUMNS = ("suite", "model", "dataset", "benchmark", "metric", "value", "source")


def read_suite(path: Path) -> Suite:
    """The suite in a YAML file. Raises UsageError where it is none."""
    try:
        data = plain_yaml(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise UsageError(f"cannot read the suite {str(path)!r}: {error}") from error
    if not isinstance(data, dict) or "name" not in data or not isinstance(data.get("benchmarks"), dict):
        raise UsageError(f"the suite {str(path)!r} needs `name` and a table `benchmarks`")
    if unknown := sorted(set(data) - set(_FIELDS)):
        raise UsageError(
            f"the suite {str(path)!r} has unknown fields {', '.join(unknown)}; known: {', '.join(_FIELDS)}"
        )
    for name in ("name", "dataset", "description", "source"):
        said = data.get(name)
        if not isinstance(said, str) and (said is not None or name == "name"):
            raise UsageError(f"the suite {str(path)!r}: `{name}` is {said!r}; write a text, in quotes if need be")
    for name, table in (("options", data.get("options")), *data["benchmarks"].items()):
        if not isinstance(table or {}, dict):
            raise UsageError(f"the suite {str(path)!r}: {name!r} is {table!r}; it must be a table of options")
        if other := [key for key in (name, *(table or {})) if not isinstance(key, str)]:
            raise UsageError(f"the suite {str(path)!r}: {other[0]!r} is no name of a benchmark or option")
    data["options"] = data.get("options") or {}
    models = data.get("models", ["*"])
    if not isinstance(models, list) or not all(isinstance(model, str) for model in models):
        raise UsageError(f"the suite {str(path)!r}: `models` is {models!r}; write a list, e.g. [ppca, 'fashion-*']")
    benchmarks = {name: dict(options or {}) for name, options in data["benchmarks"].items()}
    files = data.get("reported") or []
    if not isinstance(files, list) or not all(isinstance(file, str) for file in files):
        raise UsageError(f"the suite {str(path)!r}: `reported` is {files!r}; write a list of CSV files")
    reported = tuple(figure for file in files for figure in read_figures(path.parent / file, str(data["name"])))
    return Suite(**{**data, "models": tuple(models), "benchmarks": benchmarks, "reported": reported})


def read_figures(path: Path, suite: str) -> list[Figure]:
    """The figures of a paper in a CSV file. Raises UsageError for other columns, no number, or another suite's rows."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            columns, lines = tuple(rows.fieldnames or ()), list(rows)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"suite {suite!r}: cannot read its reported figures {str(path)!r}: {error}") from error
    if columns != _COLUMNS:
        raise UsageError(f"{str(path)!r} has the columns {', '.join(columns)}; they must be {', '.join(_COLUMNS)}")
    return [_figure(row, f"{str(path)!r}, line {number}", suite) for number, row in enumerate(lines, start=2)]


def _figure(row: Mapping[str, str | None], where: str, suite: str) -> Figure:
    texts = {name: row.get(name) or "" for name in _COLUMNS}
    if texts["suite"] != suite:
        raise UsageError(f"{where}: its suite is {texts['suite']!r}; the suite that reads it is {suite!r}")
    if missing := [name for name in _COLUMNS if not texts[name]]:
        raise UsageError(f"{where}: nothing stands under {', '.join(missing)}")
    try:
        value = float(texts["value"])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"{where}: its value is {texts['value']!r}; it must be a finite number")
    names = ("model", "dataset", "benchmark", "metric", "source")
    return Figure(value=value, **{name: texts[name] for name in names})


def read_suites(path: Path) -> list[Suite]:
    """The suite in a file, or all suites (``*.yaml``) of a folder, by name."""
    return [read_suite(file) for file in (sorted(path.glob("*.yaml")) if path.is_dir() else [path])]
