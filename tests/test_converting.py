"""``preimage convert``: a checkpoint becomes a .safetensors file and a card that give the same images, bit for bit."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from preimage.harness import Generator, build
from preimage.harness.cards import Weights, read_card
from preimage.harness.converted import read_converted, write_converted
from preimage.harness.errors import WeightsError
from preimage.harness.loading import load, load_classifier
from preimage.harness.plugins import installed
from preimage.harness.weights import locate
from tests.hub_server import COMMIT, HubServer
from tests.hub_server import hub as hub
from tests.tiny_world import Shell
from tests.tiny_world import shell as shell

SHIPPED = "package://preimage.adapters.embedded/fashion-cgan.safetensors"
ODD = {
    "half": torch.randn(3, 4).half(),
    "brain": torch.randn(2).bfloat16(),
    "double": torch.randn(2, 2, dtype=torch.float64),
    "whole": torch.arange(5),
    "truth": torch.tensor([True, False]),
    "scalar": torch.tensor(0.1),
    "none": torch.zeros(0, 3),
    "turned": torch.randn(3, 5).T,
    "special": torch.tensor([float("nan"), float("inf"), -0.0]),
}


def images(model: Generator) -> torch.Tensor:
    """Some images of a model in its native space."""
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(6, model.native.dim, generator=generator)
    labels = torch.arange(6) % model.num_classes if model.num_classes else None
    with torch.no_grad():
        return model.decode(codes, labels, space=model.native.name)


def test_a_converted_file_holds_what_was_written(tmp_path: Path) -> None:
    config = {"dim": 3, "layers": [1, 2], "name": "ü\n", "nested": {"x": None}, "rate": 0.1}
    shared = torch.randn(4)
    write_converted(tmp_path / "a.safetensors", "fam", config, {**ODD, "one": shared, "two": shared[1:]})
    again, weights = read_converted(tmp_path / "a.safetensors")
    assert again == config
    assert weights.keys() == {*ODD, "one", "two"}
    for name, value in ODD.items():
        assert weights[name].dtype == value.dtype
        assert torch.equal(weights[name].nan_to_num(), value.nan_to_num()), name
    with safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        assert file.metadata()["family"] == "fam"
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    seen = set()
    for order in (1, -1, 1, -1, 1, -1):
        write_converted(tmp_path / "a.safetensors", "fam", {"a": 1, "b": 2}, dict(list(ODD.items())[::order]))
        seen.add(hashlib.sha256((tmp_path / "a.safetensors").read_bytes()).hexdigest())
    assert len(seen) == 1


def test_a_file_without_settings_has_none(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "a.safetensors")
    assert read_converted(tmp_path / "a.safetensors")[0] == {}


@pytest.mark.parametrize(
    ("said", "error"), [("{", "is not JSON"), ("[1]", "must be a table of settings"), ("1", "must be a table")]
)
def test_settings_that_are_none_are_told(tmp_path: Path, said: str, error: str) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "a.safetensors", {"config": said})
    with pytest.raises(WeightsError, match=error):
        read_converted(tmp_path / "a.safetensors")


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"are not plain data .* Give numbers, texts, lists and tables"):
        write_converted(tmp_path / "a.safetensors", "fam", {"x": {1, 2}}, {})
    with pytest.raises(WeightsError, match=r"cannot write .* Check the folder and the disk"):
        write_converted(tmp_path / "none" / "a.safetensors", "fam", {}, {})
    assert not list(tmp_path.iterdir())


def test_a_model_that_ships_gives_the_same_images_after(shell: Shell) -> None:
    ended = shell("convert", SHIPPED, "--family", "embedded-decoder", "--dataset", "fashion-mnist", "mine.safetensors",
                  "--licence", "Apache-2.0")  # fmt: skip
    assert ended.status == 0, ended.err
    assert re.fullmatch(
        r"mine\.safetensors  \d+ tensors, \d\.\d MB\n"
        r"mine\.yaml  the card of 'mine': preimage check mine --card mine\.yaml\n",
        ended.out,
    )
    card = read_card(shell.folder / "mine.yaml")
    before = load(installed().models["fashion-cgan"], installed())
    assert torch.equal(images(load(card, installed())), images(before))
    assert card.num_classes == 10 and tuple(card.image) == (1, 28, 28) and card.licence == "Apache-2.0"
    assert card.config == {}, "the file holds the settings"
    assert card.weights is not None and card.weights.sha256 is not None
    source = locate(Weights(SHIPPED))
    assert card.training == {
        "converted_from": SHIPPED,
        "sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
    }
    checked = shell("check", "mine", "--card", "mine.yaml")
    assert checked.status == 0, checked.out
    first = (shell.folder / "mine.safetensors").read_bytes()
    asked = ("convert", SHIPPED, "mine.safetensors", "--family", "embedded-decoder", "--dataset", "d", "--name", "n")
    refused = shell(*asked)
    assert refused.status == 2
    assert "mine.safetensors and mine.yaml exist. Give another name, or --force" in refused.err
    assert read_card(shell.folder / "mine.yaml").name == "mine"
    assert shell(*asked, "--force").status == 0
    assert read_card(shell.folder / "mine.yaml").name == "n"
    assert (shell.folder / "mine.safetensors").read_bytes() == first
    assert sorted(path.name for path in shell.folder.iterdir()) == ["mine.safetensors", "mine.yaml", "tiny.py"]


def test_settings_that_the_file_does_not_hold_are_given(shell: Shell) -> None:
    torch.save({"W": torch.randn(12, 2), "b": torch.rand(12)}, "w.pth")
    config, weights = {"dim": 2, "image": [3, 2, 2]}, torch.load("w.pth", weights_only=True)
    save_file(weights, "w.safetensors")
    asked = ("convert", "w.safetensors", "lin.safetensors", "--family", "linear-gaussian", "--dataset", "d")
    ended = shell(*asked)
    assert ended.status == 2 and "it needs ['dim', 'image']" in ended.err
    ended = shell(*asked, "--set", "dim=2", "--set", "image=[3,2,2]")
    assert ended.status == 0, ended.err
    card = read_card(Path("lin.yaml"))
    assert torch.equal(images(load(card, installed())), images(build("linear-gaussian", config, weights)))
    assert tuple(card.image) == (3, 2, 2)


def test_a_snapshot_of_stylegan2_ada_gives_the_same_images_after(shell: Shell, shared: Path) -> None:
    source = shared / "golden" / "stylegan2ada-cond" / "snapshot_nosrc.pkl"
    ended = shell("convert", source, "--family", "stylegan2-ada", "--dataset", "cifar10", "ada.safetensors")
    assert ended.status == 0, ended.err
    config, weights = installed().families["stylegan2-ada"].read(source)
    again, tensors = read_converted(Path("ada.safetensors"))
    assert again == json.loads(json.dumps(config)) and tensors.keys() == weights.keys()
    assert all(torch.equal(tensors[name], weights[name]) for name in weights)
    model = load(read_card(Path("ada.yaml")), installed())
    assert torch.equal(images(model), images(build("stylegan2-ada", config, weights)))
    checked = shell("check", "ada", "--card", "ada.yaml")
    assert checked.status == 0, checked.out


def test_a_checkpoint_on_the_hub_is_converted(shell: Shell, hub: HubServer) -> None:
    hub.put("org/repo", {"a/w.safetensors": locate(Weights(SHIPPED)).read_bytes()})
    asked = ("convert", f"hf://org/repo@{COMMIT}/a/w.safetensors", "mine.safetensors", "--family", "embedded-decoder",
             "--dataset", "fashion-mnist")  # fmt: skip
    offline = shell(*asked, "--offline")
    assert offline.status == 1 and "nothing is downloaded offline" in offline.err
    assert shell(*asked).status == 0
    assert read_card(Path("mine.yaml")).training["converted_from"] == asked[1]


def test_a_classifier_is_converted_with_its_settings_on_the_card(shell: Shell) -> None:
    shipped = installed().models["fashion-classifier"]
    assert shipped.weights is not None
    settings = [f"{key}={json.dumps(value)}" for key, value in shipped.config.items()]
    options = [word for setting in settings for word in ("--set", setting)]
    ended = shell("convert", shipped.weights.uri, "sees.safetensors", "--family", shipped.family, "--dataset",
                  "fashion-mnist", *options)  # fmt: skip
    assert ended.status == 0, ended.err
    card = read_card(Path("sees.yaml"))
    assert (card.kind, card.num_classes, tuple(card.image)) == ("reference", 10, (1, 28, 28))
    assert card.config == shipped.config, "its family reads no settings from a file"
    x = torch.rand(3, 1, 28, 28)
    before, after = (load_classifier(one, installed()) for one in (shipped, card))
    assert torch.equal(after.logits(x), before.logits(x))
    assert shell("check", "sees", "--card", "sees.yaml").status == 0


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("--family", "embeded-decoder"), 2, "unknown family 'embeded-decoder'. Did you mean 'embedded-decoder'"),
        (("--family", "per-class"), 2, "family 'per-class' combines models: it has no checkpoint of its own"),
        (("out.pth", "--family", "embedded-decoder"), 2, "'out.pth' is no name for the converted file"),
        (("--family", "embedded-decoder", "--set", "dim=7"), 1, "do not fit an embedded-decoder"),
        (("--family", "linear-gaussian"), 2, "it needs ['dim', 'image']"),
        (("--family", "embedded-decoder", "--set", "dimm=3"), 2, "unknown keys ['dimm']"),
        (("--family", "embedded-decoder", "--set", "dimm"), 2, "is not key=value"),
        (("--family", "embedded-decoder", "--set", "dim=many"), 1, "Give what the file does not hold: --set KEY=VALUE"),
        (("--family", "embedded-decoder", "--set", "dim=2020-01-01"), 1, "are not plain data"),
        (("--family", "embedded-decoder", "--name", " "), 2, "`name` is ' '"),
    ],
    ids=lambda value: "-".join(value)[:40] if isinstance(value, tuple) else "",
)
def test_what_cannot_be_converted_is_told_and_nothing_is_written(
    shell: Shell, arguments: tuple[str, ...], status: int, said: str
) -> None:
    out = () if arguments[0] == "out.pth" else ("out.safetensors",)
    ended = shell("convert", SHIPPED, *out, *arguments, "--dataset", "fashion-mnist")
    assert (ended.status, said in ended.err) == (status, True), ended.err
    assert [path.name for path in shell.folder.iterdir()] == ["tiny.py"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none.safetensors", None, "there is no weights file"),
        ("page.safetensors", b"<!DOCTYPE html><html>Not found</html>", "page.safetensors"),
        ("text.pth", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n", "text.pth"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_told(shell: Shell, name: str, content: bytes | None, said: str) -> None:
    if content is not None:
        Path(name).write_bytes(content)
    ended = shell("convert", name, "out.safetensors", "--family", "embedded-decoder", "--dataset", "fashion-mnist")
    assert ended.status == 1 and said in ended.err
    assert not Path("out.safetensors").exists() and not Path("out.yaml").exists()


STRANGE = """
import torch
from preimage.harness import Family, hookimpl

