"""The study of gaps: a benchmark of its own, and the table of all that a database holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from preimage.benchmarks.likelihood_study import MARKS, Found, Place, main, measured, table, written
from preimage.harness.errors import UsageError
from tests.test_likelihood_rows import PLUGIN, QUICK
from tests.test_run import preimage

STUDY = Path(__file__).parents[1] / "benchmarks" / "likelihood_study.py"


def run(plugin: Path, database: Path, *settings: str, seed: int = 0) -> None:
    words = [word for setting in (*QUICK, *settings) for word in ("--set", setting)]
    common = ("--plugin", str(plugin), "--plugin", str(STUDY), "--db", str(database), "--workers", "1")
    assert preimage("run", "-b", "bdmc-gap", "-m", "linear", "--seed", str(seed), *common, *words) == 0


def test_all_seeds_and_samplers_of_a_database_are_in_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin, database, page = tmp_path / "grains.py", tmp_path / "study.db", tmp_path / "page.md"
    plugin.write_text(PLUGIN)
    run(plugin, database, "sampler.chains=4")
    run(plugin, database, "sampler.chains=4", seed=1)
    run(plugin, database, "sampler=published", "sampler.chains=4")
    found = measured(database)
    assert {(place, len(here.gaps), here.seeds) for place, here in found.items()} == {
        (Place("linear", 101, "prior-path"), 8, (0, 1)),
        (Place("linear", 101, "published"), 4, (0,)),
    }
    page.write_text(f"Before\n\n{MARKS[0]}\nold\n{MARKS[1]}\n\nAfter\n")
    monkeypatch.setattr("sys.argv", ["study", str(database), "--write", str(page)])
    main()
    told = capsys.readouterr().out.strip()
    assert page.read_text() == f"Before\n\n{MARKS[0]}\n\n{table(found)}\n\n{MARKS[1]}\n\nAfter\n"
    assert told.endswith(table(found))


def test_the_table_by_hand() -> None:
    found = {
        Place("m", 1000, "prior-path"): Found(np.array([1.0, 3.0]), (0.01, 0.0102), (0, 1)),
        Place("m", 1000, "published"): Found(np.array([30.0, 50.0]), (0.01,), (0,)),
    }
    first, second = table(found).splitlines()[2:]
    assert first == "| m (0.0100) | 1,000 | published | 2, 1 | 40.00 ± 10.00 | 40.00 | 48.00 |  |"
    assert second == "| m (0.0100 to 0.0102) | 1,000 | prior-path | 2, 2 | 2.00 ± 1.00 | 2.00 | 2.80 | 1/20 |"


def test_a_page_without_marks_is_told() -> None:
    with pytest.raises(UsageError, match="add both"):
        written("a page", "text")
