"""Models made of others: one generator per class, from a card that lists them in any of three ways."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from preimage.adapters.composites import fit
from preimage.adapters.composites.per_class import PerClass, combine
from preimage.adapters.fashion_mnist.arrays import read_split
from preimage.harness import Generator, ImageSpec, LatentSpace, Prior, StandardNormal, TruncatedNormal, build
from preimage.harness.cards import ModelCard, Weights, read_card
from preimage.harness.check import check_model
from preimage.harness.composites import is_composite, parts_of
from preimage.harness.errors import CardError, GeneratorError, WeightsError
from preimage.harness.loading import load, load_with_key
from preimage.harness.plugins import Registry, Sources, installed
from preimage.harness.weights import locate
from tests.tiny_world import Shell
from tests.tiny_world import shell as shell

IMAGE = [1, 4, 4]
PLUGIN = """
import torch
from preimage.harness import Family, Generator, ImageSpec, LatentSpace, ModelCard, StandardNormal, hookimpl

class Level(Generator):
    spaces = {"z": LatentSpace("z", 3, StandardNormal())}
    image = ImageSpec(1, 4, 4)
    num_classes = 0

    def __init__(self, level):
        super().__init__()
        self.register_buffer("level", torch.tensor(float(level)))

    def decode(self, code, label=None, *, space="z"):
        return self.level + code.sum(1).reshape(-1, 1, 1, 1) * torch.ones(1, 4, 4)

@hookimpl
def register_families(register):
    register(Family("level", build=lambda config, weights: Level(config["level"]), read=lambda path: ({}, {})))

@hookimpl
def register_models(register):
    card = dict(family="level", dataset="d", image=ImageSpec(1, 4, 4), num_classes=0)
    register(ModelCard("bright", config={"level": 0.75}, **card))
    register(ModelCard("coded", load=lambda device: Level(0.25), **{**card, "family": "code"}))
