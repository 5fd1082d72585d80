"""Stored recoveries scored in further distances: what ``preimage summarise --distance`` measures."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from preimage.harness.errors import PreimageError
from preimage.harness.options import options_from
from preimage.harness.plan import Evaluation, Plan, asks_of, stages_of
from preimage.harness.rescoring import Rescored
from preimage.harness.results import StoredEvaluation
from preimage.harness.world import World

SCORED_IN = "scored_in"
"""The option of benchmarks that score recovered images in distances by name."""


def plan_further_scores(
    evaluations: Sequence[StoredEvaluation],
    distances: Sequence[str],
    world: World,
    stored: Callable[[str], set[int]],
) -> tuple[Plan, list[str]]:
    """The plan that scores stored recoveries in these distances too, and why some evaluations are left as they are.

    Nothing is recovered: an evaluation whose recoveries are not those that would be measured now is left alone.
    Raises UnknownName for a distance that is not installed, WeightsError where its weights cannot be had.
    """
    for distance in distances:
        world.distance(distance)
    chosen, left = [], []
    for one in evaluations:
        if one.status != "ok" or not _scores_recoveries(one.benchmark, world):
            continue
        try:
            evaluation = _with_distances(one, distances, world)
            again = any(
                work.missing and not isinstance(work.request, Rescored)
                for stage in stages_of([evaluation], stored, world)
                for work in stage
            )
        except PreimageError as error:
            left.append(f"{one.model} / {one.benchmark}: {error}")
            continue
        if again:
            left.append(
                f"{one.model} / {one.benchmark}: its stored rows are not of what loads now, so its codes cannot be "
                "decoded. `preimage run` measures what is there now"
            )
        else:
            chosen.append(evaluation)
    return Plan(chosen, stages_of(chosen, stored, world)), left


def _scores_recoveries(benchmark: str, world: World) -> bool:
    installed = world.registry.benchmarks
    return benchmark in installed and SCORED_IN in installed[benchmark].options.__dataclass_fields__


def _with_distances(one: StoredEvaluation, distances: Sequence[str], world: World) -> Evaluation:
    benchmark = world.registry.benchmarks[one.benchmark]
    options = options_from(benchmark.options, one.options, world.registry.choices, source=f"stored {benchmark.name!r}")
    scored_in = tuple(dict.fromkeys([*getattr(options, SCORED_IN), *distances]))
    options = dataclasses.replace(options, **{SCORED_IN: scored_in})
    world.registry.check_dataset(one.dataset)
    model = world.model(one.model)
    asks = asks_of(benchmark, model, world.data(one.dataset), options, world)
    return Evaluation(model.card, one.dataset, benchmark, one.suite, options, model.key, asks)
