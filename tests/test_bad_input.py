"""Commands that cannot be meant: each ends with a status, the value seen and what to type; nothing stored is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny_world import TINY, Shell
from tests.tiny_world import shell as shell

RECOVERY = ("run", "-b", "recovery", "-m", "ppca", "--workers", "1")

USAGE: dict[str, tuple[tuple[str, ...], *tuple[str, ...]]] = {
    "verb": (("rnu", "quick"), "'rnu'", "`preimage run`", "`preimage --help`"),
    "suite": (("run", "qick"), "'qick'", "'quick'", "`preimage list suites`"),
    "suite file": (("run", "nowhere.yaml"), "'nowhere.yaml'", "No such file"),
    "model": (("run", "-m", "ppcca"), "'ppcca'", "'ppca'", "`preimage list models`"),
    "glob": (("run", "-m", "stylegan9*"), "'stylegan9*'", "`preimage list models`"),
    "shown": (("show", "ppcca"), "'ppcca'", "'ppca'"),
    "checked": (("check", "ppcca"), "'ppcca'", "'ppca'"),
    "benchmark": (("run", "-b", "recovry"), "'recovry'", "'recovery'", "`preimage list benchmarks`"),
    "data set": ((*RECOVERY, "-d", "fashon-mnist"), "'fashon-mnist'", "'fashion-mnist'"),
    "kind": (("list", "modles"), "'modles'", "'models'"),
    "solver": ((*RECOVERY, "--set", "solver=lbfsg"), "'lbfsg'", "'lbfgs'", "`preimage list solvers`"),
    "distance": ((*RECOVERY, "--set", "distance=l3"), "'l3'", "'l2'", "`preimage list distances`"),
    "option": ((*RECOVERY, "--set", "restart=3"), "restart=...", "'restarts'"),
    "setting": ((*RECOVERY, "--set", "solver.stpes=3"), "'stpes'", "'steps'"),
    "setting of another": ((*RECOVERY, "--set", "solver.lr=1"), "'lr'", "'lbfgs'", "memory"),
    "nested": ((*RECOVERY, "--set", "limit.x=3"), "'limit'", "operator, solver"),
    "flag": ((*RECOVERY, "--limt", "4"), "--limt", "--limit"),
    "no equals": ((*RECOVERY, "--set", "limit"), "'limit' is not key=value", "--set solver.steps=100"),
    "no key": ((*RECOVERY, "--set", "=3"), "'=3' is not key=value"),
    "not YAML": ((*RECOVERY, "--set", "limit=[3"), "limit=[3", "not YAML"),
    "word for number": ((*RECOVERY, "--set", "limit=many"), "'limit' is 'many'", "whole number"),
    "share for number": ((*RECOVERY, "--set", "restarts=1.5"), "'restarts' is 1.5", "whole number"),
    "number for truth": ((*RECOVERY, "--set", "project=1"), "'project' is 1", "true or false"),
    "nan": ((*RECOVERY, "--set", "penalty=.nan"), "'penalty' is nan", "finite"),
    "choice": ((*RECOVERY, "--set", "solver=adam", "--set", "solver.schedule=linear"), "'linear'", "'cosine'"),
    "no image": ((*RECOVERY, "--set", "limit=0"), "`limit` is 0", "at least 1"),
    "limit": ((*RECOVERY, "--limit", "0"), "--limit", "0"),
    "no restart": ((*RECOVERY, "--set", "restarts=0"), "`restarts` is 0", "at least 1"),
    "no step": ((*RECOVERY, "--set", "solver.steps=0"), "`solver.steps` is 0", "at least 1"),
    "no block": ((*RECOVERY, "--set", "block=0"), "`block` is 0", "at least 1"),
    "seed": ((*RECOVERY, "--seed", "abc"), "--seed", "'abc'"),
    "device": ((*RECOVERY, "--device", "gpu9"), "'gpu9'", "cpu"),
    "card": ((*RECOVERY, "--card", "nowhere.yaml"), "'nowhere.yaml'", "Give the path of a YAML file"),
}


@pytest.mark.parametrize("case", USAGE)
def test_a_command_that_cannot_be_meant_is_a_usage_error(shell: Shell, case: str) -> None:
    arguments, *words = USAGE[case]
    ended = shell(*arguments)
    assert ended.status == 2
    assert not [word for word in words if word not in ended.err], ended.err
    assert not ended.out


def test_a_usage_error_changes_nothing_that_is_stored(shell: Shell) -> None:
    assert shell.run("-b", "recovery", "-m", "tiny-good").status == 0
    before = shell.scores()
    assert shell.run("-b", "recovery", "-m", "tiny-god").status == 2
    assert shell.run("-b", "recovery", "-m", "tiny-good", "--set", "solver.steps=0").status == 2
    assert shell.scores() == before


def test_a_usage_error_makes_no_database(shell: Shell) -> None:
    assert shell.run("-b", "recovery", "-m", "tiny-god").status == 2
    assert sorted(path.name for path in shell.folder.iterdir()) == ["tiny.py"]


CARD = """\
name: mine
family: embedded-decoder
weights: {uri: "package://preimage.adapters.embedded/fashion-glo-128.safetensors"}
dataset: fashion-mnist
image: [1, 28, 28]
num_classes: 0
"""

FIELDS: dict[str, tuple[tuple[str, str], *tuple[str, ...]]] = {
    "unknown": (("family:", "familly:"), "`familly`", "did you mean `family`", "`family` is missing"),
    "image": (("[1, 28, 28]", "28"), "`image` is 28", "[channels, height, width]"),
    "classes": (("num_classes: 0", "num_classes: none"), "`num_classes` is 'none'", "whole number"),
    "kind": (("num_classes: 0", "num_classes: 0\nkind: oracle"), "`kind` is 'oracle'", "generator or reference"),
    "sha256": (('safetensors"', 'safetensors", sha256: abc'), "`sha256` is 'abc'", "64 hexadecimal digits"),
    "weights": (('{uri: "', '{url: "'), "`weights` is", "uri and sha256"),
    "no table": ((CARD, "- one\n- two\n"), "holds list", "name, family, dataset"),
    "not YAML": ((CARD, "name: [\n"), "is not YAML"),
}


@pytest.mark.parametrize("case", FIELDS)
def test_a_wrong_card_is_a_usage_error_that_names_card_and_field(shell: Shell, case: str) -> None:
    (old, new), *words = FIELDS[case]
    assert old in CARD
    ended = shell("run", "-m", "mine", "--card", shell.write("mine.yaml", CARD.replace(old, new)))
    assert ended.status == 2
    assert not [word for word in ("mine", *words) if word not in ended.err], ended.err


LOADING: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "weights missing": ("package://preimage.adapters.embedded/", "nowhere/", ("no weights file", "Check `weights`")),
    "package missing": ("preimage.adapters.embedded", "preimage_no_such", ("no installed package 'preimage_no_such'",)),
    "scheme": ("package://", "ftp://", ("'ftp://", "hf://org/repo@revision/file")),
    "sha256": ('safetensors"', f'safetensors", sha256: "{"0" * 64}"', ("have sha256 b4c3", "0" * 64, "fetch it again")),
    "family": ("embedded-decoder", "embedded-decodr", ("'embedded-decodr'", "'embedded-decoder'", "list families")),
    "config": ("num_classes: 0", "num_classes: 0\nconfig: {dim: 32}", ("wrong shape", "[32,")),
    "classes": ("num_classes: 0", "num_classes: 10", ("`num_classes` is 10", "the generator has 0")),
    "space": ("num_classes: 0", "num_classes: 0\nspace: w", ("`space` is 'w'", "the generator has z")),
}  # fmt: skip


@pytest.mark.parametrize("case", LOADING)
def test_a_model_that_cannot_be_loaded_is_a_failed_row(shell: Shell, case: str) -> None:
    old, new, words = LOADING[case]
    assert old in CARD
    card = shell.write("mine.yaml", CARD.replace(old, new))
    ended = shell("run", "-b", "recovery", "-m", "mine", "--card", card, "--workers", "1")
    assert ended.status == 1
    (row,) = shell.query("SELECT status, reason, trace FROM evaluation")
    assert row["status"] == "failed"
    assert not [word for word in words if word not in row["reason"]], row["reason"]
    assert row["trace"].startswith("Traceback")


REFUSALS: dict[str, tuple[tuple[str, ...], *tuple[str, ...]]] = {
    "size": (("recovery", "ppca", "-d", "tiny"), "makes images of 1x28x28", "has 1x8x8"),
    "other size": (("recovery", "tiny-good", "-d", "fashion-mnist"), "makes images of 1x8x8", "has 1x28x28"),
    "unconditional": (("classification", "tiny-good"), "unconditional"),
    "space": (("recovery", "tiny-good", "--set", "space=w"), "no latent space 'w'", "it has z"),
    "no data": (("recovery", "lost"), "not installed", "'tinny'", "Did you mean 'tiny'"),
    "reference elsewhere": (("recovery", "tiny-nearest", "-d", "tiny2"), "was trained on 'tiny'", "not on 'tiny2'"),
    "training elsewhere": (("overfitting", "tiny-good", "-d", "tiny2"), "was trained on 'tiny'", "not on 'tiny2'"),
    "other classes": (("classification", "tiny-three"), "conditional on 3 classes", "'tiny' has 2"),
}

OTHERS = """
class Three(Tiny):
    num_classes = 3

