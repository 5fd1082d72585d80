"""What strangers build on the contracts: requests, benchmarks and models of other kinds are measured and compared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.plugin_files import small_world
from tests.test_run import preimage

STRANGE = '''
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from preimage.harness import Request, hookimpl
from preimage.harness.benchmark import Ask, MetricInfo, Score
from preimage.harness.rows import Block


@dataclass(frozen=True, kw_only=True)
class Counted(Request):
    """Its images are neither a split nor samples."""

    kind: ClassVar[str] = "counted"
    images: object = IMAGES

    def evaluations(self, images):
        return images

    def measure(self, block, world):
        index = np.arange(block * self.block, (block + 1) * self.block)
        return Block(image=index, label=np.full(len(index), -1), values={"size": index + 1.0}, evaluations=len(index))


@dataclass(frozen=True)
class Options:
    limit: int = 4


class Count:
    """No formula, no roles."""

    name, version, question, options = "count", 1, "How many?", Options
    metrics = {"size": MetricInfo("images", "higher", "mean size")}

    def requests(self, model, data, options):
        return {"all": Ask(Counted(model=model.key, block=4), options.limit)}

    def summarise(self, rows, options):
        from preimage.harness import statistics

        return [Score("size", statistics.mean(rows["all"]["size"]))]


@hookimpl
def register_benchmarks(register):
    register(Count())
'''


@pytest.mark.parametrize("images", ["'a split of mine'", "7", "(1, 2)"])
def test_a_strangers_request_may_name_its_images_in_any_way(
    images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "strange.py").write_text(STRANGE.replace("IMAGES", images))
    plugins = ("--plugin", str(small_world(tmp_path)), "--plugin", str(tmp_path / "strange.py"))
    asked = ("-b", "count", "-m", "linear", "-m", "curved", *plugins, "--db", str(tmp_path / "a.db"), "--workers", "1")
    assert preimage("run", *asked, "--dry-run") == 0
    assert "images of its own" in capsys.readouterr().out
    assert preimage("run", *asked) == 0
    capsys.readouterr()
    assert preimage("compare", "linear", "curved", "--db", str(tmp_path / "a.db"), "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["a"], row["b"], row["verdict"]) == (2.5, 2.5, "not on the same images")


BOOM = """
from preimage.harness import Generator, ImageSpec, LatentSpace, ModelCard, StandardNormal, hookimpl


class Boom(Generator):
    def __init__(self):
        super().__init__()
        self.spaces, self.image, self.num_classes = {"z": LatentSpace("z", 3, StandardNormal())}, ImageSpec(1, 8, 8), 0

    def decode(self, code, label=None, *, space="z"):
        raise ValueError("no decoding today")


@hookimpl
def register_models(register):
    register(ModelCard("boom", "test", "squares", ImageSpec(1, 8, 8), 0, load=lambda device: Boom()))
"""


def test_a_dry_run_shows_the_plan_of_a_model_that_cannot_be_timed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "boom.py").write_text(BOOM)
    plugins = ("--plugin", str(small_world(tmp_path)), "--plugin", str(tmp_path / "boom.py"))
    asked = ("-b", "recovery", "-m", "boom", "-m", "linear", "--limit", "4", "--db", str(tmp_path / "a.db"), *plugins)
    assert preimage("run", *asked, "--dry-run", "--set", "solver.metric=false") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("cannot be timed: boom: ValueError: no decoding today") == 1
    assert "linear" in said
    assert said.endswith("for those that can be timed")
