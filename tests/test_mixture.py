"""Mixtures of generators: against closed forms, through the whole road, and what is wrong with those that are none."""

from __future__ import annotations

import json
import math
import runpy
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.special import logsumexp
from torch import Tensor

from preimage.adapters.closed_form.family import Constant, LinearGaussian
from preimage.adapters.closed_form.fit import fit_ppca
from preimage.adapters.composites.mixture import Mixture, combine
from preimage.harness import ArrayDataset, Generator, ImageSpec, LatentSpace, StandardNormal, build
from preimage.harness.asking import recovery_of_samples
from preimage.harness.cards import ModelCard
from preimage.harness.check import check_model
from preimage.harness.errors import CardError, GeneratorError
from preimage.harness.likelihood_requests import Curvature, FixedNoise, Likelihood, Simulated, Tuning
from preimage.harness.loading import load, load_with_key
from preimage.harness.measurements.draws import draw, draw_labels
from preimage.harness.measurements.parts import mixed_parts
from preimage.harness.measurements.targets import own_samples
from preimage.harness.options import RecoveryOptions, options_from, parse_settings
from preimage.harness.plugins import Registry, Sources, installed
from preimage.harness.readers import NpzDataset
from preimage.harness.requests import ModelKey, ModelMetric, Recovery, Samples, Split
from preimage.harness.samplers.laplace import Laplace
from preimage.harness.solvers.lbfgs import Lbfgs
from preimage.harness.streams import Streams, seed_of
from preimage.harness.world import World
from tests.test_composites import Stretched, codes, inline, linear
from tests.test_docs import ROOT, marked
from tests.test_run import preimage
from tests.test_truth import least_squares, measured, pixels
from tests.tiny_world import Shell
from tests.tiny_world import shell as shell

SHARES = [0.2, 0.8]
IMAGE = ImageSpec(1, 4, 4)
CARD = f"""
name: two
family: mixture
dataset: grains
image: [1, 4, 4]
num_classes: 0
weights: two.safetensors
config:
  models:
    - {{family: linear-gaussian, config: {{dim: 3, image: [1, 4, 4]}}}}
    - {{family: linear-gaussian, config: {{dim: 3, image: [1, 4, 4]}}}}
  weights: {SHARES}
"""
PLUGIN = """
import torch
from preimage.harness import ArrayDataset, hookimpl

def images(count, seed):
    numbers = torch.Generator().manual_seed(seed)
    rough = torch.rand(count, 1, 4, 4, generator=numbers)
    return (0.5 * rough + 0.5 * rough.mean(dim=(2, 3), keepdim=True)).clamp(0, 1)

@hookimpl
def register_datasets(register):
    label = lambda count: torch.arange(count) % 2
    register(ArrayDataset("grains", {"train": (images(24, 2), label(24)), "test": (images(12, 3), label(12))}))
"""


def part(seed: int) -> tuple[dict[str, object], dict[str, Tensor]]:
    """A linear-gaussian whose images are nearly in [0, 1], about a grey of its own."""
    config, weights = linear(seed)
    return config, {"W": 0.15 * weights["W"], "b": 0.4 + 0.1 * seed + 0.05 * weights["b"]}


def two() -> tuple[Mixture, list[Generator]]:
    """A mixture of two, and the same generators alone."""
    made = [part(seed) for seed in range(2)]
    config, weights = inline(*made)
    whole = build("mixture", {**config, "weights": SHARES}, weights)
    assert isinstance(whole, Mixture)
    return whole, [build("linear-gaussian", own, tensors) for own, tensors in made]


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """A card of the same mixture, beside its weights and a plug-in with a data set."""
    (tmp_path / "two.yaml").write_text(CARD)
    (tmp_path / "grains.py").write_text(PLUGIN)
    save_file(inline(part(0), part(1))[1], tmp_path / "two.safetensors")
    return tmp_path / "two.yaml"


def registry_of(card: Path) -> Registry:
    return Registry(Sources(plugins=(str(card.parent / "grains.py"),), cards=(str(card),)))


