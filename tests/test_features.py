"""Features: measured once, shared between models, named by the extractor's hash; extractors and what they refuse."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torchvision.models import Inception_V3_Weights, inception_v3

from preimage.harness.asking_features import FeatureOptions, asks_of_comparison
from preimage.harness.backbone_cards import BackboneCard
from preimage.harness.backbones import Backbone, load_backbone
from preimage.harness.benchmark import Data, Model
from preimage.harness.cards import ImageSpec, ModelCard, Weights
from preimage.harness.errors import CardError, Refused, UsageError, WeightsError
from preimage.harness.feature_requests import FeatureComparison, Features
from preimage.harness.frechet import frechet_distance
from preimage.harness.measurements.features import measure_features
from preimage.harness.plugins import Registry, Sources
from preimage.harness.requests import ModelKey, Samples, Split
from preimage.harness.results import Results
from preimage.harness.world import World
from tests.tiny_world import DATA, TINY, Shell
from tests.tiny_world import shell as shell

FEW = ("--set", "groups=4", "--set", "k=2", "--set", "block=8")
TWO = """
class Other(Tiny):
    def decode(self, code, label=None, *, space="z"):
        return 1.4 * super().decode(code, label, space=space) - 0.2


@hookimpl
def register_models(register):
    register(card("tiny-good", Tiny))
    register(card("tiny-other", Other))
    register(card("tiny-8", Tiny, trained_on=8))
    register(ModelCard("tiny-1nn", "nearest-neighbour", "tiny", IMAGE, 0, kind="reference"))