def broken(*_):
    raise ZeroDivisionError("so")

@hookimpl
def register_families(register):
    register(Family("no-reader", build=lambda config, weights: None, read=broken))
    register(Family("no-model", build=lambda config, weights: 3, read=lambda path: ({}, {})))
    register(Family("no-builder", build=broken, read=lambda path: ({}, {})))
    register(Family("forgetful", build=lambda config, weights: made(), read=forgetting))

def forgetting(path):
    return {}, {} if path.suffix == ".safetensors" else {"x": torch.zeros(1)}

def made():
    from preimage.harness.loading import load
    from preimage.harness.plugins import installed
    return load(installed().models["mean-image"], installed())
"""


@pytest.mark.parametrize(
    ("family", "status", "said"),
    [
        (
            "no-reader",
            1,
            "family 'no-reader' cannot read 'w.bin': ZeroDivisionError: so. Check that the file",
        ),
        ("no-model", 2, "family 'no-model' builds no model of the settings {}, but int"),
        (
            "no-builder",
            1,
            "builds no model of the settings {}: ZeroDivisionError: so. Give what the file does not hold",
        ),
        ("forgetful", 1, "cannot read what was converted: other tensors are read, x. Use the file as it is"),
    ],
)
def test_a_strangers_family_that_fails_is_told(shell: Shell, family: str, status: int, said: str) -> None:
    plugin = shell.write("strange.py", STRANGE)
    Path("w.bin").write_bytes(b"data")
    ended = shell("convert", "w.bin", "o.safetensors", "--family", family, "--dataset", "d", "--plugin", plugin)
    assert (ended.status, said in ended.err) == (status, True), ended.err
    assert not list(shell.folder.glob("*o.*"))
