"""Scores recomputed from stored rows alone: no model, no data, no torch."""

from __future__ import annotations

from preimage.harness.benchmark import scored
from preimage.harness.options import options_from
from preimage.harness.plugins import Registry
from preimage.harness.store import Store


def summarise_all(store: Store, registry: Registry) -> tuple[int, list[str]]:
    """Recompute the scores of every evaluation whose rows are complete; how many, and why others could not be."""
    done, left = 0, []
    for evaluation in store.evaluations():
        if evaluation.status == "refused" or not evaluation.asks:
            continue
        try:
            benchmark = registry.benchmarks[evaluation.benchmark]
            options = options_from(
                benchmark.options, evaluation.options, registry.choices, source=f"stored {evaluation.benchmark!r}"
            )
            rows = {ask.role: store.rows(ask.request, ask.count) for ask in evaluation.asks}
            scores, metrics = scored(benchmark, rows, options)
        except Exception as error:  # a stranger's summary may raise anything; the others are summarised
            if evaluation.status == "ok":
                left.append(f"{evaluation.model} / {evaluation.benchmark}: {type(error).__name__}: {error}")
            continue
        store.rescore(evaluation, scores, metrics, benchmark.version)
        done += 1
    return done, left