def run(card: Path, *more: str, settings: tuple[str, ...] = ()) -> Path:
    """The database of a run of the mixture."""
    database = card.parent / "a.db"
    words = [word for setting in settings for word in ("--set", setting)]
    plugin = ("--plugin", str(card.parent / "grains.py"), "--card", str(card))
    assert preimage("run", "-m", "two", *plugin, "--db", str(database), "--workers", "1", *words, *more) == 0
    return database


def test_a_part_stands_where_a_label_does() -> None:
    whole, alone = two()
    assert (whole.num_classes, whole.part_weights) == (0, (0.2, 0.8))
    code, which = codes(6), torch.tensor([1, 0, 0, 1, 1, 0])
    images = whole.decode(code, which)
    for i, one in enumerate(which.tolist()):
        assert torch.allclose(images[i], alone[one].decode(code[i : i + 1])[0], atol=1e-6)
    with pytest.raises(GeneratorError, match="a mixture of 2 generators: give the part of each row where labels go"):
        whole.decode(code)
    with pytest.raises(GeneratorError, match="label 2 seen; this model has labels from 0 to 1"):
        whole.decode(code, which + 1)


def test_without_weights_all_parts_are_as_likely() -> None:
    assert combine({}, [Stretched(1.0), Stretched(2.0), Stretched(3.0)]).part_weights == (1 / 3,) * 3


def test_images_are_encoded_by_each_part() -> None:
    whole = combine({}, [Stretched(2.0), Stretched(5.0)])
    code, which = codes(3, 4), torch.tensor([1, 0, 1])
    assert whole.has_encoder and torch.allclose(whole.encode(whole.decode(code, which), which), code)
    assert torch.equal(whole.push(code, which, source="z", target="w"), code * torch.tensor([[5.0], [2.0], [5.0]]))
    assert not two()[0].has_encoder


def test_its_density_is_the_sum_over_parts() -> None:
    whole, alone = two()
    x = torch.rand(5, *IMAGE, generator=torch.Generator().manual_seed(3))
    each = [one.log_likelihood(x, sigma2=0.05).numpy() for one in alone]
    wanted = logsumexp([np.log(share) + own for share, own in zip(SHARES, each, strict=True)], axis=0)
    assert whole.has_log_likelihood
    np.testing.assert_allclose(whole.log_likelihood(x, sigma2=0.05).numpy(), wanted, rtol=1e-12)
    which = torch.tensor([1, 0, 1, 1, 0])
    own = whole.log_likelihood(x, which, sigma2=0.05).numpy()
    np.testing.assert_allclose(own, np.where(which.numpy(), each[1], each[0]), rtol=1e-12)


WANTED = "write one number above 0 for each of the 2 parts, with the sum 1, or leave it out"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"weights": [0.5, 0.6]}, f"with the sum 1.1; {WANTED}"),
        ({"weights": [0.5, 0.5001]}, "with the sum 1.0001;"),
        ({"weights": [1.0, 0.0]}, f"of which 0.0 is no number above 0; {WANTED}"),
        ({"weights": [1.5, -0.5]}, "of which -0.5 is no number above 0"),
        ({"weights": ["half", 0.5]}, "of which 'half' is no number above 0"),
        ({"weights": [math.nan, 0.5]}, "of which nan is no number above 0"),
        ({"weights": [True, 0.5]}, "of which True is no number above 0"),
        ({"weights": [0.5, 0.25, 0.25]}, f"3 of them for 2 parts; {WANTED}"),
        ({"weights": 0.5}, f"`weights` in its config is 0.5; {WANTED}"),
        ({"wieghts": [0.5, 0.5]}, "a mixture has no setting 'wieghts'; its config has `models` and `weights`"),
    ],
)
def test_wrong_weights_are_told(config: Mapping[str, object], said: str) -> None:
    with pytest.raises(CardError, match=said):
        combine(config, [Stretched(1.0), Stretched(2.0)])


