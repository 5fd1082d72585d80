"""Estimators that are wrong in one place: the test of unbiased weights finds each of them."""

from __future__ import annotations
import __future__

import inspect
import textwrap
from collections.abc import Callable
from types import ModuleType

import pytest
from exact_models import biases

from preimage.harness.samplers import anneal, hmc
from preimage.harness.samplers.hmc import Hmc

CAUGHT = 5.0
"""Standard errors off; a right estimator is within 3.5 (see ``test_anneal.py``)."""

Target = tuple[ModuleType | type, str]
RUN: Target = (anneal, "_run")
STEP: Target = (Hmc, "step")
LEAPFROG: Target = (hmc, "leapfrog")
JOINT: Target = (hmc, "_log_joint")

MUTANTS: dict[str, tuple[Target, str, str]] = {
    "sign of the weights": (RUN, "log_weight + widths", "log_weight - widths"),
    "sign of the first weight": (RUN, "log_weight = widths[0", "log_weight = -widths[0"),
    "widths of the neighbouring interval": (RUN, "k if forward else k - 1]", "k - 1 if forward else k]"),
    "two weights left out": (RUN, "log_weight = log_weight +", "log_weight = log_weight + (k not in (1, last - 1)) *"),
    "transitions one temperature too hot": (RUN, "Rung(k,", "Rung(k - 1,"),
    "transitions one temperature too cold": (RUN, "Rung(k,", "Rung(k + 1,"),
    "temperatures in the wrong order": (RUN, "in zip(order,", "in zip(order[::-1],"),
    "Metropolis ratio upside down": (
        STEP,
        "gain = joint - _log_joint(current, t)",
        "gain = _log_joint(current, t) - joint",
    ),
    "every proposal accepted": (STEP, "current.level.abs() < chance", "current.level.abs() < 2"),
    "half of the rejections accepted": (
        STEP,
        "current.level.abs() < chance",
        "current.level.abs() < 0.5 * chance + 0.5",
    ),
    "level multiplied by the ratio": (STEP, "current.level / gain.exp()", "current.level * gain.exp()"),
    "kinetic energy left out": (JOINT, "- 0.5 *", "- 0.0 *"),
    "kinetic energy twice": (JOINT, "- 0.5 *", "- 1.0 *"),
    "last kick whole": (LEAPFROG, "else 0.5 * kick", "else kick"),
    "momentum refreshed too little": (STEP, "math.sqrt(1 - a * a)", "(1 - a)"),
}


def _mutated(target: Target, old: str, new: str) -> Callable[..., object]:
    """The function with one expression replaced."""
    owner, name = target
    source = textwrap.dedent(inspect.getsource(getattr(owner, name)))
    assert source.count(old) == 1, f"{name} no longer holds {old!r} once"
    module = inspect.getmodule(getattr(owner, name))
    made: dict[str, Callable[..., object]] = {}
    flags = __future__.annotations.compiler_flag
    exec(compile(source.replace(old, new), f"<{name} with {new!r}>", "exec", flags=flags), vars(module).copy(), made)
    return made[name]


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_wrong_estimator_is_found_out(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    target, old, new = MUTANTS[mutant]
    monkeypatch.setattr(*target, _mutated(target, old, new))
    found = [bias for start in ("prior", "laplace") for bias in biases(start, 0.7, 0.1, images=200, chains=75)]
    assert max(abs(bias.off) for bias in found) > CAUGHT
