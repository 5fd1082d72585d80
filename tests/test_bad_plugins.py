"""Plug-ins that are broken: reported and skipped, with a warning; the others are loaded and scored."""

from __future__ import annotations

import pytest

from tests.tiny_world import GOOD, TINY, Shell
from tests.tiny_world import shell as shell

NO_IMPORT = "import preimage_no_such_module\n"

LEVELS = """
@hookimpl
def register_datasets(register):
    register(ArrayDataset("levels", {"test": (255.0 * images(16, 1), None)}))

@hookimpl
def register_models(register):
    register(card("levels-model", Tiny))
"""
"""A data set of floats from 0 to 255."""

LATE = """
@hookimpl
def register_models(register):
    register(ModelCard("levels-model", "tiny", "levels", IMAGE, 0, load=lambda device: Tiny()))

@hookimpl
def register_datasets(register):
    register(DatasetCard("levels", IMAGE, 0, ("test",), open=levels))

def levels():
    return ArrayDataset("levels", {"test": (255.0 * images(16, 1), None)})
"""
"""The same, opened when it is needed."""

LYING = """
class Lying:
    name, image, num_classes, splits = "lying", IMAGE, 0, ("test",)
    def size(self, split): return 16
    def fingerprint(self, split): return "0"
    def read(self, split, indices):
        return PIXELS, torch.full((len(indices),), -1)

@hookimpl
def register_models(register):
    register(ModelCard("lied-to", "tiny", "lying", IMAGE, 0, load=lambda device: Tiny()))

@hookimpl
def register_datasets(register):
    register(Lying())
"""


def test_a_plugin_that_fails_to_import_is_skipped_and_reported(shell: Shell) -> None:
    bad = shell.write("bad.py", NO_IMPORT)
    listed = shell("plugins", "--plugin", bad, "--plugin", "tiny.py")
    assert listed.status == 0
    assert "failed: ModuleNotFoundError: No module named 'preimage_no_such_module'" in listed.said
    assert "tiny (tiny.py) loaded" in listed.said

    ended = shell.run("-b", "recovery", "-m", "tiny-good", "--limit", "4", "--plugin", bad)
    assert ended.status == 0
    assert "plug-in bad (" in ended.err
    assert "was skipped: ModuleNotFoundError" in ended.err
    assert "`preimage plugins`" in ended.err


def test_plugins_shows_the_traceback_where_asked(shell: Shell) -> None:
    bad = shell.write("bad.py", NO_IMPORT)
    listed = shell.with_traceback("plugins", "--plugin", str(bad), "--traceback")
    assert listed.status == 0
    assert "Traceback" in listed.out
    assert "import preimage_no_such_module" in listed.out


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("syntax.py", "def register_models(register)\n", ("SyntaxError",)),
        ("exits.py", "raise SystemExit('no licence')\n", ("SystemExit", "no licence")),
        ("hook.py", f"{TINY}\n@hookimpl\ndef register_modles(register): ...\n", ("register_modles",)),
        (
            "nameless.py",
            f"{TINY}\n@hookimpl\ndef register_distances(register):\n    register(3)\n",
            ("without a name",),
        ),
        ("argument.py", f"{TINY}\n@hookimpl\ndef register_models(registry): ...\n", ("registry",)),
        ("levels.py", TINY + LEVELS, ("levels/test", "[", "0, 1]", "divide uint8 levels by 255")),
    ],
)
def test_what_is_wrong_with_a_plugin_is_named(shell: Shell, name: str, text: str, words: tuple[str, ...]) -> None:
    shell.write(name, text)
    ended = shell("list", "models", "--plugin", name)
    assert ended.status == 0
    assert "was skipped" in ended.err
    assert not [word for word in words if word not in ended.err], ended.err
    assert "ppca" in ended.out, "the others are there"


def test_a_plugin_file_that_is_not_there_is_a_usage_error(shell: Shell) -> None:
    ended = shell("list", "models", "--plugin", "missing.py")
    assert ended.status == 2
    assert "no plug-in file 'missing.py'" in ended.err
    assert "--plugin FILE.py" in ended.err


def test_a_broken_hook_is_told_from_a_misspelt_one(shell: Shell) -> None:
    shell.write("late.py", TINY + "\n@hookimpl\ndef register_models(register):\n    register(1 / 0)\n")
    ended = shell("list", "models", "--plugin", "late.py")
    assert ended.status == 0
    assert "ZeroDivisionError" in ended.err


def test_two_plugins_that_register_one_model_are_both_named(shell: Shell) -> None:
    shell.write("twin.py", TINY + GOOD)
    ended = shell.run("-b", "recovery", "-m", "tiny-good", "--plugin", "twin.py")
    assert ended.status == 1
    assert "both register a model named 'tiny-good'" in ended.err
    assert "tiny.py" in ended.err
    assert "twin.py" in ended.err
    assert "Rename one" in ended.err


def test_one_plugin_given_twice_is_reported(shell: Shell) -> None:
    ended = shell("plugins", "--plugin", "tiny.py", "--plugin", "tiny.py")
    assert ended.status == 0
    assert "already registered" in ended.said
    assert "tiny (tiny.py) loaded" in ended.said


def test_a_card_with_the_name_of_an_installed_model_names_both(shell: Shell) -> None:
    card = shell.write(
        "ppca.yaml", "name: ppca\nfamily: f\ndataset: fashion-mnist\nimage: [1, 28, 28]\nnum_classes: 0\n"
    )
    ended = shell("list", "models", "--card", card)
    assert ended.status == 1
    assert "'preimage-closed-form'" in ended.err
    assert "ppca.yaml" in ended.err


def test_images_of_another_range_fail_the_models_of_that_data_alone(shell: Shell) -> None:
    shell.write("late.py", TINY + LATE)
    ended = shell.run("-b", "recovery", "-m", "levels-model", "-m", "tiny-good", "--plugin", "late.py", "--limit", "4")
    assert ended.status == 1
    stored = {row["model"]: row for row in shell.query("SELECT * FROM evaluation")}
    assert stored["tiny-good"]["status"] == "ok"
    assert stored["levels-model"]["status"] == "failed"
    assert "levels/test: pixels range over [" in stored["levels-model"]["reason"]
    assert "divide uint8 levels by 255" in stored["levels-model"]["reason"]


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        ("torch.full((len(indices), 1, 8, 8), 255.0)", ("pixels range over [255, 255]", "divide uint8 levels")),
        ("torch.full((len(indices), 1, 8, 8), -1.0)", ("pixels range over [-1, -1]", "(x + 1) / 2")),
        ("torch.full((len(indices), 1, 8, 8), float('nan'))", ("some pixels are not finite",)),
        ("torch.zeros(len(indices), 1, 4, 4)", ("(1, 4, 4)", "1x8x8")),
        ("torch.zeros(len(indices), 1, 8, 8).double()", ("torch.float64", "1x8x8 torch.float32")),
        ("torch.zeros(1, 1, 8, 8)", ("1 images", "16 were asked")),
    ],
)
def test_a_reader_that_breaks_its_promise_is_named(shell: Shell, pixels: str, words: tuple[str, ...]) -> None:
    text = TINY + LYING.replace("PIXELS", pixels)
    shell.write("lying.py", text)
    ended = shell("run", "-b", "recovery", "-m", "lied-to", "--plugin", "lying.py", "--workers", "1")
    assert ended.status == 1
    (row,) = shell.query("SELECT status, reason FROM evaluation")
    assert row["status"] == "failed"
    assert not [word for word in ("DatasetError", "'lying'", *words) if word not in row["reason"]], row["reason"]
