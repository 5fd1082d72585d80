"""Suites: the papers' settings, and the papers' figures as data."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from preimage.harness.errors import UsageError
from preimage.harness.operators import Identity, Warp
from preimage.harness.options import merged, options_from
from preimage.harness.plugins import Registry
from preimage.harness.samplers.published import Published
from preimage.harness.solvers.adam import Adam
from preimage.harness.solvers.lbfgs import Lbfgs
from preimage.harness.solvers.rmsprop import RMSprop
from preimage.harness.suites import Figure, read_suite

REGISTRY = Registry()
OURS = [name for name in REGISTRY.suites if REGISTRY.suites.owner(name) == "preimage-benchmarks"]


def options(suite: str, benchmark: str) -> Any:
    """What a benchmark of a suite runs with."""
    kind = REGISTRY.benchmarks[benchmark].options
    own = kind.__dataclass_fields__
    known = {name: value for name, value in REGISTRY.suites[suite].options.items() if name.partition(".")[0] in own}
    settings = merged(known, REGISTRY.suites[suite].benchmarks[benchmark])
    return options_from(kind, settings, REGISTRY.choices, source=suite)


@pytest.mark.parametrize("suite", OURS)
def test_every_suite_runs_known_benchmarks_with_known_options(suite: str) -> None:
    found = REGISTRY.suites[suite]
    assert found.description and found.dataset == "fashion-mnist"
    assert found.benchmarks
    for benchmark in found.benchmarks:
        assert options(suite, benchmark)
    for pattern in found.models:
        assert pattern


def test_the_published_protocols_are_those_of_the_papers() -> None:
    """METHODS 1: distance, solver, steps, start, restarts, targets of each protocol."""
    webster = options("webster2019", "overfitting")
    assert (webster.distance, webster.restarts, webster.draws, webster.limit) == ("squared-l2", 1, 1, None)
    assert webster.solver == Lbfgs(steps=50, metric=False, patience=0)
    assert (webster.distortion, webster.operator, webster.encoder) == (Warp(), Identity(), True)

    fit = options("goodness-of-fit", "goodness-of-fit")
    assert (fit.distance, fit.restarts, fit.draws, fit.limit) == ("l2", 1, 1, 100)
    assert fit.solver == Adam(lr=0.05, steps=5000, schedule="constant", tolerance=1e-4, patience=100)

    creswell = options("creswell2018", "recovery")
    assert (creswell.penalty, creswell.restarts, creswell.draws, creswell.limit) == (0.01, 1, 1, 500)
    assert (creswell.distance, creswell.further_distances) == ("cross-entropy", ())
    assert creswell.solver == RMSprop(lr=0.01, steps=5000, tolerance=1e-4, patience=100)

    for benchmark in ("recovery", "classification", "outliers"):
        intriguing = options("intriguing", benchmark)
        assert (intriguing.distance, intriguing.further_distances) == ("squared-l2", ("lpips-alex",))
        assert (intriguing.restarts, intriguing.draws, intriguing.limit) == (4, 500, 1000)
        assert intriguing.solver == Adam(lr=0.05, steps=750, schedule="cosine", patience=0)


def test_the_published_likelihoods_are_those_of_the_papers() -> None:
    """METHODS 9 and 10: temperatures, chains, leapfrogs, the step and its adaptation, sizes and trials."""
    rule = {"step": 0.05, "target": 0.65, "up": 1.02, "down": 0.98, "memory": 0.9, "rad": 4.0, "leapfrogs": 10}
    wu = options("wu2017", "likelihood")
    assert wu.sampler == Published(evaluations=10 * 9_999 + 1, chains=16, **rule)
    assert (wu.sigma2, wu.sampler.shortest, wu.sampler.longest) == ((), 1e-4, 0.5)
    for benchmark in ("likelihood", "typicality", "flatness", "classification", "outliers"):
        intriguing = options("intriguing", benchmark)
        assert intriguing.sampler == Published(evaluations=10 * 499 + 1, chains=4, **rule)
        assert intriguing.sigma2 == ()
    for benchmark in ("classification", "outliers"):
        assert options("intriguing", benchmark).by == ("recovery", "likelihood")
    typicality = options("intriguing", "typicality")
    assert (typicality.sizes, typicality.trials) == ((10, 25, 50, 75), 100)
    assert "svhn" in typicality.sets_if_present and "constant" in typicality.sets
    ours = REGISTRY.benchmarks["likelihood"].options().sampler
    assert options("likelihood", "likelihood").sampler == options("likelihood", "flatness").sampler == ours


RENAMED = {
    "mre_distortion": "mre_distorted",
    "log_likelihood_bits_per_dim": "bits_per_dim",
    "psnr": "sigma2_psnr",
    "celeba": "CelebA",
    "shoes": "Shoes",
    "omniglot": "Omniglot",
}


def printed(folder: Path) -> Iterator[tuple[str, str, str, str, float]]:
    """(suite, model, data set, metric, value) of every number in the papers' tables."""
    for file in sorted(folder.glob("*.csv")):
        suite = {"intriguing2024": "intriguing"}.get(file.stem.split("_")[0], file.stem.split("_")[0])
        lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
        for row in csv.DictReader(lines):
            for column, text in row.items():
                if column in ("model", "dataset", "n") or not text:
                    continue
                metric, dataset = RENAMED.get(column, column), row.get("dataset", "")
                if "n" in row:
                    metric = f"share_{column}/{row['n']}"
                if suite == "creswell2018":
                    metric, dataset = "mse/cross-entropy", RENAMED[column]
                yield suite, row["model"], dataset, metric, float(text)


