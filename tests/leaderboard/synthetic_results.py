"""A database as a run would leave it, from made-up rows: real benchmarks, real requests, no generator and no torch."""

from __future__ import annotations

import hashlib
import io
import zlib
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from PIL import Image

from preimage.benchmarks.classification import Classification
from preimage.benchmarks.overfitting import Overfitting
from preimage.benchmarks.recovery import RecoveryBenchmark
from preimage.harness import statistics
from preimage.harness.benchmark import Ask, Data, Model, Score, metric_info
from preimage.harness.cards import ImageSpec, ModelCard, Weights
from preimage.harness.errors import Refused
from preimage.harness.options import RecoveryOptions
from preimage.harness.plan import Evaluation
from preimage.harness.requests import ModelKey, Samples
from preimage.harness.rows import Block, Estimate
from preimage.harness.store import Store

SHAPE = ImageSpec(1, 28, 28)
LIMIT = 60
OPTIONS = RecoveryOptions(limit=LIMIT)
DATA = Data("fashion-mnist", SHAPE, 10, {"train": 8192, "test": 2048}, {"train": "f" * 64, "test": "e" * 64})
HOSTILE = (
    "<script>alert(1)</script>",
    "../../escaped",
    "quo\"te's & <b>bold</b>",
    "long" * 300,
    "naïve 模型 \u202eesrever",
    "Fashion-DCGAN",
    "con",
    "{{ 7 * 7 }}",
    "javascript:alert(1)",
)
# median error of test images, of training images over that of test images, of own samples over that of test images
LEVELS = {
    "fashion-dcgan": (0.021, 1.0, 0.1),
    "fashion-cgan": (0.0205, 0.98, 0.06),
    "fashion-glo-128": (0.029, 0.02, 0.01),
    "ppca": (0.0105, 0.99, 0.9),
    "mean-image": (0.085, 1.0, 1e-9),
    "1nn": (0.025, 0.0, 0.0),
}


def cards() -> list[ModelCard]:
    """Models as they ship, by shape: two GANs, one that memorises, closed forms and a reference."""
    common: dict[str, Any] = {"dataset": "fashion-mnist", "image": SHAPE, "licence": "Apache-2.0", "trained_on": 8192}
    weights = Weights("package://preimage.adapters.embedded/x.safetensors", "a" * 64)
    network = {"dim": 64, "channels": [64, 48, 32]}
    return [
        ModelCard(
            name="fashion-dcgan",
            family="embedded-decoder",
            num_classes=0,
            config=network,
            weights=weights,
            paper="Radford et al., ICLR 2016, https://arxiv.org/abs/1511.06434",
            tags=("gan", "embedded"),
            **common,
        ),
        ModelCard(
            name="fashion-cgan",
            family="embedded-decoder",
            num_classes=10,
            config=network,
            weights=weights,
            reported={"fid": 12.3},
            tags=("gan", "conditional"),
            **common,
        ),
        ModelCard(
            name="fashion-glo-128",
            family="embedded-decoder",
            num_classes=0,
            config=network,
            weights=weights,
            tags=("glo",),
            **{**common, "trained_on": 128},
        ),
        ModelCard(name="ppca", family="linear-gaussian", num_classes=0, tags=("closed-form",), **common),
        ModelCard(name="mean-image", family="constant", num_classes=0, tags=("closed-form", "baseline"), **common),
        ModelCard(
            name="1nn", family="nearest-neighbour", num_classes=10, kind="reference", tags=("baseline",), **common
        ),
    ]


def hostile_cards() -> list[ModelCard]:
    """Cards whose every text is an attack on the page."""
    bad = "<img src=//evil.example/x onerror=alert(1)>\"'</dd></script><script>alert(2)</script>"
    return [
        ModelCard(
            name=name,
            family=bad,
            dataset="fashion-mnist",
            image=SHAPE,
            num_classes=0,
            paper=bad,
            licence=bad,
            tags=(bad,),
            config={bad: bad},
            training={bad: [bad]},
            reported={bad: 1.0},
            trained_on=128,
            weights=Weights("https://evil.example/w.pt"),
        )
        for name in HOSTILE
    ]


def write_database(path: Path, models: list[ModelCard] | None = None) -> Path:
    """All benchmarks on all models; one further model that cannot be loaded."""
    with Store(path) as store:
        run = store.begin_run("preimage run quick", 0, "0" * 40, {"torch": "2.13"}, {"cores": 2})
        for card in models or cards():
            for benchmark in (RecoveryBenchmark(), Overfitting(), Classification()):
                evaluate(store, run, card, benchmark)
        broken = replace(cards()[0], name="broken")
        key = ModelKey("broken", "?")
        store.add_model(broken, key)
        reason = "WeightsError: <b>the weights</b> are not there"
        failed = Evaluation(
            broken,
            DATA.name,
            RecoveryBenchmark(),
            "quick",
            OPTIONS,
            key,
            {},
            "failed",
            reason,
            f"Traceback (most recent call last):\n  File <string>\n{reason}\n",
        )
        store.add_evaluation(failed, [], {}, "preimage run quick", run)
        store.end_run(run)
        store.db.execute("UPDATE evaluation SET created = '2026-01-01T00:00:00+00:00'")
        store.db.commit()
    return path


def many_cards(count: int) -> list[ModelCard]:
    """A zoo of so many models: every fifth conditional, every tenth a baseline, in four families."""
    return [
        ModelCard(
            name=f"model-{number:03d}",
            family=("embedded-decoder", "linear-gaussian", "diffusers", "torch-hub")[number % 4],
            dataset="fashion-mnist",
            image=SHAPE,
            num_classes=10 if number % 5 == 0 else 0,
            licence="Apache-2.0",
            trained_on=8192,
            tags=("gan", "conditional") if number % 5 == 0 else ("baseline",) if number % 10 == 1 else ("glo",),
            config={"dim": 64},
        )
        for number in range(count)
    ]