"""


def linear(seed: int, dim: int = 3, image: list[int] = IMAGE) -> tuple[dict[str, object], dict[str, Tensor]]:
    """Settings and weights of a linear-gaussian."""
    random = torch.Generator().manual_seed(seed)
    values = int(np.prod(image))
    weights = {"W": torch.randn(values, dim, generator=random), "b": torch.randn(values, generator=random)}
    return {"dim": dim, "image": image}, weights


def inline(*parts: tuple[dict[str, object], dict[str, Tensor]]) -> tuple[dict[str, object], dict[str, Tensor]]:
    """The config and weights of a per-class model of linear-gaussians."""
    config = {"models": [{"family": "linear-gaussian", "config": own} for own, _ in parts]}
    return config, {f"{n}.{name}": value for n, (_, own) in enumerate(parts) for name, value in own.items()}


def codes(n: int, dim: int = 3) -> Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(5))


def three() -> tuple[PerClass, list[Generator]]:
    """A model of three classes from inline parts, and the same generators alone."""
    made = [linear(seed) for seed in range(3)]
    whole = build("per-class", *inline(*made))
    assert isinstance(whole, PerClass)
    return whole, [build("linear-gaussian", config, weights) for config, weights in made]


def test_an_image_is_made_by_the_generator_of_its_label() -> None:
    whole, alone = three()
    assert (whole.num_classes, tuple(whole.image), list(whole.spaces)) == (3, (1, 4, 4), ["z"])
    code, label = codes(8), torch.tensor([2, 0, 1, 1, 2, 0, 0, 2])
    images = whole.decode(code, label)
    for i, one in enumerate(label.tolist()):
        assert torch.allclose(images[i], alone[one].decode(code[i : i + 1])[0], atol=1e-6)
    shuffled = torch.tensor([7, 3, 0, 2, 6, 1, 5, 4])
    assert torch.allclose(whole.decode(code[shuffled], label[shuffled]), images[shuffled], atol=1e-6)
    assert torch.allclose(whole.decode(code, torch.ones(8, dtype=torch.int64)), alone[1].decode(code), atol=1e-6)
    assert whole.decode(code[:0], label[:0]).shape == (0, 1, 4, 4)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")  # of torch's forward mode itself
def test_gradients_forward_and_backward_stay_with_their_images() -> None:
    whole, alone = three()
    code, label = codes(4), torch.tensor([2, 0, 2, 1])
    jacobian = torch.autograd.functional.jacobian(lambda z: whole.decode(z, label).flatten(1), code)
    tangent = codes(4).flip(0)
    _, pushed = torch.func.jvp(lambda z: whole.decode(z, label).flatten(1), (code,), (tangent,))
    for i, one in enumerate(label.tolist()):
        W = alone[one].state_dict()["W"]
        assert torch.allclose(jacobian[i, :, i], W, atol=1e-6)
        assert float(jacobian[i, :, [j for j in range(4) if j != i]].abs().max()) == 0
        assert torch.allclose(pushed[i], W @ tangent[i], atol=1e-5)
    one_label = torch.full((4,), 2)
    many = torch.func.vmap(lambda t: torch.func.jvp(lambda z: whole.decode(z, one_label), (code,), (t,))[1])
    assert many(codes(12).reshape(3, 4, 3)).shape == (3, 4, 1, 4, 4)


def test_labels_are_needed_and_known() -> None:
    whole, _ = three()
    with pytest.raises(GeneratorError, match="this model has 3 classes: give a label per row"):
        whole.decode(codes(2))
    for wrong in (-1, 3):
        with pytest.raises(GeneratorError, match=f"label {wrong} seen; this model has labels from 0 to 2"):
            whole.decode(codes(2), torch.tensor([0, wrong]))
    with pytest.raises(GeneratorError, match="unknown latent space 'w'"):
        whole.decode(codes(2), torch.tensor([0, 1]), space="w")


class Stretched(Generator):
    """Two spaces and an encoder, all by one number: codes are pixels of images 1x2x2."""

    def __init__(self, by: float, prior: Prior | None = StandardNormal()) -> None:  # noqa: B008  # it is frozen
        super().__init__()
        self.by = by
        self.spaces = {"z": LatentSpace("z", 4, prior), "w": LatentSpace("w", 4, None)}
        self.image = ImageSpec(1, 2, 2)
        self.num_classes = 0

    def decode(self, code: Tensor, label: Tensor | None = None, *, space: str = "z") -> Tensor:
        return (code * (self.by if space == "z" else 1)).reshape(-1, 1, 2, 2)

    def encode(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        return image.flatten(1) / self.by

    def push(self, code: Tensor, label: Tensor | None = None, *, source: str, target: str) -> Tensor:
        return code * self.by


def test_codes_are_pushed_and_images_encoded_by_label() -> None:
    whole = combine({}, [Stretched(2.0), Stretched(5.0)])
    code, label = codes(3, 4), torch.tensor([1, 0, 1])
    pushed = whole.push(code, label, source="z", target="w")
    assert torch.equal(pushed, code * torch.tensor([[5.0], [2.0], [5.0]]))
    assert torch.equal(whole.decode(pushed, label, space="w"), whole.decode(code, label))
    assert whole.has_encoder and torch.allclose(whole.encode(whole.decode(code, label), label), code)
    assert not three()[0].has_encoder


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        (Stretched(1.0, None), r"part 1 of `models` has the latent spaces z \(4, \).*part 0 has z \(4, StandardNormal"),
        (Stretched(1.0, TruncatedNormal(2.0)), "TruncatedNormal .'bound': 2.0."),
    ],
)
def test_priors_must_be_the_same(odd: Generator, said: str) -> None:
    with pytest.raises(CardError, match=said):
        combine({}, [Stretched(1.0), odd])
    assert combine({}, [Stretched(1.0, TruncatedNormal(2.0)), Stretched(1.0, TruncatedNormal(2.0))]).num_classes == 2
    with pytest.raises(CardError, match="part 1"):
        combine({}, [Stretched(1.0, TruncatedNormal(2.0)), Stretched(1.0, TruncatedNormal(2.5))])


def test_parts_that_do_not_go_together_are_named() -> None:
    first = linear(0)
    for other, said in (
        (linear(1, dim=4), r"part 1 of `models` has the latent spaces z \(4, .*; part 0 has z \(3, "),
        (linear(1, image=[1, 2, 8]), "part 1 of `models` makes images of 1x2x8, part 0 of 1x4x4"),
    ):
        with pytest.raises(CardError, match=said):
            build("per-class", *inline(first, other))
    with pytest.raises(CardError, match="of 1 part: list one generator for each of at least 2 classes"):
        build("per-class", *inline(first))
    with pytest.raises(CardError, match="no setting 'dims'"):
        combine({"models": [], "dims": 3}, [])
    nested = {"models": [{"family": "per-class", "config": inline(first, linear(1))[0]}] * 2}
    weights = {f"{n}.{name}": v for n in range(2) for name, v in inline(first, linear(1))[1].items()}
    with pytest.raises(CardError, match="part 0 of `models` is conditional on 2 classes"):
        build("per-class", nested, weights)
    with pytest.raises(WeightsError, match="missing: b"):
        config, weights = inline(first, linear(1))
        build("per-class", config, {name: value for name, value in weights.items() if name != "1.b"})


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, "`models` in its config is None; list the models"),
        ({"models": "ppca"}, "`models` in its config is 'ppca'"),
        ({"models": ["ppca", "ppcca"]}, "part 1 of `models`: unknown model 'ppcca'. Did you mean 'ppca'?"),
        ({"models": ["ppca", "1nn"]}, "part 1 of `models`: '1nn' is a reference"),
        ({"models": ["ppca", "none.yaml"]}, "part 1 of `models`: cannot read the card 'none.yaml'"),
        ({"models": [{"famly": "constant"}]}, "part 0 of `models` is .*; write a table of family, config, weights"),
        ({"models": ["ppca", 7]}, "part 1 of `models` is 7; write a table"),
    ],
)
def test_entries_that_are_none_are_errors(config: Mapping[str, object], said: str) -> None:
    card = ModelCard("whole", "per-class", "fashion-mnist", ImageSpec(1, 28, 28), 2, config=config)
    with pytest.raises(CardError, match=said):
        load(card, installed())


def written(folder: Path) -> Registry:
    """Cards of four classes: a name, a model in code, another card's path, a table; with a plug-in of a family."""
    config, weights = linear(0)
    (folder / "cards").mkdir()
    save_file(weights, folder / "cards" / "own.safetensors")
    save_file(linear(1)[1], folder / "inline.safetensors")
    (folder / "plugin.py").write_text(PLUGIN)
    head = "dataset: d\nimage: [1, 4, 4]\n"
    (folder / "cards" / "own.yaml").write_text(
        f"name: own\nfamily: linear-gaussian\n{head}num_classes: 0\nweights: own.safetensors\nconfig: {config}\n"
    )
    table = f"{{family: linear-gaussian, config: {config}, weights: inline.safetensors}}"
    (folder / "whole.yaml").write_text(
        f"name: whole\nfamily: per-class\n{head}num_classes: 4\n"
        f"config: {{models: [bright, coded, cards/own.yaml, {table}]}}\n"
    )
    return Registry(Sources(plugins=(str(folder / "plugin.py"),), cards=(str(folder / "whole.yaml"),)))


