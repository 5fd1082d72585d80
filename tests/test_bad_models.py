"""Models that break the contract: a failed row with its traceback each, and the others are scored all the same."""

from __future__ import annotations

import pytest

from tests.tiny_world import DATA, TINY, Shell
from tests.tiny_world import shell as shell

BROKEN = """
class AlwaysNan(Tiny):
    def decode(self, code, label=None, *, space="z"):
        return super().decode(code) * float("nan")

class SometimesNan(Tiny):
    def decode(self, code, label=None, *, space="z"):
        images = super().decode(code)
        return torch.where((code[:, 0] > 1.2).reshape(-1, 1, 1, 1), images * float("nan"), images)

class WrongShape(Tiny):
    def decode(self, code, label=None, *, space="z"):
        return super().decode(code)[:, :, :, :7]

class WrongType(Tiny):
    def decode(self, code, label=None, *, space="z"):
        return super().decode(code).double()

class Raises(Tiny):
    def decode(self, code, label=None, *, space="z"):
        raise RuntimeError("no such layer")

class Detached(Tiny):
    def decode(self, code, label=None, *, space="z"):
        with torch.no_grad():
            return super().decode(code)

class Unlike(Tiny):
    image = ImageSpec(1, 4, 4)

def no_generator(device):
    return "weights"

@hookimpl
def register_models(register):
    for kind in (Tiny, AlwaysNan, SometimesNan, WrongShape, WrongType, Raises, Unlike):
        register(card("tiny-" + kind.__name__.lower(), kind))
    register(card("detached", Detached))
    register(ModelCard("tiny-nothing", "tiny", "tiny", IMAGE, 0, load=no_generator))
"""

REASONS = {
    "tiny-alwaysnan": ("not finite", "`preimage check"),
    "tiny-sometimesnan": ("not finite", "`preimage check"),
    "tiny-wrongshape": ("GeneratorError", "1, 8, 7)", "1, 8, 8)", "Correct `image` on the card, or decode"),
    "tiny-wrongtype": ("GeneratorError", "torch.float64", "end decode with .float()"),
    "tiny-raises": ("RuntimeError", "no such layer"),
    "tiny-unlike": ("CardError", "`image` is 1x8x8", "(1, 4, 4)"),
    "tiny-nothing": ("GeneratorError", "returned str, not a preimage Generator"),
}
"""What the reason of each model's failure must name."""


@pytest.fixture
def broken(shell: Shell) -> Shell:
    shell.write("broken.py", TINY + DATA + BROKEN)
    return shell


@pytest.mark.parametrize("solver", ["lbfgs", "adam"])
def test_broken_models_fail_with_a_reason_and_the_others_are_scored(broken: Shell, solver: str) -> None:
    quick = ("--set", f"solver={solver}", "--set", "solver.steps=20")
    ended = broken.run("-b", "recovery", "-m", "tiny-*", *quick, plugin="broken.py")
    assert ended.status == 1
    assert f"1 ok, {len(REASONS)} failed" in ended.said
    stored = {row["model"]: row for row in broken.query("SELECT * FROM evaluation")}
    assert stored.pop("tiny-tiny")["status"] == "ok"
    assert stored.keys() == REASONS.keys()
    for name, row in stored.items():
        assert row["status"] == "failed", name
        assert not [word for word in REASONS[name] if word not in row["reason"]], row["reason"]
        assert row["trace"].startswith("Traceback")
        assert "\n" not in row["reason"].strip()


@pytest.mark.parametrize("solver", ["lbfgs", "adam"])
def test_images_that_autograd_cannot_follow_to_their_codes_fail(broken: Shell, solver: str) -> None:
    """Else every search ends where it began, and the errors of prior draws would be reported as recovery errors."""
    ended = broken.run("-b", "recovery", "-m", "detached", "--set", f"solver={solver}", plugin="broken.py")
    assert ended.status == 1
    (row,) = broken.query("SELECT status, reason FROM evaluation")
    assert row["status"] == "failed"
    assert "no_grad" in row["reason"]


def test_a_failed_model_is_one_row_without_a_value(broken: Shell) -> None:
    broken.run("-b", "recovery", "-m", "tiny-raises", plugin="broken.py")
    (row,) = broken.scores()
    assert (row["metric"], row["value"], row["status"]) == ("*", None, "failed")
    assert "no such layer" in row["reason"]


def test_fail_fast_stops_at_the_first_failure(broken: Shell) -> None:
    ended = broken.run(
        "-b", "recovery", "-m", "tiny-raises", "-m", "tiny-tiny", "--set", "solver=adam", "--fail-fast",
        plugin="broken.py",
    )  # fmt: skip
    assert ended.status == 1
    assert "1 failed, 1 stopped" in ended.said
    assert broken.query("SELECT count(*) AS n FROM block") == [{"n": 0}]


def test_a_repaired_model_is_scored_by_the_same_command(broken: Shell) -> None:
    command = ("-b", "recovery", "-m", "tiny-raises", "--set", "solver=adam", "--set", "solver.steps=20")
    assert broken.run(*command, plugin="broken.py").status == 1
    repaired = BROKEN.replace('raise RuntimeError("no such layer")', "return super().decode(code)")
    broken.write("broken.py", TINY + DATA + repaired)
    assert broken.run(*command, plugin="broken.py").status == 0
    assert {row["status"] for row in broken.scores()} == {"ok"}


@pytest.mark.parametrize(
    "name", ["detached", *(name for name in REASONS if name not in ("tiny-raises", "tiny-sometimesnan"))]
)
def test_check_finds_what_breaks(broken: Shell, name: str) -> None:
    ended = broken("check", name, "--plugin", broken.folder / "broken.py")
    assert ended.status == 1
    assert "broken" in ended.out


def test_check_holds_for_a_sound_model(broken: Shell) -> None:
    ended = broken("check", "tiny-tiny", "--plugin", broken.folder / "broken.py")
    assert ended.status == 0, ended.out
    assert "broken" not in ended.out


def test_show_tells_of_a_model_that_cannot_be_loaded(broken: Shell) -> None:
    ended = broken("show", "tiny-nothing", "--plugin", broken.folder / "broken.py")
    assert ended.status == 0
    assert "cannot be loaded: GeneratorError" in ended.said
