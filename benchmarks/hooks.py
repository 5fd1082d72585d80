"""The built-in benchmarks and suites, registered through the same hooks as a stranger's."""

from __future__ import annotations

from pathlib import Path

from preimage.benchmarks.classification import Classification
from preimage.benchmarks.frechet import Frechet
from preimage.benchmarks.goodness_of_fit import GoodnessOfFit
from preimage.benchmarks.outliers import Outliers
from preimage.benchmarks.overfitting import Overfitting
from preimage.benchmarks.recovery import RecoveryBenchmark
from preimage.harness.hooks import Register, hookimpl


@hookimpl
def register_benchmarks(register: Register) -> None:
    register(RecoveryBenchmark())
    register(Overfitting())
    register(GoodnessOfFit())
    register(Classification())
    register(Outliers())
    register(Frechet())


@hookimpl
def register_suites(register: Register) -> None:
    register(Path(__file__).parent / "suites")