def test_a_card_lists_names_paths_and_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = written(tmp_path)
    monkeypatch.chdir("/")  # paths count from the card's folder
    card = registry.models["whole"]
    assert is_composite(card, registry) and not is_composite(registry.models["bright"], registry)
    whole = load(card, registry)
    image = whole.decode(torch.zeros(4, 3), torch.arange(4))
    assert torch.equal(image[0], torch.full((1, 4, 4), 0.75)) and torch.equal(image[1], torch.full((1, 4, 4), 0.25))
    assert torch.allclose(image[2].flatten(), linear(0)[1]["b"])
    assert torch.allclose(image[3].flatten(), linear(1)[1]["b"])
    assert [part.name for part in parts_of(card, registry)] == ["bright", "coded", "own", "whole[3]"]


def test_the_identity_is_that_of_the_parts(tmp_path: Path) -> None:
    registry = written(tmp_path)
    card = registry.models["whole"]

    def identity(card: ModelCard) -> str:
        return load_with_key(card, registry).key.identity

    first = identity(card)
    assert identity(card) == first
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert load_with_key(written(elsewhere).models["whole"], written_again(elsewhere)).key.identity == first
    models = card.config["models"]
    assert isinstance(models, list)
    swapped = replace(card, config={"models": [models[1], models[0], *models[2:]]})
    assert identity(swapped) != first
    save_file(linear(2)[1], tmp_path / "cards" / "own.safetensors")
    assert identity(card) != first


def written_again(folder: Path) -> Registry:
    return Registry(Sources(plugins=(str(folder / "plugin.py"),), cards=(str(folder / "whole.yaml"),)))


