"""A database of a whole zoo: families of several N, checkpoints of a training, outlier sets, a stranger's benchmark."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from synthetic_results import DATA, SHAPE, strip

from preimage.benchmarks.classification import Classification
from preimage.benchmarks.overfitting import Overfitting
from preimage.benchmarks.recovery import RecoveryBenchmark
from preimage.harness import statistics
from preimage.harness.asking import recovery_of_split
from preimage.harness.benchmark import Ask, Benchmark, Data, MetricInfo, Model, Score, metric_info
from preimage.harness.cards import ModelCard
from preimage.harness.errors import Refused
from preimage.harness.options import RecoveryOptions
from preimage.harness.plan import Evaluation
from preimage.harness.requests import ModelKey, Samples
from preimage.harness.rows import Block, Rows
from preimage.harness.store import Store

DIM = 64
LIMIT = 24  # images per split, one block
STEPS = (100, 200, 400, 800, 1600)
GAPS = {128: 0.05, 1024: 0.45, 8192: 0.93}
"""Training error over that of unseen images, by N, of what memorises."""
OUTLIERS = ("constant", "noise", "inverted", "digits", "svhn")


class Fit:
    """The mean distance F(G) of training and validation images."""

    name = "goodness-of-fit"
    version = 1
    question = "How far are real images from the model's range?"
    formula = "F(G, X) = (1/N) Σₙ min_z ‖G(z) − xₙ‖₂"
    options = RecoveryOptions
    metrics: ClassVar[Mapping[str, MetricInfo]] = {
        "f_val": MetricInfo("pixel norm", "lower", "mean over validation images of the distance"),
        "f_train": MetricInfo("pixel norm", "none", "mean over training images of the distance"),
    }

    def requests(self, model: Model, data: Data, options: RecoveryOptions) -> dict[str, Ask]:
        return {split: recovery_of_split(model, data, split, options) for split in ("train", "val")}

    def summarise(self, rows: Mapping[str, Rows], options: RecoveryOptions) -> list[Score]:
        return [Score(f"f_{split}", statistics.mean(rows[split]["l2"])) for split in ("val", "train")]


class Outliers:
    """The AUROC of made-up outlier sets, one variant each."""

    name = "outliers"
    version = 1
    question = "Are images of another kind further from the model's range?"
    options = RecoveryOptions
    metrics: ClassVar[Mapping[str, MetricInfo]] = {
        "auroc": MetricInfo(
            "share", "higher", "area under the ROC curve, inliers against one outlier set; 0.5 is chance"
        ),
        "fpr95": MetricInfo("share", "lower", "outliers taken for inliers where 95 % of inliers are kept"),
    }

    def requests(self, model: Model, data: Data, options: RecoveryOptions) -> dict[str, Ask]:
        if model.card.num_classes == 0 and "vae" in model.card.name:
            raise Refused("made-up: this one is refused")
        return {"test": recovery_of_split(model, data, "test", options)}

    def summarise(self, rows: Mapping[str, Rows], options: RecoveryOptions) -> list[Score]:
        beyond = [(rows["test"]["mse"] < (0.01 + 0.01 * k)).astype(float) for k in range(len(OUTLIERS))]
        scores = [Score(f"auroc/{name}", statistics.mean(b)) for name, b in zip(OUTLIERS, beyond, strict=True)]
        return [*scores, Score(f"fpr95/{OUTLIERS[0]}", statistics.mean(1 - beyond[0]))]


class Strange:
    """A benchmark that no page knows by name."""

    name = "<b>strange</b> & 'own'"
    version = 3
    question = "<script>alert('asked')</script>?"
    formula = "</p><script>alert(1)</script> ∑ \u202e"
    options = RecoveryOptions
    metrics: ClassVar[Mapping[str, MetricInfo]] = {
        "<i>odd</i>": MetricInfo("<u>odd</u>", "higher", "<img src=x onerror=alert(1)>"),
        "second": MetricInfo("share", "none", "another"),
    }

    def requests(self, model: Model, data: Data, options: RecoveryOptions) -> dict[str, Ask]:
        return {"test": recovery_of_split(model, data, "test", options)}

    def summarise(self, rows: Mapping[str, Rows], options: RecoveryOptions) -> list[Score]:
        error = rows["test"]["mse"]
        return [Score("<i>odd</i>", statistics.mean(error)), Score("second", statistics.median(error))]


def zoo() -> list[ModelCard]:
    """The models of the zoo, as cards."""

    def card(name: str, *tags: str, **more: Any) -> ModelCard:
        given = {"num_classes": 0, "trained_on": 8192, "licence": "Apache-2.0", **more}
        return ModelCard(
            name=name, family="embedded-decoder", dataset="fashion-mnist", image=SHAPE, tags=tags,
            config={"dim": DIM}, **given,
        )  # fmt: skip

    return [
        *(card(f"fashion-glo-{n}", "glo", trained_on=n) for n in GAPS),
        *(card(f"fashion-ae-{n}", "autoencoder", trained_on=n) for n in GAPS),
        *(card(f"fashion-aegan-{n}", "autoencoder", "gan", trained_on=n) for n in (1024, 8192)),
        card("fashion-cvae", "vae", num_classes=10),
        card("fashion-wgan-gp", "gan"),
        card("fashion-cgan", "gan", num_classes=10),
        *(card(f"fashion-dcgan-step-{step}", "gan", parent="fashion-dcgan", step=step) for step in STEPS),
        card("fashion-dcgan", "gan", step=2400),
        card("ppca", "linear"),
        card("mean-image", "baseline"),
        replace(card("1nn", num_classes=10), kind="reference", family="nearest-neighbour", config={}),
    ]


def write_zoo(path: Path, models: list[ModelCard] | None = None) -> Path:
    """Every benchmark on every model in one suite; of GANs recovery with fewer and with more evaluations in others."""
    with Store(path) as store:
        run = store.begin_run("preimage run", 0, "0" * 40, {}, {})
        for card in models or zoo():
            for benchmark in (RecoveryBenchmark(), Overfitting(), Fit(), Classification(), Outliers(), Strange()):
                measure(store, run, card, benchmark)
            if "gan" in card.tags and card.parent is None:
                for steps in (50, 800):
                    solver = replace(RecoveryOptions().solver, steps=steps)
                    measure(store, run, card, RecoveryBenchmark(), f"spend-{steps}", solver=solver)
        store.end_run(run)
        store.db.execute("UPDATE evaluation SET created = '2026-01-01T00:00:00+00:00'")
        store.db.commit()
    return path


def measure(
    store: Store, run: int, card: ModelCard, benchmark: Benchmark[Any], suite: str = "quick", **settings: Any
) -> None:
    """What the runner does, with rows made up."""
    options = benchmark.options(**{"limit": LIMIT, "block": LIMIT, **settings})
    key = ModelKey(card.name, hashlib.sha256(card.name.encode()).hexdigest())
    store.add_model(card, key)
    store.add_benchmark(benchmark)
    evaluation = Evaluation(card, DATA.name, benchmark, suite, options, key, status="ok")
    scores: list[Score] = []
    try:
        evaluation.asks = benchmark.requests(Model(card, key, {"z": DIM}), DATA, options)
    except Refused as refusal:
        evaluation.status, evaluation.reason = "refused", str(refusal)
    for ask in evaluation.asks.values():
        store.add_request(ask.request)
        for number in ask.request.blocks(ask.count):
            store.add_block(ask.request.key(), number, block_of(card, ask, number), run)
    if evaluation.asks:
        rows = {role: store.rows(ask.request.key(), ask.count) for role, ask in evaluation.asks.items()}
        scores = benchmark.summarise(rows, options)
    metrics = {score.metric: metric_info(benchmark, score.metric) for score in scores}
    store.add_evaluation(evaluation, scores, metrics, f"preimage run {suite} -m {card.name}", run)


def block_of(card: ModelCard, ask: Ask, number: int) -> Block:
    """Rows around a level that the card sets, codes whose norms follow a standard normal prior or lie outside it."""
    request: Any = getattr(ask.request, "of", ask.request)  # a rescoring is made up as its recovery is
    first, labels = number * request.block, range(10) if request.label == "every" else [-1]
    rng = np.random.default_rng([zlib.crc32(f"{card.name}{request.images}{request.operator}".encode()), number])
    split = "samples" if isinstance(request.images, Samples) else request.images.split
    memorises = {"glo", "autoencoder"} & set(card.tags)
    level = 0.02 * (1 + 300 / (card.step or 2400))
    if memorises and split == "train":
        level *= GAPS[card.trained_on or 8192]
    if split == "samples":
        level *= 0.05
    spent = 2.0 if "autoencoder" in card.tags else getattr(getattr(request, "solver", None), "steps", 0) * 0.9
    count = request.block * len(labels)
    mse = level * (1 + 20 / max(spent, 20)) * rng.lognormal(0, 0.5, count)
    truth = np.repeat(rng.integers(10, size=request.block), len(labels))
    used = np.tile(np.array(labels), request.block)
    if len(labels) > 1:
        mse = np.where(truth == used, 0.5 * mse, mse)
    values = {"distance": mse, "mse": mse, "l2": np.sqrt(784 * mse), "true_label": truth.astype(float)}
    codes: tuple[bytes, ...] = ()
    if card.kind != "reference":
        code = rng.normal(size=(count, DIM)) * (1.0 if split == "samples" else 1.25)
        norm = np.linalg.norm(code, axis=1)
        outside = (norm**2 > DIM + 3 * np.sqrt(2 * DIM)).astype(float)
        values |= {"code_norm": norm, "outside_prior": outside, "evaluations": np.full(count, spent)}
        codes = tuple(row.astype("<f4").tobytes() for row in code)
    pictures = (
        {"targets": strip(split, 0.0), "recoveries": strip(split, 0.2)} if not number and len(labels) == 1 else {}
    )
    return Block(
        np.repeat(np.arange(first, first + request.block), len(labels)), used, values,
        tuple("CONVERGED" if e < level else "BUDGET_SPENT" for e in mse), codes, "0" * 64, int(spent) * count, 2.5,
        pictures,
    )  # fmt: skip