def test_the_figures_are_those_of_the_papers(shared: Path) -> None:
    wanted = sorted(printed(shared / "papers"))
    ours = sorted(
        (name, f.model, f.dataset, f.metric, f.value)
        for name in OURS
        for f in REGISTRY.suites[name].reported
        if name != "wu2017"  # whose table is in METHODS 9 alone
    )
    assert len(wanted) == 215
    assert ours == wanted


def test_the_figures_of_wu_et_al_are_those_of_methods(shared: Path) -> None:
    """METHODS 9 gives their Table 2 in one line: ``VAE-50 991.4 | 1.54, ...``."""
    (line,) = [one for one in (shared / "METHODS.md").read_text().splitlines() if "Wu et al. Table 2" in one]
    wanted = {
        (model, metric): float(value)
        for model, nats, gap in re.findall(r"([A-Z]+-\d+) ([\d.]+) \| ([\d.]+\d)", line)
        for metric, value in (("log_likelihood", nats), ("bdmc_gap", gap))
    }
    figures = REGISTRY.suites["wu2017"].reported
    assert {(f.model, f.metric): f.value for f in figures} == wanted and len(wanted) == 12
    assert {(f.dataset, f.benchmark) for f in figures} == {("MNIST", "likelihood")}


def test_every_figure_says_where_it_stands() -> None:
    counts = {name: len(REGISTRY.suites[name].reported) for name in OURS if REGISTRY.suites[name].reported}
    assert counts == {"webster2019": 135, "creswell2018": 10, "intriguing": 70, "wu2017": 12}
    for name in OURS:
        for figure in REGISTRY.suites[name].reported:
            assert "Table" in figure.source or "section" in figure.source
            assert figure.benchmark in ("overfitting", "recovery", "likelihood", "typicality", "frechet")
            assert "unsigned" in figure.source or figure.metric != "mre_gap"
    table = {(f.model, f.dataset, f.metric): f.value for f in REGISTRY.suites["webster2019"].reported}
    assert table["DCGAN", "MNIST", "mre_gap"] == 0.0885
    signed = 1 - table["DCGAN", "MNIST", "mre_train"] / table["DCGAN", "MNIST", "mre_val"]
    assert signed == pytest.approx(-0.09, abs=0.002)  # the paper's column has lost the sign


def test_figures_are_installed_with_the_package() -> None:
    for name in ("webster2019", "creswell2018", "intriguing", "wu2017"):
        assert resources.files("preimage.benchmarks").joinpath(f"reported/{name}.csv").is_file()


HEAD = "suite,model,dataset,benchmark,metric,value,source\n"


def suite_with(folder: Path, reported: str, figures: str | None) -> Path:
    file = folder / "s.yaml"
    file.write_text(f"name: s\nbenchmarks: {{recovery: }}\nreported: {reported}\n")
    if figures is not None:
        (folder / "f.csv").write_text(figures)
    return file


def test_a_suite_reads_its_figures(tmp_path: Path) -> None:
    file = suite_with(tmp_path, "[f.csv]", HEAD + 's,GAN,CelebA,recovery,mse,1.5e-1,"A, Table 1"\n')
    assert read_suite(file).reported == (Figure("GAN", "CelebA", "recovery", "mse", 0.15, "A, Table 1"),)


@pytest.mark.parametrize(
    ("reported", "figures", "said"),
    [
        ("f.csv", HEAD, "`reported` is 'f.csv'; write a list of CSV files"),
        ("[f.csv]", None, "suite 's': cannot read its reported figures"),
        ("[f.csv]", "model,value\n", "has the columns model, value; they must be suite, model"),
        ("[f.csv]", HEAD + "t,GAN,C,recovery,mse,1,A\n", "line 2: its suite is 't'; the suite that reads it is 's'"),
        ("[f.csv]", HEAD + "s,GAN,C,recovery,mse,low,A\n", "line 2: its value is 'low'; it must be a finite number"),
        ("[f.csv]", HEAD + "s,GAN,C,recovery,mse,nan,A\n", "line 2: its value is 'nan'"),
        ("[f.csv]", HEAD + "s,GAN,C,recovery,mse,1\n", "line 2: nothing stands under source"),
    ],
)
def test_figures_that_are_none_are_told(tmp_path: Path, reported: str, figures: str | None, said: str) -> None:
    with pytest.raises(UsageError) as error:
        read_suite(suite_with(tmp_path, reported, figures))
    assert said in str(error.value)