def test_weights_of_the_whole_are_those_of_its_parts_and_part_of_its_identity(tmp_path: Path) -> None:
    config, weights = inline(linear(0), linear(1))
    save_file(weights, tmp_path / "all.safetensors")
    card = ModelCard(
        "w", "per-class", "d", ImageSpec(1, 4, 4), 2, config=config, weights=Weights(str(tmp_path / "all.safetensors"))
    )
    loaded = load_with_key(card, installed())
    image = loaded.generator.decode(torch.zeros(2, 3), torch.arange(2))
    assert torch.allclose(image[1].flatten(), weights["1.b"])
    weights["1.b"] += 1
    save_file(weights, tmp_path / "all.safetensors")
    assert load_with_key(card, installed()).key.identity != loaded.key.identity


def test_a_model_cannot_be_inside_itself(tmp_path: Path) -> None:
    head = "family: per-class\ndataset: d\nimage: [1, 4, 4]\nnum_classes: 2\n"
    (tmp_path / "a.yaml").write_text(f"name: a\n{head}config: {{models: [b.yaml, b.yaml]}}\n")
    (tmp_path / "b.yaml").write_text(f"name: b\n{head}config: {{models: [a.yaml, a.yaml]}}\n")
    with pytest.raises(CardError, match=r"a model cannot be a part of itself: a -> b -> a. Correct `models`"):
        load(read_card(tmp_path / "a.yaml"), installed())
    (tmp_path / "c.yaml").write_text(f"name: c\n{head}config: {{models: [c, c]}}\n")
    with pytest.raises(CardError, match="a part of itself: c -> c"):
        registry = Registry(Sources(cards=(str(tmp_path / "c.yaml"),)))
        load(registry.models["c"], registry)


def test_the_card_says_how_many_classes() -> None:
    card = installed().models["ppca-per-class"]
    with pytest.raises(CardError, match="`num_classes` is 9, the generator has 10"):
        load(replace(card, num_classes=9), installed())


def test_the_shipped_model_keeps_the_contract() -> None:
    card = installed().models["ppca-per-class"]
    findings = {f.rule: f.verdict for f in check_model(card, installed())}
    assert set(findings.values()) <= {"held", "skipped"} and findings["labels"] == findings["gradient"] == "held"
    assert card.weights is not None and locate(card.weights).stat().st_size < 600_000


def test_the_shipped_model_is_the_maximum_likelihood_fit_of_each_class() -> None:
    card = installed().models["ppca-per-class"]
    assert card.weights is not None and card.trained_on == 8192
    shipped = load_file(locate(card.weights))
    weights, noise = fit.fit(16, 8192, 2)
    assert len(shipped) == 20 and weights.keys() <= shipped.keys()
    for name, value in weights.items():
        assert np.allclose(shipped[name].numpy(), value, atol=1e-5), name
    models = card.config["models"]
    assert isinstance(models, list)
    assert np.allclose([part["config"]["sigma2"] for part in models[:2]], noise)


def test_classification_is_that_of_least_squares(shell: Shell) -> None:
    """The nearest image of each class has a closed form: numpy names the same classes, image by image."""
    count = 24
    run = ("run", "-b", "classification", "-m", "ppca-per-class", "--limit", str(count), "--set", f"block={count}")
    run = (*run, "--set", "solver.metric=false")  # of many directions for each class: not needed where all is linear
    assert shell(*run, "--workers", "1").status == 0
    weights = load_file(locate(Weights("package://preimage.adapters.composites/ppca-per-class.safetensors")))
    images, labels = read_split("test")
    pixels = images[:count].reshape(count, -1).T / 255.0
    error = np.empty((count, 10))
    for label in range(10):
        W, b = (weights[f"{label}.{name}"].double().numpy() for name in ("W", "b"))
        away = pixels - b[:, None]
        z = np.linalg.lstsq(W, away, rcond=None)[0]
        error[:, label] = np.square(away - W @ z).mean(axis=0)
    rows = shell.query("SELECT image, label, value FROM row_value WHERE name = 'mse' ORDER BY image, label")
    measured = np.array([row["value"] for row in rows]).reshape(count, 10)
    assert np.allclose(measured, error, rtol=1e-4)
    (score,) = shell.scores()
    assert score["value"] == pytest.approx(float((error.argmin(axis=1) == labels[:count]).mean()))
    assert 0.6 < score["value"] < 0.95
