"""Verifying: a score that was measured holds, one that was altered does not, and nothing is written."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from preimage.harness.agreement import agreement, replaced, shares
from preimage.harness.judging import score_check
from preimage.harness.results import Results
from preimage.harness.rows import Block, Estimate, Rows
from tests.plugin_files import small_world
from tests.test_run import preimage
from tests.tiny_world import Ended, Shell
from tests.tiny_world import shell as shell

NAMES = ("linear", "curved", "near")
MEASURED = ("-b", "recovery", "-b", "overfitting", "-b", "classification")


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the small world and a database of three benchmarks on it, in blocks of 16; left as it is."""
    folder = tmp_path_factory.mktemp("measured")
    models = [word for name in NAMES for word in ("-m", name)]
    few = ("--limit", "20", "--set", "block=16", "--set", "solver.steps=20", "--set", "scored_in=[]", "--workers", "1")
    plugin, database = str(small_world(folder)), str(folder / "preimage.db")
    assert preimage("run", *models, *MEASURED, *few, "--plugin", plugin, "--db", database) == 0
    return folder


Verify = Callable[..., Ended]


@pytest.fixture
def verify(shell: Shell, measured: Path) -> Verify:
    """``preimage verify`` with the small world, in a folder with a copy of the database."""
    for name in ("small_world.py", "preimage.db"):
        shutil.copy(measured / name, shell.folder / name)

    def typed(*arguments: str) -> Ended:
        return shell("verify", *arguments, "--plugin", "small_world.py")

    return typed


def told(ended: Ended) -> list[dict[str, Any]]:
    """What ``--json`` printed."""
    found: list[dict[str, Any]] = json.loads(ended.out)
    return found


def alter(folder: Path, *statements: str) -> None:
    """Change the database, each statement one row or more."""
    with closing(sqlite3.connect(folder / "preimage.db")) as db:
        for statement in statements:
            assert db.execute(statement).rowcount > 0, statement
        db.commit()


def place_of(model: str, role: str, benchmark: str = "recovery") -> str:
    """The blocks of a role's request, as SQL."""
    return (
        "(SELECT b.id FROM evaluation e JOIN json_each(e.asks) a JOIN block b ON b.request = a.value ->> 'request' "
        f"WHERE e.model = '{model}' AND e.benchmark = '{benchmark}' AND a.value ->> 'role' = '{role}')"
    )