def write_large_database(path: Path, models: int, images: int) -> Path:
    """At least 20 scores of each of so many models on so many images, in two suites; most have pictures.

    Bootstraps are drawn from a normal law instead of the rows, which is a hundred times quicker and as many bytes.
    """
    options = RecoveryOptions(limit=images, block=min(images, 64))
    with Store(path) as store, patch.object(statistics, "bootstrap", drawn_bootstrap):
        run = store.begin_run("preimage run quick", 0, "0" * 40, {"torch": "2.13"}, {"cores": 2})
        for card in many_cards(models):
            LEVELS[card.name] = (0.01 + 0.0004 * (zlib.crc32(card.name.encode()) % 100), 0.9, 0.2)
            for suite, chosen in (("quick", options), ("again", replace(options, seed=1))):
                evaluate(store, run, card, RecoveryBenchmark(), suite, chosen)
                evaluate(store, run, card, Overfitting(), suite, chosen)
        store.end_run(run)
        store.db.execute("UPDATE evaluation SET created = '2026-01-01T00:00:00+00:00'")
        store.db.commit()
    return path


def drawn_bootstrap(statistic: Any, *samples: Any) -> Estimate:
    """An estimate with as many replicates as a bootstrap has, made up around it."""
    value = float(statistic(*samples, axis=-1))
    rng = np.random.default_rng([len(samples), int(1e6 * abs(value)) % 2**31])
    replicates = value * (1 + 0.05 * rng.normal(size=statistics.RESAMPLES))
    low, high = np.percentile(replicates, [2.5, 97.5])
    return Estimate(value, float(low), float(high), len(samples[0]), replicates.astype("<f8").tobytes())


def evaluate(
    store: Store, run: int, card: ModelCard, benchmark: Any, suite: str = "quick", options: RecoveryOptions = OPTIONS
) -> None:
    """What the runner does, with rows made up. Options that the benchmark adds have their defaults."""
    options = benchmark.options(**{field.name: getattr(options, field.name) for field in fields(options)})
    key = ModelKey(card.name, hashlib.sha256(card.name.encode()).hexdigest())
    store.add_model(card, key)
    store.add_benchmark(benchmark)
    evaluation = Evaluation(card, DATA.name, benchmark, suite, options, key, status="ok")
    scores: list[Score] = []
    try:
        evaluation.asks = benchmark.requests(Model(card, key, {"z": 64}), DATA, options)
    except Refused as refusal:
        evaluation.status, evaluation.reason = "refused", str(refusal)
    for ask in evaluation.asks.values():
        store.add_request(ask.request)
        for number in ask.request.blocks(ask.count):
            store.add_block(ask.request.key(), number, made_up_block(card, ask, number), run)
    if evaluation.asks:
        rows = {role: store.rows(ask.request.key(), ask.count) for role, ask in evaluation.asks.items()}
        scores = benchmark.summarise(rows, options)
    metrics = {score.metric: metric_info(benchmark, score.metric) for score in scores}
    store.add_evaluation(evaluation, scores, metrics, f"preimage run {suite} -m {card.name}", run)


def made_up_block(card: ModelCard, ask: Ask, number: int) -> Block:
    """Rows of lognormal errors around the model's level."""
    request: Any = getattr(ask.request, "of", ask.request)  # a rescoring is made up as its recovery is
    first, labels = number * request.block, range(10) if request.label == "every" else [-1]
    rng = np.random.default_rng([zlib.crc32(f"{card.name}{request.images}".encode()), number])
    level, train, own = LEVELS.get(card.name, (0.03, 0.9, 0.2))
    split = "samples" if isinstance(request.images, Samples) else request.images.split
    mse = level * {"train": train, "samples": own}.get(split, 1.0) * rng.lognormal(0, 0.6, request.block * len(labels))
    truth = np.repeat(rng.integers(10, size=request.block), len(labels))
    used = np.tile(np.array(labels), request.block)
    if len(labels) > 1:
        mse = np.where(truth == used, 0.35 * mse, mse)
    values = {
        "distance": mse,
        "mse": mse,
        "l2": np.sqrt(784 * mse),
        "true_label": truth.astype(float),
        "evaluations": np.full(len(mse), 101.0),
        "outside_prior": (rng.random(len(mse)) < 0.1).astype(float),
    }
    pictures = (
        {"targets": strip(split, 0.0), "recoveries": strip(split, 0.2)} if number == 0 and len(labels) == 1 else {}
    )
    return Block(
        np.repeat(np.arange(first, first + request.block), len(labels)),
        used,
        values,
        tuple("CONVERGED" if e < level else "BUDGET_SPENT" for e in mse),
        pixels="0" * 64,
        evaluations=101 * len(mse),
        seconds=2.5,
        pictures=pictures,
    )


@cache
def strip(split: str, noise: float) -> bytes:
    """24 made-up images side by side, as a PNG."""
    rng = np.random.default_rng(zlib.crc32(split.encode()))
    y, x = np.mgrid[0:28, 0:28]
    images = [np.exp(-((x - a) ** 2 + (y - b) ** 2) / c) for a, b, c in rng.uniform([8, 8, 20], [20, 20, 90], (24, 3))]
    row = np.clip(np.concatenate(images, axis=1) + noise * rng.normal(size=(28, 24 * 28)), 0, 1)
    file = io.BytesIO()
    Image.fromarray((255 * row).astype(np.uint8)).save(file, format="PNG")
    return file.getvalue()
