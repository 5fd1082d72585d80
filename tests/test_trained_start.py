"""Recoveries of training images that begin at the codes a model was trained with."""

from __future__ import annotations

import dataclasses

from .test_requests import RECOVERY
from .tiny_world import DATA, TINY, Shell
from .tiny_world import shell as shell

KEPT = """
class Kept(Tiny):
    '''The training images are its own, of the codes that it keeps; of the last four it keeps none.'''

    def __init__(self):
        super().__init__()
        codes = np.random.default_rng(0).normal(size=(16, 2)).astype("float32")
        self.register_buffer("trained_codes", torch.from_numpy(codes[:12]))


@hookimpl
def register_models(register):
    register(card("kept", Kept))
    register(card("bare", Tiny))
"""
ONE_STEP = ("-b", "goodness-of-fit", "--set", "solver=adam", "--set", "solver.steps=1", "--set", "trained_start=true")


def test_training_images_begin_at_their_codes_and_others_do_not(shell: Shell) -> None:
    shell.write("kept.py", TINY + DATA + KEPT)
    assert shell.run("-m", "kept", *ONE_STEP, plugin="kept.py").status == 0
    found = shell.query(
        "SELECT json_extract(q.description, '$.images.split') AS split, v.image, v.value FROM row_value v "
        "JOIN block b ON b.id = v.block JOIN request q ON q.key = b.request WHERE v.name = 'mse'"
    )
    train, test = ({row["image"]: row["value"] for row in found if row["split"] == name} for name in ("train", "test"))
    assert max(train[i] for i in range(12)) < 1e-10, "one look, and it is there"
    assert min(train[i] for i in range(12, 16)) > 1e-6 and min(test.values()) > 1e-6, "these began at draws"


def test_a_model_without_codes_is_refused(shell: Shell) -> None:
    shell.write("kept.py", TINY + DATA + KEPT)
    assert "keeps no codes of its training images" in shell.run("-m", "bare", *ONE_STEP, plugin="kept.py").said


def test_recoveries_without_it_are_what_they_were() -> None:
    assert "trained_start" not in RECOVERY.describe()
    assert dataclasses.replace(RECOVERY, trained_start=True).describe()["trained_start"] is True
