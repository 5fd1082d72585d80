"""Suites: published protocols, as data. A suite says which benchmarks run with which options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

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
    """A protocol: options shared by all its benchmarks, and each benchmark's own. Models and data are its defaults."""

    name: str
    description: str = ""
    source: str = ""
    models: tuple[str, ...] = ("*",)
    dataset: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    benchmarks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    reported: tuple[Figure, ...] = ()


_FIELDS = ("name", "description", "source", "models", "dataset", "options", "benchmarks")


def read_suite(path: Path) -> Suite:
    """The suite in a YAML file. Raises UsageError where it is none."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise UsageError(f"cannot read the suite {str(path)!r}: {error}") from error
    if not isinstance(data, dict) or "name" not in data or not isinstance(data.get("benchmarks"), dict):
        raise UsageError(f"the suite {str(path)!r} needs `name` and a table `benchmarks`")
    if unknown := sorted(set(data) - set(_FIELDS)):
        raise UsageError(
            f"the suite {str(path)!r} has unknown fields {', '.join(unknown)}; known: {', '.join(_FIELDS)}"
        )
    for name, table in (("options", data.get("options")), *data["benchmarks"].items()):
        if not isinstance(table or {}, dict):
            raise UsageError(f"the suite {str(path)!r}: {name!r} is {table!r}; it must be a table of options")
    data["options"] = data.get("options") or {}
    models = data.get("models", ["*"])
    if not isinstance(models, list) or not all(isinstance(model, str) for model in models):
        raise UsageError(f"the suite {str(path)!r}: `models` is {models!r}; write a list, e.g. [ppca, 'fashion-*']")
    benchmarks = {name: dict(options or {}) for name, options in data["benchmarks"].items()}
    return Suite(**{**data, "models": tuple(models), "benchmarks": benchmarks})


def read_suites(path: Path) -> list[Suite]:
    """The suite in a file, or all suites (``*.yaml``) of a folder, by name."""
    return [read_suite(file) for file in (sorted(path.glob("*.yaml")) if path.is_dir() else [path])]