@pytest.mark.parametrize("model", NAMES)
def test_what_was_measured_here_is_identical(verify: Verify, model: str) -> None:
    ended = verify(model, "recovery", "--json")
    assert ended.status == 0, ended.said
    (one,) = told(ended)
    assert (one["model"], one["benchmark"], one["verdict"]) == (model, "recovery", "identical")
    assert (one["reasons"], one["changes"]) == ([], [])
    assert {role["role"] for role in one["roles"]} == {"test", "floor"}
    assert sum(len(role["drawn"]) for role in one["roles"]) == 8
    for role in one["roles"]:
        assert role["count"] == 20
        assert set(role["blocks"]) == {image // 16 for image in role["drawn"]}
        assert role["agreement"]["identical"] == role["agreement"]["images"] >= 16
    for score in one["scores"]:
        assert score["stored"] == score["from_rows"] == score["again"]
        assert score["verdict"] == "identical"


def test_every_evaluation_that_matches_is_verified(verify: Verify) -> None:
    """Globs; a refused evaluation has no score, which counts only where nothing else is verified."""
    ended = verify("*", "*", "-n", "4", "--json")
    found = {(one["model"], one["benchmark"]): one["verdict"] for one in told(ended)}
    assert len(found) == 9
    assert found.pop(("linear", "classification")) == "not verified"
    assert set(found.values()) == {"identical"}
    assert ended.status == 0


def test_a_refused_evaluation_cannot_be_verified(verify: Verify) -> None:
    ended = verify("linear", "classification")
    assert ended.status == 1
    assert "linear / classification on squares: not verified" in ended.out
    assert "there is no score: the evaluation was refused: " in ended.said


def test_a_failed_evaluation_cannot_be_verified(verify: Verify, shell: Shell) -> None:
    alter(shell.folder, "UPDATE evaluation SET status = 'failed', reason = 'ValueError: so' WHERE model = 'near'")
    ended = verify("near", "recovery")
    assert ended.status == 1
    assert "there is no score: the evaluation failed: ValueError: so" in ended.said
    assert verify("*", "recovery").status == 1


def test_an_altered_score_does_not_hold(verify: Verify, shell: Shell) -> None:
    alter(shell.folder, "UPDATE metric_score SET value = value * 0.999 WHERE metric = 'mse'")
    ended = verify("linear", "recovery", "--json")
    assert ended.status == 1
    (one,) = told(ended)
    assert one["verdict"] == "does not hold"
    assert one["reasons"] == ["mse: the stored score is not that of its stored rows"]
    verdicts = {score["metric"]: score["verdict"] for score in one["scores"]}
    assert verdicts.pop("mse") == "altered"
    assert set(verdicts.values()) == {"identical"}


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE metric_score SET high = high * 1.5 WHERE metric = 'mse'",
        "UPDATE metric_score SET low = NULL, high = NULL WHERE metric = 'mse'",
        "UPDATE metric_score SET n = n + 1 WHERE metric = 'mse'",
        "UPDATE metric_score SET replicates = zeroblob(16000) WHERE metric = 'mse'",
        "UPDATE metric_score SET metric = 'mse/better' WHERE metric = 'mse'",
        "DELETE FROM metric_score WHERE metric = 'mse'",
    ],
)
def test_every_number_of_a_score_is_checked(verify: Verify, shell: Shell, change: str) -> None:
    alter(shell.folder, change)
    ended = verify("linear", "recovery", "-n", "1", "--json")
    assert ended.status == 1
    assert "mse: the stored score is not that of its stored rows" in told(ended)[0]["reasons"]


def test_an_altered_value_is_found_wherever_it_is(verify: Verify, shell: Shell) -> None:
    """Image 3 is in block 0: whether that is measured or not, the score is not that of its rows any more."""
    alter(shell.folder, f"UPDATE row_value SET value = value / 2 WHERE name = 'mse' AND image = 3 "
                        f"AND block IN {place_of('linear', 'test')}")  # fmt: skip
    for seed in range(4):
        ended = verify("linear", "recovery", "-n", "1", "--seed", str(seed), "--json")
        assert ended.status == 1
        assert "mse: the stored score is not that of its stored rows" in told(ended)[0]["reasons"]
    (one,) = told(verify("linear", "recovery", "-n", "40", "--json"))
    (role,) = [role for role in one["roles"] if role["role"] == "test"]
    assert (role["agreement"]["images"], role["agreement"]["identical"]) == (32, 31)
    largest = role["agreement"]["largest"]
    assert (largest["name"], largest["image"], largest["label"]) == ("mse", 3, -1)
    assert largest["now"] == 2 * largest["stored"]
    assert largest["relative"] == 0.5


def test_values_altered_with_their_score_are_found_by_measuring(verify: Verify, shell: Shell) -> None:
    """All errors a fifth, and the scores recomputed from them: only measuring again tells."""
    alter(shell.folder, f"UPDATE row_value SET value = value / 5 WHERE name IN ('mse', 'l2', 'distance') "
                        f"AND block IN {place_of('linear', 'test')}")  # fmt: skip
    assert shell("summarise", "--plugin", "small_world.py").status == 0
    ended = verify("linear", "recovery", "-n", "40")
    assert ended.status == 1
    assert "linear / recovery on squares: does not hold" in ended.out
    assert "mse: measured again it leaves the stored interval" in ended.said
    assert "0 of 32 images identical to the bit; largest difference: 0.8 of it" in ended.said


