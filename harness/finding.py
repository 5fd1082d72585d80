"""Finding stored evaluations by names and shell globs."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable

from preimage.harness.errors import UnknownName, UsageError
from preimage.harness.options import guess
from preimage.harness.plugins import Registry
from preimage.harness.results import Results, StoredEvaluation


def stored_evaluations(
    results: Results,
    registry: Registry,
    model: str,
    benchmark: str,
    dataset: str | None = None,
    suite: str | None = None,
) -> list[StoredEvaluation]:
    """Every stored evaluation that the names or globs match; dataset, suite: any where None, suite "" for none.

    Raises UnknownName for a name that is neither stored nor installed, UsageError where nothing is stored.
    """
    every = results.evaluations()
    for kind, name, stored, installed in (
        ("model", model, {e.model for e in every}, registry.models),
        ("benchmark", benchmark, {e.benchmark for e in every}, registry.benchmarks),
    ):
        if not _matching(name, stored) and not _matching(name, installed):
            raise UnknownName(kind, name, stored | set(installed))
    asked = f"preimage run -m {model} -b {benchmark}"
    found = [e for e in every if _matches(e.model, model) and _matches(e.benchmark, benchmark)]
    if not found:
        others = sorted({e.benchmark for e in every if _matches(e.model, model)})
        scored = f"of that model it has {', '.join(others)}" if others else "it has nothing of that model"
        raise UsageError(
            f"{str(results.path)!r} has no score of {model!r} on {benchmark!r}; {scored}. Type `{asked}` first, "
            "or name another database with --db FILE"
        )
    for option, wanted, column in (("-d", dataset, "dataset"), ("--suite", suite, "suite")):
        known = sorted({getattr(e, column) for e in found})
        if wanted is not None and not _matching(wanted, known):
            raise UsageError(
                f"{option} {wanted!r}: {str(results.path)!r} has no such score of {model!r} on {benchmark!r}."
                f"{guess(wanted, known)} It has {', '.join(map(repr, known))}"
            )
        found = [e for e in found if wanted is None or _matches(getattr(e, column), wanted)]
    return found


def _matching(name: str, known: Iterable[str]) -> bool:
    return any(_matches(one, name) for one in known)


def _matches(one: str, name: str) -> bool:
    return one == name or fnmatch.fnmatchcase(one, name)