"""


@pytest.fixture
def two(shell: Shell) -> Shell:
    shell.write("tiny.py", TINY + DATA + TWO)
    return shell


def scores_of(shell: Shell) -> dict[str, dict[str, float]]:
    """The values of every model's metrics, without the extractor's name."""
    found: dict[str, dict[str, float]] = {}
    for row in shell.scores():
        if row["value"] is not None:
            found.setdefault(row["model"], {})[row["metric"].removesuffix("/alexnet")] = row["value"]
    return found


def stored(shell: Shell) -> dict[tuple[str, str], Tensor]:
    """Every stored set of features, by model and which images."""
    found = {}
    with Results(shell.folder / "preimage.db") as results:
        for row in results.query("SELECT key, description FROM request WHERE kind = 'features'"):
            told = json.loads(row["description"])
            codes = results.codes(row["key"], 16)
            vectors = np.stack([np.frombuffer(code, dtype="<f4") for code in codes])
            which = told["images"].get("split", "samples")
            found[told["model"]["name"], which] = torch.from_numpy(vectors.astype(np.float64))
    return found


def test_scores_are_those_of_the_stored_features_and_splits_are_measured_once(two: Shell) -> None:
    ended = two.run("-b", "frechet", "-m", "tiny-good", "-m", "tiny-other", *FEW)
    assert ended.status == 0, ended.err
    sets, scores = stored(two), scores_of(two)
    assert set(sets) == {("alexnet", "train"), ("alexnet", "test"), ("tiny-good", "samples"), ("tiny-other", "samples")}
    for model in ("tiny-good", "tiny-other"):
        own = sets[model, "samples"]
        for metric, split in (("frechet_train", "train"), ("frechet_val", "test")):
            exact = frechet_distance(real=sets["alexnet", split], fake=own)
            assert scores[model][metric] == pytest.approx(exact, rel=1e-6)
        assert scores[model]["frechet_train"] != pytest.approx(scores[model]["frechet_val"], rel=1e-3)
    again = two.run("-b", "frechet", "-m", "tiny-good", "-m", "tiny-other", *FEW)
    assert "0 blocks measured" in again.said


def test_features_are_the_extractors_of_the_images_clamped(two: Shell) -> None:
    assert two.run("-b", "frechet", "-m", "tiny-other", *FEW).status == 0
    world = World(Registry(Sources(plugins=(str(two.folder / "tiny.py"),))))
    alexnet = world.backbone("alexnet")
    test = world.dataset("tiny").read("test", range(16))[0]
    sets = stored(two)
    assert torch.allclose(sets["alexnet", "test"].float(), alexnet.features(test), atol=1e-5)
    assert sets["tiny-other", "samples"].shape == (16, 256)
    request = features_request(world, Samples(0), "tiny-other")
    block = measure_features(request, 0, world)
    assert [len(code) for code in block.code] == [4 * 256] * 8
    assert block.evaluations == 8 and set(block.label.tolist()) == {-1}
    generator = world.generator("tiny-other")
    assert np.frombuffer(block.code[0], "<f4") == pytest.approx(
        alexnet.features(own_images(world, generator)[:8].clamp(0, 1))[0].numpy(), abs=1e-5
    )


def own_images(world: World, generator: Any) -> Tensor:
    from preimage.harness.measurements.targets import own_samples

    images, _ = own_samples(Samples(0), "tiny-other", range(8), world, generator)
    assert images.min() < 0 or images.max() > 1  # so that clamping matters
    return images


def features_request(world: World, images: Any, model: str = "") -> Features:
    key = world.model(model).key if model else ModelKey("alexnet", "")
    request = Features(model=key, images=images, extractor="alexnet", block=8)
    found = request.identified(lambda name: "", lambda name: world.backbone(name).identity)
    assert isinstance(found, Features)
    return found


def test_a_reference_answers_with_its_training_images(two: Shell) -> None:
    assert two.run("-b", "frechet", "-m", "tiny-1nn", *FEW).status == 0
    scores = scores_of(two)["tiny-1nn"]
    assert scores["frechet_train"] < 1e-4 * scores["frechet_val"]
    assert scores["frechet_gap"] > 0.999


def test_training_images_are_the_models_own_and_all_sets_have_as_many(two: Shell) -> None:
    assert two.run("-b", "frechet", "-m", "tiny-8", *FEW[2:], "--set", "groups=3").status == 0
    assert {row["n"] for row in two.scores()} == {8}
    counts = two.query("SELECT asks FROM evaluation")
    assert {ask["role"]: ask["count"] for ask in json.loads(counts[0]["asks"])} == {
        "comparison": 4, "generated": 8, "train": 8, "val": 8,
    }  # fmt: skip
    sets = stored(two)
    exact = frechet_distance(real=sets["alexnet", "train"][:8], fake=sets["tiny-8", "samples"][:8])
    assert scores_of(two)["tiny-8"]["frechet_train"] == pytest.approx(exact, rel=1e-6)


def test_a_score_is_verified_to_the_bit(two: Shell) -> None:
    assert two.run("-b", "frechet", "-m", "tiny-good", *FEW).status == 0
    ended = two("verify", "tiny-good", "frechet", "-n", "60", "--plugin", "tiny.py")
    assert ended.status == 0, ended.said
    assert "identical" in ended.said


def test_too_few_images_are_refused(two: Shell) -> None:
    ended = two.run("-b", "frechet", "-m", "tiny-good")
    assert ended.status == 1
    assert "there are 16 images of each set; 20 groups and k = 5 need at least 40" in two.scores()[0]["reason"]


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("limit=0", "`limit` is 0; it must be at least 1"),
        ("k=0", "`k` is 0; it must be at least 1"),
        ("groups=1", "`groups` is 1; it must be at least 2"),
        ("seed=-1", "`seed` is -1; it must be from 0 to 2^63 - 1"),
        ("extractor=alexnte", "unknown backbone 'alexnte'. Did you mean 'alexnet'?"),
    ],
)
def test_options_that_cannot_be_meant_are_usage_errors(two: Shell, setting: str, told: str) -> None:
    ended = two.run("-b", "frechet", "-m", "tiny-good", "--set", setting)
    assert ended.status == 2
    assert told in ended.said


def test_weights_that_cannot_be_had_end_the_command_before_anything_is_measured(two: Shell) -> None:
    card = two.write("mine.yaml", "kind: backbone\nname: mine\narchitecture: inception_v3\nweights: no.pth\n")
    ended = two.run("-m", "tiny-good", "--set", "extractor=mine", "--card", str(card))
    assert ended.status == 1
    assert "no.pth" in ended.said and "there is no weights file" in ended.said
    assert not (two.folder / "preimage.db").exists() or not two.query("SELECT * FROM block")


class Odd(Backbone):
    """An extractor that gives what it was told to."""

    def __init__(self, given: Tensor, identity: str = "odd") -> None:
        super().__init__()
        self.name, self.identity, self.rule, self.given = "odd", identity, "", given

    def features(self, images: Tensor) -> Tensor:
        return self.given


def odd_world(shell: Shell, backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(Registry(Sources(plugins=(str(shell.folder / "tiny.py"),))))
    monkeypatch.setattr(world, "backbone", lambda name: backbone)
    return world


@pytest.mark.parametrize(
    "given", [torch.zeros(3, 4), torch.zeros(8, 4, 1), torch.full((8, 4), torch.nan)], ids=["few", "maps", "nan"]
)
def test_an_extractor_must_give_one_finite_vector_per_image(
    two: Shell, given: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = odd_world(two, Odd(given), monkeypatch)
    request = features_request(world, world.data("tiny").split("test"))
    with pytest.raises(WeightsError, match="it must give one finite vector per image"):
        measure_features(request, 0, world)


def test_an_extractor_that_was_replaced_meanwhile_is_found(two: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    world = odd_world(two, Odd(torch.zeros(8, 4)), monkeypatch)
    request = features_request(world, world.data("tiny").split("test"))
    monkeypatch.setattr(world, "backbone", lambda name: Odd(torch.zeros(8, 4), identity="another"))
    with pytest.raises(WeightsError, match="is not the one that was planned: identity another loaded, odd planned"):
        measure_features(request, 0, world)


SPLIT = Split("tiny", "test", "0" * 64)


def test_features_of_a_split_belong_to_the_extractor_and_those_of_samples_to_the_model() -> None:
    one, other = (
        Features(model=ModelKey(name, name), images=SPLIT, extractor="e", extractor_identity="1") for name in "ab"
    )
    assert one == other and one.model == ModelKey("e", "1")
    assert one.evaluations(7) == 0
    own = Features(model=ModelKey("a", "a"), images=Samples(0), extractor="e", extractor_identity="1")
    assert own.model == ModelKey("a", "a") and own.evaluations(7) == 7


def comparison(**changed: Any) -> FeatureComparison:
    one = Features(model=ModelKey("", ""), images=SPLIT, extractor="e")
    given = {"generated": one, "train": one, "val": one, "size": 60, **changed}
    return FeatureComparison(model=ModelKey("a", "a"), **given)


def test_the_extractors_identity_reaches_every_request_inside() -> None:
    found = comparison().identified(lambda name: "no", lambda name: f"hash of {name}")
    assert isinstance(found, FeatureComparison)
    for one in (found.generated, found.train, found.val):
        assert one.extractor_identity == "hash of e" and one.model == ModelKey("e", "hash of e")
    assert found.key() != comparison().key()


def test_weights_sizes_and_settings_are_part_of_the_identity() -> None:
    keys = {comparison(**changed).key() for changed in ({}, {"size": 61}, {"k": 4}, {"groups": 5})}
    assert len(keys) == 4


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"k": 0}, "`k` is 0; it must be at least 1"),
        ({"groups": 1}, "`groups` is 1; it must be at least 2"),
        ({"size": 39}, "`size` is 39; 20 groups and k = 5 need at least 40 images of each set"),
    ],
)
def test_comparisons_that_cannot_be_made_are_usage_errors(changed: dict[str, int], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        comparison(**changed)


IMAGE = ImageSpec(1, 8, 8)
DATASET = Data("tiny", IMAGE, 0, {"train": 90, "test": 80}, {"train": "1", "test": "2"})


def model(**changed: Any) -> Model:
    card = ModelCard("some", "tiny", "tiny", IMAGE, 0, **changed.pop("card", {}))
    return Model(card, ModelKey("some", "1"), {"z": 2}, **changed)


def test_sizes_are_the_least_of_the_sets_and_the_limit() -> None:
    def size(limit: int | None = None, **card: Any) -> int:
        found = asks_of_comparison(model(card=card), DATASET, FeatureOptions(limit=limit))["comparison"].request
        assert isinstance(found, FeatureComparison)
        return found.size

    assert (size(), size(50), size(trained_on=60), size(70, trained_on=60)) == (80, 50, 60, 60)


def test_models_without_samples_are_refused() -> None:
    classifier = model(card={"kind": "reference"}, classifies=True)
    with pytest.raises(Refused, match="a classifier: it makes no images"):
        asks_of_comparison(classifier, DATASET, FeatureOptions())
    with pytest.raises(Refused, match="space 'z' has no prior to draw samples from"):
        asks_of_comparison(model(priors=frozenset({"w"})), DATASET, FeatureOptions())
    with pytest.raises(Refused, match="has no training split"):
        alone = dataclasses.replace(DATASET, sizes={"test": 80}, fingerprints={"test": "2"})
        asks_of_comparison(model(), alone, FeatureOptions())


@pytest.fixture(scope="module")
def inception(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Path]]:
    """torchvision's network with weights as they are drawn, and the file of all of them, as it would be downloaded."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = inception_v3(weights=None, init_weights=False, transform_input=True).eval()
    file = tmp_path_factory.mktemp("weights") / "inception.safetensors"
    save_file(network.state_dict(), file)
    yield network, file