def test_parts_that_do_not_go_together_are_told() -> None:
    with pytest.raises(CardError, match="a mixture of 1 part: list at least 2 generators"):
        build("mixture", *inline(linear(0)))
    for other, said in (
        (linear(1, dim=4), r"a mixture: part 1 of `models` has the latent spaces z \(4, .*; part 0 has z \(3, "),
        (linear(1, image=[1, 2, 8]), "a mixture: part 1 of `models` makes images of 1x2x8, part 0 of 1x4x4"),
    ):
        with pytest.raises(CardError, match=said):
            build("mixture", *inline(linear(0), other))
    inner = inline(linear(0), linear(1))
    weights = {f"{n}.{name}": value for n in range(2) for name, value in inner[1].items()}
    for family, said in (
        ("per-class", "part 0 of `models` is conditional on 2 classes"),
        ("mixture", "part 0 of `models` is itself a mixture of 2 generators; list these instead"),
    ):
        with pytest.raises(CardError, match=said):
            build("mixture", {"models": [{"family": family, "config": inner[0]}] * 2}, weights)


class Claimed(Stretched):
    """A generator that says weights of its own."""

    def __init__(self, weights: tuple[float, ...], classes: int = 0) -> None:
        super().__init__(1.0)
        self.part_weights, self.num_classes = weights, classes


@pytest.mark.parametrize("wrong", [Claimed((0.5, 0.6)), Claimed((1.5, -0.5)), Claimed((0.5, 0.5), 2)])
def test_a_generators_own_weights_must_be_some(wrong: Claimed) -> None:
    card = ModelCard("m", "own", "d", wrong.image, wrong.num_classes, load=lambda device: wrong)
    with pytest.raises(GeneratorError, match=r"model 'm': its generator has `part_weights` .* above 0 with the sum 1"):
        load(card, installed())


def test_the_weights_are_part_of_its_identity(card: Path) -> None:
    registry = registry_of(card)
    first = registry.models["two"]
    other = replace(first, config={**first.config, "weights": [0.3, 0.7]})
    assert load_with_key(first, registry).key == load_with_key(first, registry).key
    assert load_with_key(first, registry).key != load_with_key(other, registry).key


def test_samples_come_from_each_part_as_often_as_its_weight() -> None:
    parts = [Constant(IMAGE) for _ in range(3)]
    for level, one in enumerate(parts):
        one.mean += level / 2
    weights, count = [0.1, 0.6, 0.3], 4000
    whole = Mixture(parts, weights)
    images, labels = own_samples(Samples(), "m", range(count), World(installed()), whole)
    assert labels.tolist() == [-1] * count
    seen = torch.bincount((2 * images[:, 0, 0, 0]).long(), minlength=3).double() / count
    for share, weight in zip(seen.tolist(), weights, strict=True):
        assert abs(share - weight) < 4 * math.sqrt(weight * (1 - weight) / count)
    later, _ = own_samples(Samples(), "m", range(100, 132), World(installed()), whole)
    assert torch.equal(later, images[100:132]), "a sample is its stream's, whatever block it is in"


QUICK = ("solver.steps=40", "draws=4", "block=8")


def test_recovery_is_the_better_of_two_least_squares(card: Path) -> None:
    database = run(card, "-b", "recovery", settings=(*QUICK, "further_distances=[l2]", "distance=squared-l2"))
    rows, _ = measured(database, "two", "recovery", "test")
    _, alone = two()
    x = pixels(registry_of(card), "grains", "test", 12)
    least = np.stack(
        [
            least_squares(one.state_dict()["W"].double().numpy(), one.state_dict()["b"].double().numpy(), x)
            for one in alone
        ]
    )
    np.testing.assert_allclose(rows["mse"], least.min(axis=0), rtol=1e-4)
    assert rows["part"].tolist() == least.argmin(axis=0).tolist() and len(set(rows["part"])) == 2
    assert rows.label.tolist() == [-1] * 12 and rows["true_label"].tolist() == [0, 1] * 6
    own, _ = measured(database, "two", "recovery", "floor")
    assert own["mse"].max() < 1e-6


def test_a_recovery_is_decoded_by_its_part_when_it_is_rescored(card: Path) -> None:
    database = run(card, "-b", "recovery", settings=(*QUICK, "scored_in=[l2]"))
    rows, _ = measured(database, "two", "recovery", "test")
    again, _ = measured(database, "two", "recovery", "test in l2")
    np.testing.assert_allclose(again["distance"], rows["l2"], rtol=1e-5)


