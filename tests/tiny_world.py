"""A tiny world for tests of the command line: a plug-in file with a data set of 16 images and generators of dim 2."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from preimage.harness.cli import main

TINY = '''
import numpy as np
import torch
from preimage.harness import (
    ArrayDataset, DatasetCard, Family, Generator, ImageSpec, LatentSpace, ModelCard, StandardNormal, hookimpl
)

IMAGE = ImageSpec(1, 8, 8)


class Tiny(Generator):
    """``sigmoid(W z + b)``: images 1x8x8 from two numbers."""

    spaces = {"z": LatentSpace("z", 2, StandardNormal())}
    image = IMAGE
    num_classes = 0

    def __init__(self):
        super().__init__()
        grid = torch.linspace(-1.0, 1.0, 8)
        self.register_buffer("W", torch.stack([grid.repeat(8), grid.repeat_interleave(8)]))

    def decode(self, code, label=None, *, space="z"):
        return torch.sigmoid(code @ self.W).reshape(-1, 1, 8, 8)


def card(name, kind, **other):
    return ModelCard(name, "tiny", "tiny", IMAGE, kind.num_classes, load=lambda device: kind(), **other)


def images(count, seed):
    codes = np.random.default_rng(seed).normal(size=(count, 2)).astype("float32")
    with torch.no_grad():
        return Tiny().decode(torch.from_numpy(codes)).numpy().clip(0, 1)


def tiny():
    labels = np.arange(16) % 2
    return ArrayDataset("tiny", {"train": (images(16, 0), labels), "test": (images(16, 1), labels)})
'''
"""``Tiny``, ``card``, ``images`` and ``tiny`` are for what a test appends: hooks."""

DATA = """
@hookimpl
def register_datasets(register):
    register(tiny())
"""

GOOD = """
@hookimpl
def register_models(register):
    register(card("tiny-good", Tiny))
"""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """All that was printed, line breaks of the terminal's width undone."""
        return " ".join((self.out + " " + self.err).split())


class Shell:
    """Types commands into ``preimage``, in this process, in a folder of its own."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys

    def __call__(self, *arguments: str | Path) -> Ended:
        """Type a command; no traceback may be printed."""
        ended = self.with_traceback(*map(str, arguments))
        assert "Traceback" not in ended.out + ended.err
        return ended

    def with_traceback(self, *arguments: str) -> Ended:
        """Type a command that may print a traceback."""
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        printed = self._capsys.readouterr()
        status = ended.value.code
        assert isinstance(status, int)
        return Ended(status, printed.out, printed.err)

    def run(self, *arguments: str | Path, plugin: str | Path = "tiny.py") -> Ended:
        """``preimage run`` in this process, with a plug-in of the folder."""
        return self("run", "--workers", "1", "--plugin", self.folder / plugin, *arguments)

    def write(self, name: str, text: str) -> Path:
        """A file of the folder, or of a folder in it."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def scores(self) -> list[dict[str, Any]]:
        """``preimage scores --json``."""
        printed = self("scores", "--json")
        assert printed.status == 0, printed.err
        rows: list[dict[str, Any]] = json.loads(printed.out)
        return rows

    def query(self, sql: str, database: str = "preimage.db") -> list[dict[str, Any]]:
        """Rows of a SELECT on a database of the folder."""
        with closing(sqlite3.connect(self.folder / database)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(sql)]


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A shell in an empty folder that holds the plug-in ``tiny.py`` with the model ``tiny-good``."""
    monkeypatch.chdir(tmp_path)
    made = Shell(tmp_path, capsys)
    made.write("tiny.py", TINY + DATA + GOOD)
    return made