def test_other_last_bits_hold(verify: Verify, shell: Shell) -> None:
    """As of another kind of machine: the difference is told, and the score lies within its interval."""
    alter(shell.folder, f"UPDATE row_value SET value = value * 1.00001 WHERE name = 'mse' "
                        f"AND block IN {place_of('linear', 'test')}")  # fmt: skip
    assert shell("summarise", "--plugin", "small_world.py").status == 0
    ended = verify("linear", "recovery", "--json")
    assert ended.status == 0, ended.said
    (one,) = told(ended)
    assert one["verdict"] == "holds"
    (mse,) = [score for score in one["scores"] if score["metric"] == "mse"]
    assert mse["verdict"] == "within"
    assert mse["again"] < mse["stored"] == mse["from_rows"]
    (role,) = [role for role in one["roles"] if role["role"] == "test"]
    assert role["agreement"]["largest"]["relative"] == pytest.approx(1e-5, rel=1e-3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE row SET code = x'00000000' WHERE length(code) = 24", "identical to the bit"),
        ("UPDATE row SET outcome = 'CONVERGED?'", "identical to the bit"),
        ("UPDATE block SET pixels = 'other'", "other pixels were read"),
    ],
)
def test_codes_outcomes_and_pixels_are_compared(verify: Verify, shell: Shell, change: str, said: str) -> None:
    alter(shell.folder, change)
    ended = verify("linear", "recovery", "--seed", "1")
    assert ended.status == 0
    assert "linear / recovery on squares: holds" in ended.out
    assert said in ended.said
    assert ("0 of" in ended.said) == ("pixels" not in change)


def test_rows_that_are_gone_do_not_hold(verify: Verify, shell: Shell) -> None:
    alter(shell.folder, f"DELETE FROM row_value WHERE image = 19 AND block IN {place_of('linear', 'test')}",
          f"DELETE FROM row WHERE image = 19 AND block IN {place_of('linear', 'test')}")  # fmt: skip
    ended = verify("linear", "recovery")
    assert ended.status == 1
    assert "its stored rows give no score" in ended.said
    assert "holds 19 of 20 images" in ended.said


def test_values_that_are_gone_do_not_hold(verify: Verify, shell: Shell) -> None:
    """Even one that no metric is computed from."""
    alter(shell.folder, f"DELETE FROM row_value WHERE name = 'code_norm' AND image = 2 "
                        f"AND block IN {place_of('linear', 'test')}")  # fmt: skip
    ended = verify("linear", "recovery", "-n", "40")
    assert ended.status == 1
    assert "role test: the stored blocks do not have the rows and values that are measured now" in ended.said
    assert "code_norm of image 2: none stored" in ended.said


def test_a_changed_model_is_something_else(verify: Verify, shell: Shell) -> None:
    plugin = shell.folder / "small_world.py"
    plugin.write_text(plugin.read_text().replace("lambda device: Linear()", "lambda device: Linear(7)"))
    ended = verify("linear", "recovery")
    assert ended.status == 1
    assert "linear / recovery on squares: of something else" in ended.out
    assert "role test: model.identity is " in ended.said
    assert "`preimage run`" in ended.said
    assert "block" not in ended.err
    assert verify("curved", "recovery").status == 0


def test_changed_data_is_something_else(verify: Verify, shell: Shell) -> None:
    plugin = shell.folder / "small_world.py"
    plugin.write_text(plugin.read_text().replace("images(80, 4)", "images(80, 5)"))
    (one,) = told(verify("linear", "recovery", "--json"))
    assert one["verdict"] == "of something else"
    assert {(change["role"], change["fact"]) for change in one["changes"]} == {("test", "images.fingerprint")}
    assert one["roles"] == one["scores"] == []


def test_other_counts_options_and_versions_are_something_else(verify: Verify, shell: Shell) -> None:
    alter(
        shell.folder,
        "UPDATE evaluation SET version = 0 WHERE model = 'linear'",
        "UPDATE evaluation SET options = json_set(options, '$.limit', 7) WHERE model = 'near'",
        "UPDATE evaluation SET options = json_set(options, '$.solver.steps', 21) WHERE model = 'curved'",
    )
    changes = {
        model: {(c["fact"], c["stored"], c["now"]) for c in told(verify(model, "recovery", "--json"))[0]["changes"]}
        for model in NAMES
    }
    assert {fact for fact, *_ in changes["linear"]} == {"benchmark.version"}
    assert changes["near"] == {("count", 20, 7)}
    assert ("solver.steps", 20, 21) in changes["curved"]