def test_a_mixture_of_autoencoders_is_recovered_by_the_better_encoder(tmp_path: Path) -> None:
    class Half(Stretched):
        """Encodes a part of the image only: the better one depends on the image."""

        def __init__(self, first: bool) -> None:
            super().__init__(1.0)
            self.register_buffer("kept", torch.tensor([1.0, 1.0, 0.0, 0.0] if first else [0.0, 0.0, 1.0, 1.0]))

        def decode(self, code: Tensor, label: Tensor | None = None, *, space: str = "z") -> Tensor:
            return (code * self.kept).reshape(-1, 1, 2, 2)

    whole = combine({"weights": [0.75, 0.25]}, [Half(True), Half(False)])
    registry = registry_with(ModelCard("m", "own", "grains", whole.image, 0, load=lambda device: whole))
    world = World(registry)
    model, data = world.model("m"), world.data("grains")
    assert model.has_encoder and model.parts == 2
    request = recovery_of_samples(model, data, "test", RecoveryOptions(block=12)).request
    assert isinstance(request, Recovery) and request.solver.name == "encoder" and request.label == "part"
    block = request.measure(0, world)
    assert block.evaluations == request.evaluations(12)
    streams = Streams([seed_of(0, "samples", i) for i in range(12)])
    draw(whole, streams, None)
    drawn = draw_labels(whole, streams)
    assert drawn is not None and block.values["part"].tolist() == drawn.tolist() and len(set(drawn.tolist())) == 2
    assert block.values["mse"].max() < 1e-12


def registry_with(card: ModelCard) -> Registry:
    """A registry with one more model, and a data set of its images."""
    registry = Registry(Sources())
    registry.models.add(card.name, card, "a test")
    pixels = np.full((12, *card.image), 0.5, dtype=np.float32)
    grains = ArrayDataset("grains", {"train": (pixels, None), "test": (pixels, None)})
    registry.datasets.add("grains", grains, "a test")
    return registry


ANNEALED = ("sampler=laplace", "sampler.evaluations=801", "simulated=6", "tuning_images=2", "annealed_block=6",
            "sigma2=[0.02]", "solver.steps=20", "draws=2")  # fmt: skip


def test_likelihoods_are_those_of_the_closed_form(card: Path) -> None:
    database = run(card, "-b", "likelihood", settings=ANNEALED)
    whole, _ = two()
    x = pixels(registry_of(card), "grains", "test", 12)
    wanted = whole.log_likelihood(torch.from_numpy(x).float().reshape(-1, *IMAGE), sigma2=0.02).numpy()
    for role, count in (("test", 12), ("simulated", 6)):
        rows, scores = measured(database, "two", "likelihood", role)
        assert len(rows) == count and rows.label.tolist() == [-1] * count
        assert np.abs(rows["log_likelihood"] - rows["exact"]).max() < 0.3
        assert set(rows["part"]) == {0.0, 1.0}
    test, _ = measured(database, "two", "likelihood", "test")
    np.testing.assert_allclose(test["exact"], wanted, rtol=1e-6)
    made, scores = measured(database, "two", "likelihood", "simulated")
    np.testing.assert_allclose(made["gap"], made["upper"] - made["log_likelihood"])
    assert np.abs(made["upper"] - made["exact"]).max() < 0.3
    assert scores["bdmc_gap"] == pytest.approx(made["gap"].mean())
    assert "gap" not in test.values


