"""A database of made-up likelihoods: reliable ones and others, one with a closed form, one whose pictures are lost."""

from __future__ import annotations

import hashlib
import io
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from synthetic_results import DATA, SHAPE, cards

from preimage.benchmarks.classification import Classification
from preimage.benchmarks.flatness import Flatness
from preimage.benchmarks.likelihood import LikelihoodBenchmark
from preimage.benchmarks.outliers import Outliers
from preimage.benchmarks.typicality import Typicality
from preimage.harness.benchmark import Ask, Benchmark, Data, Model, Score, metric_info
from preimage.harness.cards import ModelCard
from preimage.harness.errors import Refused
from preimage.harness.likelihood_requests import FixedNoise, Likelihood, Simulated
from preimage.harness.plan import Evaluation
from preimage.harness.requests import ModelKey
from preimage.harness.rows import Block
from preimage.harness.store import Store

if TYPE_CHECKING:
    from preimage.harness.rows import Floats

DIM, SIZE, CHAINS, LIMIT = 64, 784, 4, 40
LOOSE = 12.0
"""A gap in nats that is more than 0.01 bits per dimension of so many."""
SIGMA2 = 0.0123
OUTLIERS = {"constant": 400.0, "digits": -3000.0, "inverted": -60_000.0}
"""What log-likelihoods of outlier sets lie above those of test images, nats."""


@dataclass(frozen=True)
class Made:
    """How a model's rows are made up: its mean log-likelihood and gap, nats; exact: whether it has a closed form."""

    level: float
    gap: float
    exact: bool = False
    pictures: bool = True


MADE = {
    "ppca": Made(612.0, 0.02, exact=True),
    "fashion-dcgan": Made(745.0, 1.5),
    "fashion-cgan": Made(790.0, LOOSE),
    "fashion-glo-128": Made(-310.0, 0.4, pictures=False),
}


def with_outliers(data: Data = DATA) -> Data:
    """The data set, and a few others to find beside it."""

    def other(name: str, beside: Data, if_present: bool) -> Data:
        if name not in OUTLIERS:
            raise Refused(f"there is no {name!r}")
        return Data(name, SHAPE, 10, {"test": 2048}, {"test": hashlib.sha256(name.encode()).hexdigest()})

    return replace(data, open_other=other)


def scored() -> list[ModelCard]:
    """The models that have likelihoods."""
    return [card for card in cards() if card.name in MADE]


def write_likelihoods(path: Path, models: list[ModelCard] | None = None, **settings: Any) -> Path:
    """Every benchmark of likelihoods on every model; settings: of all of them."""
    sets = {"sets": tuple(OUTLIERS)}
    with Store(path) as store:
        run = store.begin_run("preimage run", 0, "0" * 40, {}, {})
        for card in models or scored():
            measure(store, run, card, LikelihoodBenchmark(), **settings)
            measure(store, run, card, Flatness(), **settings)
            measure(store, run, card, Typicality(), **{**sets, "sizes": (10, 25), **settings})
            if not settings.get("sigma2"):
                measure(store, run, card, Outliers(), by=("likelihood",), **{**sets, **settings})
                measure(store, run, card, Classification(), by=("likelihood",), **settings)
        store.end_run(run)
        store.db.execute("UPDATE evaluation SET created = '2026-01-01T00:00:00+00:00'")
        store.db.commit()
    return path


def measure(
    store: Store, run: int, card: ModelCard, benchmark: Benchmark[Any], suite: str = "", **settings: Any
) -> None:
    """What the runner does, with rows made up."""
    options = benchmark.options(**{"limit": LIMIT, **settings})
    key = ModelKey(card.name, hashlib.sha256(card.name.encode()).hexdigest())
    store.add_model(card, key)
    store.add_benchmark(benchmark)
    evaluation = Evaluation(card, DATA.name, benchmark, suite, options, key, status="ok")
    scores: list[Score] = []
    try:
        evaluation.asks = benchmark.requests(Model(card, key, {"z": DIM}), with_outliers(), options)
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
    """Rows of a block: brighter images are likelier, and every image's number can be told from its picture."""
    request = ask.request
    assert isinstance(request, Likelihood)
    made, drawn = MADE[card.name], isinstance(request.images, Simulated)
    first, labels = number * request.block, range(request.labels) if request.label == "every" else [-1]
    dataset, split = ("", "") if drawn else (request.images.dataset, request.images.split)  # type: ignore[union-attr]
    rng = np.random.default_rng([zlib.crc32(f"{card.name}{dataset}{split}".encode()), number])
    images, count = request.block, request.block * len(labels)
    level = made.level + OUTLIERS.get(dataset, 0.0) + 25.0 * (split == "train")
    truth = rng.integers(10, size=images)
    value = np.repeat(level + 60.0 * rng.standard_normal(images), len(labels))
    used = np.tile(np.array(labels), images)
    if len(labels) > 1:
        value = np.where(np.repeat(truth, len(labels)) == used, value, value - 40.0)
    noise = request.noise.sigma2 if isinstance(request.noise, FixedNoise) else SIGMA2
    values: dict[str, Floats] = {
        "log_likelihood": value,
        "ess": rng.uniform(1.5, 4.0, count),
        "acceptance": np.full(count, 0.75),
        "step": np.full(count, 0.1),
        "non_finite": np.zeros(count),
        "dead_chains": np.zeros(count),
        "evaluations": np.full(count, 2500.0 * CHAINS),
        "sigma2": np.full(count, noise),
        "dimensions": np.full(count, float(SIZE)),
        "true_label": np.repeat(truth, len(labels)).astype(float),
        "variation": 0.5 - 0.001 * (value - level) + 0.02 * rng.standard_normal(count),
    }
    values |= {f"acceptance_{share:02}": np.full(count, 0.95 - 0.025 * share) for share in range(16)}
    if drawn and request.bounded:
        gap = made.gap * rng.uniform(0.5, 1.5, count)
        values |= {"gap": gap, "upper": value + gap}
    if made.exact:
        values["exact"] = value + 0.05
    return Block(
        np.repeat(np.arange(first, first + images), len(labels)), used, values,
        code=tuple(np.zeros(DIM, "<f4").tobytes() for _ in range(count)), pixels="0" * 64,
        evaluations=10_000 * count, seconds=30.0,
        pictures={"images": thumbnails(first, images)} if made.pictures and not drawn else {},
    )  # fmt: skip


def thumbnails(first: int, count: int) -> bytes:
    """A strip of so many images; all pixels of an image are its number."""
    row = np.repeat(np.arange(first, first + count, dtype=np.uint8), 28)[None].repeat(28, axis=0)
    file = io.BytesIO()
    Image.fromarray(row).save(file, format="PNG")
    return file.getvalue()