def inception_card(file: Path) -> BackboneCard:
    return BackboneCard("some", "inception_v3", Weights(str(file)))


def test_inception_features_are_what_torchvisions_last_layer_sees(inception: tuple[Any, Path]) -> None:
    network, file = inception
    seen: list[Tensor] = []
    hook = network.fc.register_forward_hook(lambda module, given, _: seen.append(given[0]))
    images = torch.rand(2, 3, 64, 48, generator=torch.Generator().manual_seed(1))
    official = Inception_V3_Weights.IMAGENET1K_V1.transforms()
    assert (official.mean, official.std) == ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    small = torch.nn.functional.interpolate(images, (299, 299), mode="bilinear", antialias=True)
    mean, std = (torch.tensor(v)[:, None, None] for v in (official.mean, official.std))
    with torch.no_grad():
        network((small - mean) / std)
    hook.remove()
    backbone = load_backbone(inception_card(file))
    found = backbone.features(images)
    assert found.shape == (2, 2048)
    assert torch.allclose(found, seen[0], atol=1e-5)
    assert not any(p.requires_grad for p in backbone.parameters())


def test_inception_clamps_and_repeats_grey_images(inception: tuple[Any, Path]) -> None:
    backbone = load_backbone(inception_card(inception[1]))
    grey = 1.6 * torch.rand(1, 1, 20, 20, generator=torch.Generator().manual_seed(1)) - 0.3
    same = backbone.features(grey.clamp(0, 1).expand(-1, 3, -1, -1))
    assert torch.equal(backbone.features(grey), same)
    assert not torch.allclose(backbone.features(grey * 0.5), same)


