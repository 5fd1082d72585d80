"""The built-in benchmarks and suites, registered through the same hooks as a stranger's."""

from __future__ import annotations

from pathlib import Path

from preimage.harness.hooks import Deferred, Register, hookimpl

BENCHMARKS = {
    "recovery": "recovery:RecoveryBenchmark",
    "overfitting": "overfitting:Overfitting",
    "goodness-of-fit": "goodness_of_fit:GoodnessOfFit",
    "classification": "classification:Classification",
    "outliers": "outliers:Outliers",
    "likelihood": "likelihood:LikelihoodBenchmark",
    "typicality": "typicality:Typicality",
    "flatness": "flatness:Flatness",
    "frechet": "frechet:Frechet",
}


@hookimpl
def register_benchmarks(register: Register) -> None:
    for name, home in BENCHMARKS.items():
        register(name, Deferred(f"preimage.benchmarks.{home}", call=True))


@hookimpl
def register_suites(register: Register) -> None:
    register(Path(__file__).parent / "suites")