def test_the_rows_of_another_request_are_no_score(verify: Verify, shell: Shell) -> None:
    """An evaluation that points at easier rows than its own."""
    alter(shell.folder, "UPDATE evaluation SET asks = replace(asks, asks ->> '$[0].request', asks ->> '$[1].request') "
                        "WHERE model = 'linear' AND benchmark = 'recovery'")  # fmt: skip
    ended = verify("linear", "recovery")
    assert ended.status == 1
    assert "of something else" in ended.out
    assert "role test: images.is is samples in the database, split now" in ended.said


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('card("linear", lambda device: Linear()', 'card("other", lambda device: Linear()', "unknown model 'linear'"),
        ('ArrayDataset("squares"', 'ArrayDataset("rounds"', "unknown dataset 'squares'"),
        ("lambda device: Linear()", "lambda device: Linear(0, 1 / 0)", "ZeroDivisionError: division by zero"),
        (
            "time.sleep(self.pause)\n        return (code",
            "1 / 0\n        return (code",
            "cannot be measured again: Zero",
        ),
    ],
)
def test_what_does_not_load_or_run_cannot_be_verified(
    verify: Verify, shell: Shell, old: str, new: str, said: str
) -> None:
    plugin = shell.folder / "small_world.py"
    assert old in plugin.read_text()
    plugin.write_text(plugin.read_text().replace(old, new))
    ended = verify("linear", "recovery")
    assert ended.status == 1
    assert "linear / recovery on squares: not verified" in ended.out
    assert said in ended.said


def test_a_metric_that_requests_build_on_is_read_as_stored(verify: Verify, shell: Shell) -> None:
    """It is not measured again: recoveries under another one are other recoveries, and without one there are none."""
    with closing(sqlite3.connect(shell.folder / "preimage.db")) as db:
        ((block, code),) = db.execute(
            "SELECT r.block, r.code FROM row r JOIN block b ON b.id = r.block JOIN request q ON q.key = b.request "
            "WHERE q.kind = 'metric' AND q.model = 'linear'"
        ).fetchall()
        other = np.frombuffer(code) + 0.01 * np.eye(6).ravel()
        db.execute("UPDATE row SET code = ? WHERE block = ?", [other.tobytes(), block])
        db.commit()
    ended = verify("linear", "recovery", "-n", "40")
    assert "metric · " not in ended.err
    assert "linear / recovery on squares: identical" not in ended.out
    assert "0 of 32 images identical to the bit" in ended.said
    alter(shell.folder, f"DELETE FROM row_value WHERE block = {block}", f"DELETE FROM row WHERE block = {block}")
    ended = verify("linear", "recovery", "-n", "40")
    assert ended.status == 1
    assert "holds 0 of 1 images of request" in ended.said


def test_a_seed_draws_the_same_images(verify: Verify) -> None:
    def drawn(*more: str) -> tuple[Any, Any]:
        (one,) = told(verify("linear", "recovery", "-n", "5", "--json", *more))
        return one["seed"], [(role["role"], role["drawn"]) for role in one["roles"]]

    assert drawn("--seed", "7") == drawn("--seed", "7")
    assert drawn("--seed", "7")[1] != drawn("--seed", "8")[1]
    seed, images = drawn()
    assert drawn("--seed", str(seed)) == (seed, images)
    assert drawn()[0] != seed
    ended = verify("linear", "recovery", "--seed", "12")
    assert "the same images again: --seed 12" in ended.out


def test_more_images_than_there_are_are_all(verify: Verify) -> None:
    (one,) = told(verify("linear", "recovery", "-n", "1000", "--json"))
    assert [role["drawn"] for role in one["roles"]] == [list(range(20))] * 2
    assert one["verdict"] == "identical"


def test_nothing_is_written_to_the_database(verify: Verify, shell: Shell) -> None:
    database = shell.folder / "preimage.db"
    before = database.read_bytes()
    database.chmod(0o444)
    assert verify("*", "*", "-n", "2").status == 0
    assert database.read_bytes() == before
    log = shell.folder / "preimage.db-wal"
    assert not log.exists() or log.stat().st_size == 0


