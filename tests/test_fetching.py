"""``preimage fetch``: weights of torchvision's from a server on this machine, verified, never asked for twice."""

from __future__ import annotations

import hashlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from preimage.harness.weights import sha256_of
from tests.local_server import Answer, LocalServer, serving
from tests.lpips_package import random_weights
from tests.tiny_world import Shell
from tests.tiny_world import shell as shell

CARD = """\
kind: backbone
name: vgg16
architecture: vgg16
weights: {path}
"""


@pytest.fixture(scope="module")
def squeezenet() -> bytes:
    """A checkpoint as torchvision has it, its numbers random."""
    file = io.BytesIO()
    torch.save(random_weights("squeezenet1_1"), file)
    return file.getvalue()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, squeezenet: bytes) -> Iterator[LocalServer]:
    """torchvision's addresses lead to a server of ours; torch.hub's folder is empty."""
    with serving() as running:
        digest = hashlib.sha256(squeezenet).hexdigest()[:8]
        files = {"SqueezeNet1_1_Weights": f"squeezenet1_1-{digest}.pth", "VGG16_Weights": "vgg16-00000000.pth"}
        running.answers[f"/{files['SqueezeNet1_1_Weights']}"] = Answer(squeezenet)

        def get_weight(name: str) -> SimpleNamespace:
            return SimpleNamespace(url=f"{running.url}/{files[name.partition('.')[0]]}")

        monkeypatch.setattr("torchvision.models.get_weight", get_weight)
        monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
        yield running


def kept(folder: Path) -> list[Path]:
    """What torch.hub keeps, unfinished files included."""
    return sorted((folder / "torch" / "hub" / "checkpoints").glob("*"))


def test_fetched_once_verified_and_then_there_offline(shell: Shell, server: LocalServer, squeezenet: bytes) -> None:
    ended = shell("fetch", "squeezenet1_1")
    assert ended.status == 0, ended.err
    (file,) = kept(shell.folder)
    assert file.read_bytes() == squeezenet
    line = f"squeezenet1_1 backbone {len(squeezenet) / 1e6:.1f} MB {file} sha256 verified"
    assert ended.out.split() == line.split()
    assert ended.err == "", "no progress bar where there is no terminal"
    assert len(server.asked) == 1
    for more in ("squeezenet1_1", "lpips-squeeze", "squeezenet*", "squared-l2+0.1*lpips-squeeze"):
        again = shell("fetch", more)
        assert (again.status, again.out) == (0, ended.out)
        assert shell("fetch", "--offline", more).out == ended.out
    assert len(server.asked) == 1


