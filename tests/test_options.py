"""Options: one dataclass, read from suites, `--set` and the database alike."""

from __future__ import annotations

from typing import Any

import pytest

from preimage.harness.errors import UnknownName, UsageError
from preimage.harness.options import RecoveryOptions, described, merged, options_from, parse_settings, plain_options
from preimage.harness.plugins import Registry
from preimage.harness.solvers.adam import Adam
from preimage.harness.solvers.lbfgs import Lbfgs
from preimage.harness.suites import read_suite

SOLVERS = Registry().choices


def read(settings: dict[str, Any]) -> RecoveryOptions:
    return options_from(RecoveryOptions, settings, SOLVERS, source="here")


def test_nothing_set_is_the_defaults() -> None:
    assert read({}) == RecoveryOptions()
    assert RecoveryOptions().solver == Lbfgs()


def test_a_solver_is_named_and_set_in_three_ways() -> None:
    wanted = RecoveryOptions(solver=Adam(steps=50))
    assert read({"solver": "adam", "solver.steps": 50}) == wanted
    assert read({"solver": {"name": "adam", "steps": 50}}) == wanted
    assert read({"solver.name": "adam", "solver.steps": 50}) == wanted
    assert read({"solver.steps": 50}) == RecoveryOptions(solver=Lbfgs(steps=50))


def test_what_is_stored_is_read_back() -> None:
    options = RecoveryOptions(limit=7, solver=Adam(lr=0.1, schedule="constant"), penalty=0.01, project=True, space="w")
    assert read(plain_options(options)) == options


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"limits": 3}, "unknown option 'limits'. Did you mean 'limit'?"),
        ({"limit": "many"}, "option 'limit' is 'many'; it must be a whole number"),
        ({"limit": 1.5}, "option 'limit' is 1.5; it must be a whole number"),
        ({"limit": True}, "option 'limit' is True; it must be a whole number"),
        ({"penalty": "x"}, "option 'penalty' is 'x'; it must be a number"),
        ({"project": 1}, "option 'project' is 1; it must be true or false"),
        ({"distance": 3}, "option 'distance' is 3; it must be a text"),
        ({"solver.step": 3}, "solver 'lbfgs' has no setting 'step'. Did you mean 'steps'?"),
        ({"solver.steps": "x"}, "option 'solver.steps' is 'x'; it must be a whole number"),
        ({"solver": "adam", "solver.schedule": "linear"}, "choose one of 'cosine', 'constant'"),
        ({"limit.x": 3}, "option 'limit' has no settings of its own"),
    ],
)
def test_a_wrong_option_is_told_with_the_value_and_the_remedy(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as error:
        read(settings)
    assert said in str(error.value)
    assert str(error.value).startswith("here: ")


def test_an_unknown_solver_gets_a_guess() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'adam'"):
        read({"solver": "adm"})


def test_a_number_in_scientific_notation_is_a_number() -> None:
    assert read(parse_settings(["penalty=1e-2"])).penalty == 0.01


def test_settings_of_the_command_line_are_yaml() -> None:
    assert parse_settings(["limit=96", "project=true", "space=w"]) == {"limit": 96, "project": True, "space": "w"}
    for pair, said in (("limit", "is not key=value"), ("=3", "is not key=value"), ("limit={", "is not YAML")):
        with pytest.raises(UsageError, match=said):
            parse_settings([pair])


def test_the_command_line_wins_over_the_suite() -> None:
    def both(suite: dict[str, Any], line: dict[str, Any]) -> RecoveryOptions:
        return read(merged(suite, line))

    suite = {"solver": "adam", "solver.steps": 750, "limit": 96}
    assert both(suite, {"solver.steps": 10}) == RecoveryOptions(limit=96, solver=Adam(steps=10))
    assert both(suite, {"solver": "adam"}).solver == Adam(steps=750)
    assert both(suite, {"solver": "lbfgs"}).solver == Lbfgs()
    assert both({"solver.steps": 100}, {"limit": 3}) == RecoveryOptions(limit=3, solver=Lbfgs(steps=100))
    assert both({"solver": {"name": "adam", "lr": 0.1}}, {"solver.steps": 9}).solver == Adam(lr=0.1, steps=9)


def test_every_option_says_what_it_is() -> None:
    for name, default, meaning in described(RecoveryOptions):
        assert meaning, name
        assert default, name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: a\n", "needs `name` and a table `benchmarks`"),
        ("benchmarks: {}\n", "needs `name`"),
        ("name: a\nbenchmarks: {recovery: }\nmodel: x\n", "unknown fields model"),
        ("name: [", "cannot read the suite"),
    ],
)
def test_a_wrong_suite_is_told(tmp_path: Any, text: str, said: str) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(text)
    with pytest.raises(UsageError, match=said):
        read_suite(file)