def test_progress_goes_to_stderr(verify: Verify) -> None:
    ended = verify("linear", "recovery", "-n", "40")
    assert "recovery · linear · squares/test: 32 images" in ended.err
    assert "images," not in ended.out.replace("images drawn,", "")


def test_suites_and_data_sets_are_verified_apart(verify: Verify, shell: Shell) -> None:
    suite = shell.write(
        "mine.yaml", "name: mine\ndescription: mine\nbenchmarks: {recovery: {limit: 6, block: 16, solver.steps: 5}}\n"
    )
    shell.write("more.py", "from preimage.harness import ArrayDataset, hookimpl\nimport numpy as np\n\n\n@hookimpl\n"
                "def register_datasets(register):\n    images = np.zeros((8, 1, 8, 8), 'float32')\n"
                "    register(ArrayDataset('plain', {'test': (images, np.zeros(8, int))}))\n")  # fmt: skip
    more = ("-m", "linear", "--plugin", "more.py", "--workers", "1")
    assert shell("run", str(suite), *more, "--plugin", "small_world.py").status == 0
    assert shell("run", str(suite), *more, "--plugin", "small_world.py", "-d", "plain").status == 0

    def verified(*arguments: str) -> set[tuple[str, str]]:
        ended = verify("linear", "recovery", "--plugin", "more.py", "-n", "3", "--json", *arguments)
        assert ended.status == 0, ended.said
        return {(one["dataset"], one["suite"]) for one in told(ended)}

    assert verified() == {("squares", ""), ("squares", "mine"), ("plain", "mine")}
    assert verified("--suite", "mine") == {("squares", "mine"), ("plain", "mine")}
    assert verified("--suite", "") == {("squares", "")}
    assert verified("-d", "sq*", "--suite", "m*") == {("squares", "mine")}
    assert verified("-d", "plain") == {("plain", "mine")}