@pytest.mark.parametrize("sampler", ["prior-path", "laplace"])
def test_the_plan_is_what_is_spent(card: Path, sampler: str) -> None:
    own = (f"sampler={sampler}", "sampler.evaluations=601", "simulated=4", "tuning_images=2", "annealed_block=4")
    database = run(card, "-b", "likelihood", "--limit", "4", settings=(*own, "solver.steps=20", "draws=2"))
    test, _ = measured(database, "two", "likelihood", "test")
    with closing(sqlite3.connect(database)) as db:
        spent = db.execute(
            "SELECT r.description, sum(b.evaluations) FROM block b JOIN request r ON r.key = b.request "
            "WHERE r.kind = 'likelihood' GROUP BY r.key").fetchall()  # fmt: skip
    costs = {json.loads(text)["images"]["is"]: total for text, total in spent}
    registry = registry_of(card)
    world = World(registry)
    benchmark = registry.benchmarks["likelihood"]
    settings = parse_settings((*own, "solver.steps=20", "draws=2", "limit=4"))
    options = options_from(benchmark.options, settings, registry.choices, source="test")
    asks = benchmark.requests(world.model("two"), world.data("grains"), options)
    planned = {role: ask.request.evaluations(ask.count) for role, ask in asks.items()}
    assert costs == {"split": planned["test"], "simulated": planned["simulated"]}
    assert test["evaluations"].sum() == planned["test"]
    if sampler == "prior-path":  # one path: the bound is the mean of the weights that are stored
        weights = np.stack([value for name, value in test.values.items() if name.startswith("log_weight_")])
        assert len(weights) >= 2
        np.testing.assert_allclose(test["log_likelihood"], logsumexp(weights, axis=0) - math.log(len(weights)))


def test_bounds_of_parts_add_up_by_hand() -> None:
    """Two images, the first made by part 1, the second by part 0; p_k as the passes say."""
    first = {"log_likelihood": np.log([2.0, 0.5]), "log_weight_0": np.log([3.0, 1.0]), "ess": np.array([3.0, 2.0])}
    first |= {"evaluations": np.array([10.0, 10.0]), "gap": np.array([0.1, 0.3]), "upper": np.zeros(2)}
    second = {"log_likelihood": np.log([4.0, 8.0]), "log_weight_0": np.log([5.0, 7.0]), "ess": np.array([1.0, 4.0])}
    second |= {"evaluations": np.array([6.0, 6.0])}
    values, lead = mixed_parts([first, second], np.array([[1, 0], [0, 1]]), (0.25, 0.75))
    assert np.exp(values["log_likelihood"]) == pytest.approx([0.75 * 2 + 0.25 * 4, 0.25 * 0.5 + 0.75 * 8])
    assert np.exp(values["log_weight_0"]) == pytest.approx([0.75 * 3 + 0.25 * 5, 0.25 * 1 + 0.75 * 7])
    assert lead.tolist() == [0, 1] and values["part"].tolist() == [1.0, 1.0] and values["ess"].tolist() == [3.0, 4.0]
    assert values["evaluations"].tolist() == [16.0, 16.0] and values["gap"].tolist() == [0.1, 0.3]
    assert values["upper"] == pytest.approx(values["log_likelihood"] + [0.1, 0.3])


def test_the_other_benchmarks_score_it_or_say_why_not(card: Path, shell: Shell) -> None:
    settings = (*QUICK, "by=[recovery, likelihood]", "sigma2=[0.02]", "sampler=prior-path", "sampler.evaluations=101",
                "tuning_images=2", "sets=[inverted]")  # fmt: skip
    database = run(card, "-b", "outliers", "-b", "classification", "--limit", "8", settings=settings)
    found = json.loads(shell("scores", "--json", "--db", database).out)
    said = {(one["benchmark"], one["metric"]): one for one in found}
    assert {"auroc/inverted", "auroc/inverted/likelihood"} <= {metric for _, metric in said}
    assert "unconditional" in said["classification", "*"]["reason"]


def test_it_keeps_the_contract_and_is_shown_with_its_parts(card: Path, shell: Shell) -> None:
    registry = registry_of(card)
    findings = {f.rule: f for f in check_model(registry.models["two"], registry)}
    assert {f.verdict for f in findings.values()} <= {"held", "skipped"}, findings
    assert findings["labels"].detail.startswith("parts 0 and 1 of one code differ")
    assert findings["likelihood"].verdict == "held" and "a mixture of 2 parts" in findings["load"].detail
    shown = shell("show", "two", "--card", card, "--plugin", card.parent / "grains.py")
    assert "two[0] (0.2), two[1] (0.8)" in shown.said


class Unweighted(Mixture):
    """Takes the parts for equally likely where it tells its density."""

    def log_likelihood(self, image: Tensor, label: Tensor | None = None, *, sigma2: float, space: str = "z") -> Tensor:
        if label is not None:
            return super().log_likelihood(image, label, sigma2=sigma2, space=space)
        return Mixture([self._part(0), self._part(1)]).log_likelihood(image, sigma2=sigma2, space=space)


