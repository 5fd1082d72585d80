"""The commands that measure a score again: every option as it was, so no default and no suite's file changes them."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from preimage.harness.results import StoredEvaluation

_PLAIN = re.compile(r"[A-Za-z][\w-]*", re.ASCII)
_NO_TEXTS = ("null", "true", "false", "yes", "no", "on", "off", "y", "n")  # words that YAML takes for something else


def run_command(evaluation: StoredEvaluation) -> str:
    """``preimage run`` with everything that the stored evaluation was asked with, as a shell reads it.

    A suite gives its scores their name; every option is given beside it, so the suite's own settings change nothing.
    """
    words = ["preimage", "run", *([evaluation.suite] if evaluation.suite else [])]
    words += ["-m", evaluation.model, "-b", evaluation.benchmark, "-d", evaluation.dataset]
    for setting in _settings(evaluation.options):
        words += ["--set", setting]
    return shlex.join(words)


def verify_command(evaluation: StoredEvaluation) -> str:
    """``preimage verify``: some stored images are measured again."""
    return shlex.join(["preimage", "verify", evaluation.model, evaluation.benchmark])


def _settings(options: Mapping[str, Any]) -> Iterator[str]:
    """``key=value``, values as YAML; a solver's name before its settings."""
    for key, value in options.items():
        if isinstance(value, Mapping) and "name" in value:
            yield f"{key}={_yaml(value['name'])}"
            yield from (f"{key}.{name}={_yaml(part)}" for name, part in value.items() if name != "name")
        else:
            yield f"{key}={_yaml(value)}"


def _yaml(value: object) -> str:
    """A value as YAML reads it back: JSON is YAML, and plain words need no quotes."""
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _NO_TEXTS:
        return value
    if isinstance(value, float) and "e" in (text := repr(value)) and "." not in text:
        return text.replace("e", ".0e")  # YAML takes 1e-05 for a text
    return json.dumps(value, ensure_ascii=False)