def test_the_identity_is_of_the_tensors_that_are_used(inception: tuple[Any, Path], tmp_path: Path) -> None:
    network, file = inception
    first = load_backbone(inception_card(file)).identity
    state = {key: value.clone() for key, value in network.state_dict().items()}
    state["fc.bias"] += 1
    del state["AuxLogits.fc.bias"]
    save_file(state, tmp_path / "other.safetensors")
    assert load_backbone(inception_card(tmp_path / "other.safetensors")).identity == first
    state["Mixed_7c.branch1x1.conv.weight"][0] += 1e-3
    save_file(state, tmp_path / "changed.safetensors")
    assert load_backbone(inception_card(tmp_path / "changed.safetensors")).identity != first


def test_weights_that_do_not_fit_inception_are_listed(inception: tuple[Any, Path], tmp_path: Path) -> None:
    state = {key: value.clone() for key, value in inception[0].state_dict().items()}
    del state["Mixed_5b.branch1x1.conv.weight"]
    state["Mixed_5c.extra"] = torch.zeros(3)
    state["Conv2d_1a_3x3.conv.weight"] = torch.zeros(1, 3, 3, 3)
    state["Conv2d_1a_3x3.bn.bias"][0] = torch.nan
    save_file(state, tmp_path / "broken.safetensors")
    with pytest.raises(WeightsError, match="the weights do not fit backbone 'some'") as raised:
        load_backbone(inception_card(tmp_path / "broken.safetensors"))
    for said in ("missing: Mixed_5b.branch1x1.conv.weight", "left over: Mixed_5c.extra [3]"):
        assert said in str(raised.value)
    for said in ("wrong shape: Conv2d_1a_3x3.conv.weight is [1, 3, 3, 3]", "not finite: Conv2d_1a_3x3.bn.bias"):
        assert said in str(raised.value)
    save_file({f"x{i}": torch.zeros(1) for i in range(20)}, tmp_path / "alien.safetensors")
    with pytest.raises(WeightsError, match=r"and \d+ more"):
        load_backbone(inception_card(tmp_path / "alien.safetensors"))
    with pytest.raises(WeightsError, match="its card names no weights"):
        load_backbone(BackboneCard("some", "inception_v3"))


def test_a_timm_network_is_an_extractor_by_its_name(tmp_path: Path) -> None:
    import timm

    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = timm.create_model("test_resnet", pretrained=False).eval()
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    card = BackboneCard("some", "timm/test_resnet", Weights(str(tmp_path / "w.safetensors")))
    backbone = load_backbone(card)
    size = network.pretrained_cfg["input_size"][-1]
    images = torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found = backbone.features(images)
    assert found.shape == (2, network.num_features)
    assert torch.equal(found, backbone.features(images.clamp(0, 1)))
    assert not torch.allclose(found, backbone.features(images.flip(1)))
    assert str(size) in backbone.rule and len(backbone.identity) == 64
    with pytest.raises(CardError, match="has no model 'test_resnett'"):
        load_backbone(dataclasses.replace(card, architecture="timm/test_resnett"))


def test_offline_the_shipped_timm_card_says_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    card = Registry(Sources()).backbones["tf_efficientnet_lite0"]
    with pytest.raises(WeightsError, match="preimage fetch tf_efficientnet_lite0"):
        load_backbone(card, offline=True)