class Alike(Generator):
    """Calls itself a mixture, and has one part, or the same twice."""

    def __init__(self, parts: int) -> None:
        super().__init__()
        self.spaces = {"z": LatentSpace("z", 3, StandardNormal())}
        self.image, self.num_classes = IMAGE, 0
        self.part_weights = (1 / parts,) * parts

    def decode(self, code: Tensor, label: Tensor | None = None, *, space: str = "z") -> Tensor:
        return code.sum(dim=1).reshape(-1, 1, 1, 1) * torch.full((1, *IMAGE), 0.1)


def test_a_wrong_mixture_is_told() -> None:
    far = [Constant(IMAGE), Constant(IMAGE)]
    far[1].mean += 1

    def found(generator: Generator) -> dict[str, Any]:
        card = ModelCard("m", "own", "fashion-mnist", IMAGE, 0, load=lambda device: generator)
        return {f.rule: f for f in check_model(card, installed())}

    assert found(Mixture(far, SHARES))["likelihood"].verdict == "held"
    assert found(Unweighted(far, SHARES))["likelihood"].verdict == "broken"
    assert found(Alike(2))["labels"].detail == "the part has no effect on the image"
    assert found(Alike(1))["labels"].detail == "a mixture of 1 part: set no `part_weights`"


@pytest.mark.filterwarnings("ignore:.*sklearn.*:RuntimeWarning")
def test_the_clusters_of_the_docs_are_a_mixture(shell: Shell) -> None:
    """The documented script: parts that divide the images, a density above that of one generator as large."""
    (script,) = [b for b in marked(ROOT / "docs" / "families.md", "file") if b["file"] == "clusters.py"]
    names = runpy.run_path(str(shell.write(script["file"], script["text"])))
    registry = Registry(Sources(cards=("clusters.yaml",)))
    whole = load(registry.models["my-clusters"], registry)
    assert len(whole.part_weights) == 4 and names["shares"] == pytest.approx(list(whole.part_weights))
    sizes = [NpzDataset("part", {"train": f"part-{k}.npz"}).size("train") for k in range(4)]
    assert sum(sizes) == 4096 and sizes == [round(4096 * share) for share in whole.part_weights]
    assert shell("check", "my-clusters", "--card", "clusters.yaml").status == 0
    images, _ = registry.dataset("fashion-mnist").read("test", range(256))
    alone = fit_ppca(names["pixels"], 8)
    one = LinearGaussian(8, ImageSpec(1, 28, 28))
    one.load_state_dict({"W": torch.from_numpy(alone.W), "b": torch.from_numpy(alone.b)})
    of_both = [g.log_likelihood(images, sigma2=alone.sigma2).mean() for g in (whole, one)]
    assert of_both[0] > of_both[1]


def test_requests_of_other_models_keep_their_keys() -> None:
    """As they were before there were mixtures, but for the settings of the sampler."""
    model = ModelKey("m", "0" * 64)
    curvature = Curvature(model=model, space="z", dim=3, labels=2)
    rest: dict[str, Any] = {"space": "z", "noise": FixedNoise(0.01), "sampler": Laplace(), "dim": 3, "labels": 2}
    tuning = Tuning(model=model, curvature=curvature, **rest)
    likelihood = Likelihood(model=model, images=Simulated(), label="true", curvature=curvature, tuning=tuning, **rest)
    metric = ModelMetric(model=model, space="z", distance="squared-l2", dim=3, labels=0)
    recovery = Recovery(
        model=model,
        images=Split("d", "test", "f"),
        label="every",
        space="z",
        distance="squared-l2",
        solver=Lbfgs(),
        labels=2,
        metric=metric,
    )
    assert [request.key()[:16] for request in (curvature, tuning, metric, likelihood, recovery)] == [
        "49c91967c5ac2d4d",
        "91eb41ceebbb42d0",
        "d0de5a81c40c66aa",
        "c5d1502c1123821d",
        "50385121cad9b8bc",
    ]
