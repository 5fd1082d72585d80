"""BDMC gaps of the samplers at equal gradient evaluations, on images simulated from each model: a plug-in and a table.

The benchmark ``bdmc-gap`` measures the gap alone, so a study is runs like any other: planned, sharded, stored.

    preimage run -b bdmc-gap --plugin benchmarks/likelihood_study.py -m fashion-dcgan --db study.db \\
        --set sampler=prior-path --set sampler.evaluations=1000 --set simulated=16 --seed 1
    python -m preimage.benchmarks.likelihood_study study.db [--write docs/likelihood.md]

The second prints what every such run in the database has measured: all images of all seeds of a model, sampler and
number of evaluations in one line, beside the ``published`` sampler with as many. ``--write`` puts the table into a page
between its two marks.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from preimage.benchmarks.likelihood import LikelihoodOptions
from preimage.harness.asking_likelihood import likelihood_of_simulated, noises_of
from preimage.harness.benchmark import Ask, Data, MetricInfo, Model, Score
from preimage.harness.hooks import Register, hookimpl
from preimage.harness.rows import Rows

if TYPE_CHECKING:
    from preimage.harness.rows import Floats

NAME = "bdmc-gap"
MARKS = ("<!-- study -->", "<!-- end of study -->")


class GapBenchmark:
    """How far a sampler's bounds of log p(x) lie apart on images that were drawn from the model, noise and all."""

    name = NAME
    version = 1
    question = "How far from the truth is this sampler on this model?"
    options = LikelihoodOptions
    metrics: ClassVar[Mapping[str, MetricInfo]] = {
        "bdmc_gap": MetricInfo("nats", "lower", "mean over simulated images of upper minus lower bound"),
        "bdmc_gap_median": MetricInfo("nats", "lower", "median over simulated images of the gap"),
    }

    def requests(self, model: Model, data: Data, options: LikelihoodOptions) -> dict[str, Ask]:
        """Simulated images, under each noise."""
        return {
            f"simulated{suffix}": likelihood_of_simulated(model, options, noise, options.simulated)
            for suffix, noise in noises_of(model, data, options).items()
        }

    def summarise(self, rows: Mapping[str, Rows], options: LikelihoodOptions) -> list[Score]:
        """Mean and median."""
        from preimage.harness import statistics
        from preimage.harness.likelihood_scores import by_noise

        scores = []
        for suffix, found in by_noise(rows).items():
            gap = found["simulated"]["gap"]
            scores += [
                Score(f"bdmc_gap{suffix}", statistics.mean(gap)),
                Score(f"bdmc_gap_median{suffix}", statistics.median(gap)),
            ]
        return scores


@hookimpl
def register_benchmarks(register: Register) -> None:
    register(GapBenchmark())


class Place(NamedTuple):
    """One line of the table: a model, the gradient evaluations of a chain, a sampler."""

    model: str
    evaluations: int
    sampler: str


class Found(NamedTuple):
    """What was measured at a place: gaps of all images [n], noise variances and seeds of the runs."""

    gaps: Floats
    sigma2: tuple[float, ...]
    seeds: tuple[int, ...]


def measured(database: Path) -> dict[Place, Found]:
    """Every gap that the database holds, whichever benchmark asked for it. Samplers with settings that are not their
    defaults are told apart. A later run under another seed leaves the rows of the earlier ones where they are."""
    import numpy as np

    from preimage.harness.results import Results

    runs: dict[Place, list[tuple[Floats, float, int]]] = {}
    with Results(database) as results:
        for row in results.query("SELECT key, model FROM request WHERE kind = 'likelihood' ORDER BY key"):
            described = results.description(row["key"])
            stored = results.stored_rows(row["key"])
            if "gap" not in stored.values:
                continue
            settings = dict(described["sampler"])
            sampler, evaluations = settings.pop("name"), settings.pop("evaluations")
            place = Place(row["model"], evaluations, sampler + _changed(sampler, settings))
            run = (stored["gap"], float(stored["sigma2"][0]), int(described["seed"]))
            runs.setdefault(place, []).append(run)
    return {
        place: Found(
            np.concatenate([gaps for gaps, _, _ in of]),
            tuple(sorted({sigma2 for _, sigma2, _ in of})),
            tuple(sorted({seed for _, _, seed in of})),
        )
        for place, of in runs.items()
    }


def _changed(sampler: str, settings: Mapping[str, object]) -> str:
    """The settings that are not a sampler's own defaults, in brackets."""
    from preimage.harness.options import plain_options
    from preimage.harness.plugins import Registry

    default = plain_options(Registry().samplers[sampler]())
    other = {name: value for name, value in settings.items() if name not in default or default[name] != value}
    return f" {json.dumps(other)}" if other else ""


def table(found: Mapping[Place, Found]) -> str:
    """The table in Markdown, models in order, published first."""
    import numpy as np

    lines = [
        "| model (sigma2) | evaluations | sampler | images, seeds | mean gap | median | 90 % | of published |",
        "|---|---|---|---|---|---|---|---|",
    ]
    order = ("published", "prior-path", "laplace")
    for place in sorted(found, key=lambda p: (p.model, p.evaluations, order.index(p.sampler.split()[0]), p.sampler)):
        here = found[place]
        published = found.get(place._replace(sampler="published"))
        gaps = here.gaps
        error = gaps.std(ddof=1) / np.sqrt(len(gaps)) if len(gaps) > 1 else float("nan")
        share = "" if published is None or published is here else _share(gaps.mean() / published.gaps.mean())
        sigma2 = " to ".join(dict.fromkeys((f"{min(here.sigma2):.4f}", f"{max(here.sigma2):.4f}")))
        lines.append(
            f"| {place.model} ({sigma2}) | {place.evaluations:,} | {place.sampler} | {len(gaps)}, {len(here.seeds)} "
            f"| {gaps.mean():.2f} ± {error:.2f} | {np.median(gaps):.2f} | {np.quantile(gaps, 0.9):.2f} | {share} |"
        )
    return "\n".join(lines)


def _share(ratio: float) -> str:
    if ratio <= 0:  # bounds that cross by noise
        return "0"
    return f"1/{1 / ratio:.0f}" if ratio < 1 else f"{ratio:.2f}"


def written(page: str, text: str) -> str:
    """The page with the text between the marks, which it must have. Raises UsageError where it has not."""
    from preimage.harness.errors import UsageError

    before, first, rest = page.partition(MARKS[0])
    _, second, after = rest.partition(MARKS[1])
    if not (first and second):
        raise UsageError(f"the page has no {MARKS[0]} ... {MARKS[1]}: add both where the table belongs")
    return f"{before}{first}\n\n{text}\n\n{second}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(description="BDMC gaps that runs of the benchmark bdmc-gap have measured.")
    parser.add_argument("database", type=Path)
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table into this page, between its marks")
    given = parser.parse_args()
    text = table(measured(given.database))
    print(text)
    if given.write is not None:
        given.write.write_text(written(given.write.read_text(), text))


if __name__ == "__main__":
    main()