def test_a_progress_bar_on_a_terminal(shell: Shell, server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert "100%" in shell("fetch", "squeezenet1_1").err


def test_every_name_is_tried(shell: Shell, server: LocalServer) -> None:
    ended = shell("fetch", "vgg16", "squeezenet1_1", "lpips-alex", "ppca", "squared-l2", "tiny-good", "tiny",
                  "--plugin", "tiny.py")  # fmt: skip
    assert ended.status == 1
    assert "preimage: backbone 'vgg16': cannot download" in ended.err
    assert "HTTP Error 404" in ended.err
    assert "Type `preimage fetch vgg16` on a machine with a network, or give --card FILE.yaml" in ended.said
    lines = {line.split()[0]: line for line in ended.out.splitlines()}
    assert lines.keys() == {"squeezenet1_1", "alexnet", "ppca", "squared-l2", "tiny-good", "tiny"}
    assert "9.9 MB" in lines["alexnet"] and "sha256 verified" in lines["alexnet"]
    assert "nothing to fetch" in lines["squared-l2"] and "nothing to fetch" in lines["tiny-good"]
    assert lines["tiny"].split()[1:3] == ["data", "set"]
    assert "train: 16 images, test: 16 images" in lines["tiny"]


def test_another_hash_than_the_name_says_is_not_kept(shell: Shell, server: LocalServer, squeezenet: bytes) -> None:
    (path,) = server.answers
    server.answers[path] = Answer(squeezenet[:-1] + b"?")
    ended = shell("fetch", "squeezenet1_1")
    assert ended.status == 1
    assert "invalid hash value" in ended.err
    assert not kept(shell.folder)


def test_a_file_that_was_damaged_is_told(shell: Shell, server: LocalServer, squeezenet: bytes) -> None:
    assert shell("fetch", "squeezenet1_1").status == 0
    (file,) = kept(shell.folder)
    file.write_bytes(squeezenet[:-1] + b"?")
    ended = shell("fetch", "squeezenet1_1", "--offline")
    assert ended.status == 1
    assert f"has sha256 {sha256_of(file)}, its name says" in ended.err
    assert "It is damaged: delete it" in ended.err


def test_a_disk_that_cannot_be_written_is_told(shell: Shell, server: LocalServer) -> None:
    (shell.folder / "torch").write_text("a file where a folder should be")
    ended = shell("fetch", "squeezenet1_1")
    assert ended.status == 1
    assert "Check the network and the disk, or put the file there yourself" in ended.err


def test_offline_says_what_is_missing_and_what_to_type(shell: Shell, server: LocalServer, no_network: None) -> None:
    ended = shell("fetch", "--offline", "lpips-*", "hf-like", "--card", shell.write("c.yaml", HF_CARD))
    assert ended.status == 1
    assert ended.out.split()[:2] == ["alexnet", "backbone"]
    assert "backbone 'vgg16': its weights 'torchvision://VGG16_Weights.IMAGENET1K_V1' are not on this" in ended.err
    assert "with kind: backbone, name: vgg16, architecture: vgg16, weights: PATH" in ended.err
    assert "backbone 'squeezenet1_1': its weights" in ended.err
    assert "model 'hf-like': weights 'hf://nobody/nothing-at-all@main/w.bin' are not on this machine" in ended.err
    assert server.asked == []


HF_CARD = """\
name: hf-like
family: linear-gaussian
dataset: fashion-mnist
image: [1, 28, 28]
num_classes: 0
weights: hf://nobody/nothing-at-all@main/w.bin
"""


def test_a_run_without_the_weights_says_what_to_type(shell: Shell, server: LocalServer, no_network: None) -> None:
    asked = ("run", "-b", "recovery", "-m", "tiny-good", "--plugin", "tiny.py", "--set", "distance=lpips-vgg")
    ended = shell(*asked, "--offline", "--limit", "4")
    assert ended.status == 1
    assert "Type `preimage fetch vgg16` on a machine with a network, or give --card FILE.yaml" in ended.said


def test_a_card_names_another_file(shell: Shell, server: LocalServer, no_network: None) -> None:
    weights = {key: value for key, value in random_weights("vgg16").items() if key.startswith("features.")}
    torch.save(weights, shell.folder / "mine.pth")
    card = shell.write("mine.yaml", CARD.format(path="mine.pth"))
    ended = shell("fetch", "--offline", "lpips-vgg", "vgg16-features", "--card", card)
    assert ended.status == 0, ended.err
    (line,) = ended.out.splitlines()
    assert line.split()[:4] == ["vgg16", "backbone", "58.9", "MB"]
    assert "verified" not in line, "nothing says what its sha256 should be"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("vgg61", "unknown backbone 'vgg61'. Did you mean 'vgg19' or 'vgg16'? Type `preimage list backbones`"),
        ("lpips-alexx", "unknown distance 'lpips-alexx'. Did you mean 'lpips-alex'"),
        ("squared-l2+0.1*lpips-alexx", "unknown distance"),
        ("fashion-dcgn", "unknown model 'fashion-dcgn'. Did you mean 'fashion-dcgan'"),
        ("mnis", "unknown dataset 'mnis'. Did you mean 'mnist'"),
        ("nothing-like-*", "unknown"),
    ],
)
def test_an_unknown_name_is_told_before_anything_is_fetched(
    shell: Shell, server: LocalServer, name: str, said: str
) -> None:
    ended = shell("fetch", "squeezenet1_1", name)
    assert ended.status == 2
    assert said in ended.err
    assert ended.out == "" and server.asked == []


def test_data_sets_are_opened_by_their_own_names(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREIMAGE_DATA", str(shell.folder / "data"))
    ended = shell("fetch", "fashion-mnist@3x32x32", "mnist", "--offline")
    assert ended.status == 1
    assert ended.out.split()[:3] == ["fashion-mnist", "data", "set"]
    assert "data set 'mnist' is not in" in ended.err