def test_a_data_set_at_a_path(verify: Verify, shell: Shell) -> None:
    rng = np.random.default_rng(0)
    np.savez(shell.folder / "mine.npz", images=rng.random((6, 1, 8, 8)).astype("float32"), labels=np.zeros(6, int))
    few = ("--set", "solver.steps=5", "--set", "block=4", "--workers", "1")
    assert shell("run", "-b", "recovery", "-m", "linear", "-d", "./mine.npz", *few,
                 "--plugin", "small_world.py").status == 0  # fmt: skip
    ended = verify("linear", "recovery", "-d", "./mine.npz")
    assert ended.status == 0, ended.said
    assert ": identical" in ended.out
    ended = verify("linear", "recovery", "-d", "mine")
    assert ended.status == 1
    assert "unknown dataset 'mine'" in ended.said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("linaer", "recovery"), "unknown model 'linaer'. Did you mean 'linear' or"),
        (("linear", "recvoery"), "unknown benchmark 'recvoery'. Did you mean 'recovery'"),
        (("slow", "recovery"), "has no score of 'slow' on 'recovery'; it has nothing of that model. Type `preimage run "
                               "-m slow -b recovery` first"),
        (("linear", "outliers"), "of that model it has classification, overfitting, recovery"),
        (("linear", "recovery", "-d", "squarse"), "-d 'squarse': 'preimage.db' has no such score of 'linear' on "
                                                  "'recovery'. Did you mean 'squares'? It has 'squares'"),
        (("linear", "recovery", "--suite", "quick"), "--suite 'quick': 'preimage.db' has no such score"),
        (("linear", "recovery", "-n", "0"), "-n"),
        (("linear", "recovery", "--device", "abacus"), "device 'abacus' cannot be used"),
        (("linear",), "Missing argument 'BENCHMARK'"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant(verify: Verify, arguments: tuple[str, ...], said: str) -> None:
    ended = verify(*arguments)
    assert ended.status == 2
    assert said in ended.said


def test_a_database_that_is_not_there(verify: Verify, shell: Shell) -> None:
    ended = verify("linear", "recovery", "--db", "none.db")
    assert ended.status == 1
    assert "there is no database 'none.db'" in ended.said
    assert not (shell.folder / "none.db").exists()


@pytest.mark.parametrize(
    ("counts", "total", "wanted"),
    [
        ((100, 100), 8, [4, 4]),
        ((300, 100), 8, [6, 2]),
        ((10_000, 1), 8, [7, 1]),
        ((5, 2), 100, [5, 2]),
        ((5, 20, 7), 1, [0, 1, 0]),
        ((0, 20), 4, [0, 4]),
        ((), 4, []),
    ],
)
def test_images_are_shared_out_in_proportion(counts: tuple[int, ...], total: int, wanted: list[int]) -> None:
    assert shares(counts, total) == wanted


def test_a_block_that_is_not_stored_agrees_with_nothing(measured: Path, tmp_path: Path) -> None:
    database = shutil.copy(measured / "preimage.db", tmp_path)
    block = Block(np.arange(2), np.full(2, -1), {"mse": np.array([0.5, np.nan])})
    with Results(database) as results:
        found = agreement(results, "0" * 64, {0: block})
    assert (found.images, found.identical, found.whole) == (2, 0, False)
    assert found.largest is not None
    assert found.largest.stored is None


def test_measured_rows_take_the_place_of_stored_ones() -> None:
    """By image and label, whatever the order; rows of images that were not asked for are left out."""
    rows = Rows(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), {"mse": np.array([1.0, 2.0, 3.0, 4.0])}, tuple("abcd"))
    block = Block(np.array([2, 1, 1]), np.array([0, 1, 0]), {"mse": np.array([9.0, 8.0, 7.0])}, tuple("zyx"))
    found = replaced(rows, [block])
    assert found["mse"].tolist() == [1.0, 2.0, 7.0, 8.0]
    assert found.outcome == tuple("abxy")
    assert rows["mse"].tolist() == [1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize(
    ("stored", "rows", "again", "verdict"),
    [
        (Estimate(1.0, 0.9, 1.1, 9), Estimate(1.0, 0.9, 1.1, 9), Estimate(1.0, 0.8, 1.0, 9), "identical"),
        (Estimate(1.0, 0.9, 1.1, 9), Estimate(1.0, 0.9, 1.1, 9), Estimate(1.1, 1.0, 1.2, 9), "within"),
        (Estimate(1.0, 0.9, 1.1, 9), Estimate(1.0, 0.9, 1.1, 9), Estimate(1.1001, 1.0, 1.2, 9), "outside"),
        (Estimate(1.0, 0.9, 1.1, 9), Estimate(1.0, 0.9, 1.1, 9), Estimate(0.8999, 0.8, 1.0, 9), "outside"),
        (Estimate(1.0, 0.9, 1.1, 9), Estimate(1.0, 0.9, 1.1, 9), None, "outside"),
        (Estimate(1.0, None, None, 9), Estimate(1.0, None, None, 9), Estimate(2.0, None, None, 9), "no interval"),
        (Estimate(1.0 + 1e-12, 0.9, 1.1, 9), Estimate(1.0, 0.9, 1.1, 9), Estimate(1.0, 0.9, 1.1, 9), "identical"),
        (Estimate(1.0 + 1e-8, 0.9, 1.1, 9), Estimate(1.0, 0.9, 1.1, 9), Estimate(1.0, 0.9, 1.1, 9), "altered"),
        (Estimate(4e-15, 3e-15, 5e-15, 9), Estimate(4e-15, 3e-15, 5e-15, 9), Estimate(7e-15, 0, 1, 9), "within"),
        (Estimate(4e-15, 3e-15, 5e-15, 9), Estimate(5e-15, 3e-15, 5e-15, 9), Estimate(5e-15, 0, 1, 9), "altered"),
        (None, Estimate(1.0, None, None, 9), Estimate(1.0, None, None, 9), "altered"),
        (Estimate(1.0, None, None, 9), None, None, "altered"),
    ],
)
def test_scores_are_judged(
    stored: Estimate | None, rows: Estimate | None, again: Estimate | None, verdict: str
) -> None:
    assert score_check("mse", stored, rows, again).verdict == verdict