@hookimpl
def register_models(register):
    register(card("tiny-good", Tiny))
    register(card("tiny-three", Three))
    register(ModelCard("lost", "tiny", "tinny", IMAGE, 0, load=lambda device: Tiny()))
    register(ModelCard("tiny-nearest", "nearest", "tiny", IMAGE, 2, kind="reference"))

@hookimpl
def register_datasets(register):
    register(tiny())
    register(ArrayDataset("tiny2", {"train": (images(16, 2), None), "test": (images(16, 3), None)}))
"""


@pytest.mark.parametrize("case", REFUSALS)
def test_what_cannot_be_scored_is_refused_with_a_reason(shell: Shell, case: str) -> None:
    (benchmark, model, *rest), *words = REFUSALS[case]
    shell.write("others.py", TINY + OTHERS)
    ended = shell.run("-b", benchmark, "-m", model, *rest, plugin="others.py")
    assert ended.status == 1, "refused where nothing else ran"
    (row,) = shell.scores()
    assert (row["status"], row["metric"], row["value"]) == ("refused", "*", None)
    assert not [word for word in words if word not in row["reason"]], row["reason"]


def test_a_refusal_beside_a_score_is_no_failure(shell: Shell) -> None:
    shell.write("others.py", TINY + OTHERS)
    arguments = ("-b", "recovery", "-b", "classification", "-m", "tiny-good", "--limit", "4")
    assert shell.run(*arguments, plugin="others.py").status == 0
    assert {(row["benchmark"], row["status"]) for row in shell.scores()} == {
        ("recovery", "ok"),
        ("classification", "refused"),
    }


def test_a_lost_model_leaves_the_scores_of_others(shell: Shell, tmp_path: Path) -> None:
    assert shell.run("-b", "recovery", "-m", "tiny-good").status == 0
    before = shell.scores()
    card = shell.write("mine.yaml", CARD.replace("package://preimage.adapters.embedded/", str(tmp_path) + "/"))
    assert shell.run("-b", "recovery", "-m", "mine", "--card", card).status == 1
    assert [row for row in shell.scores() if row["model"] == "tiny-good"] == before
