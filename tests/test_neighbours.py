"""Neighbours as `preimage run` measures them: the same rows whatever is held, kept on disk or computed again."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from preimage.harness import nearest
from preimage.harness.cards import ImageSpec
from preimage.harness.distances import identity_of
from preimage.harness.embeddings import Filed, Held, Passing, batch_size
from preimage.harness.errors import DatasetError, PluginError, UsageError
from preimage.harness.limits import Limits
from preimage.harness.measurements import neighbours
from preimage.harness.operators import Pooling
from preimage.harness.plugins import Registry, Sources
from preimage.harness.requests import ModelKey, Neighbours
from preimage.harness.rows import Block
from preimage.harness.world import World
from tests.plugin_files import SMALL_WORLD
from tests.test_run import preimage, scores, stored

NETWORK = '''

class Network:
    """A stand-in for a distance with weights: features of a fixed convolution, squared."""

    name, squared, identity = "network", True, "0123456789abcdef"
    passes = 0

    def __init__(self):
        draws = np.random.default_rng(5).standard_normal((40, 1, 3, 3))
        self.weight = torch.tensor(draws, dtype=torch.float32)

    def embed(self, x):
        Network.passes += len(x)
        return torch.nn.functional.conv2d(x, self.weight).relu().flatten(1) / 38.0

    def __call__(self, x, y):
        return (self.embed(x) - self.embed(y)).square().sum(dim=1)


class Blind(Network):
    """A distance that is Euclidean in nothing."""

    name, identity = "blind", ""

    def embed(self, x):
        return None

    def __call__(self, x, y):
        return (x - y).abs().flatten(1).mean(dim=1)


class Flat(Network):
    """One whose embedding is no vector per image."""

    name, identity = "flat", ""

    def embed(self, x):
        return x


class Bare:
    """One that says nothing of an embedding."""

    name, squared = "bare", False

    def __call__(self, x, y):
        return (x - y).abs().flatten(1).mean(dim=1)


@hookimpl
def register_distances(register):
    register(Network())
    register(Blind())
    register(Flat())
    register(Bare())
'''
TRAIN = 400
MODEL = ModelKey("near", "0" * 64)
HELD = Limits(memory=10**8)
"""All rows fit into half of it: those of the network are 36 x 40 values, 2.3 MB together."""


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    file = tmp_path / "neighbours_world.py"
    file.write_text(
        SMALL_WORLD.replace('"train": images(96, 3)', f'"train": images({TRAIN}, 3)') + NETWORK, encoding="utf-8"
    )
    return file


class Measured:
    """Blocks of requests, measured in worlds of given limits."""

    def __init__(self, plugin: Path) -> None:
        self.registry = Registry(Sources(plugins=(str(plugin),)))
        self.folder, self.said = plugin.parent, list[str]()

    def world(self, limits: Limits) -> World:
        own = dataclasses.replace(limits, folder=self.folder / "cache")
        return World(self.registry, limits=own, say=self.said.append)

    def request(self, distance: str, split: str = "test", **more: Any) -> Neighbours:
        data = self.world(HELD).data("squares")
        identity = identity_of(self.registry.distance(distance))
        usual = Neighbours(
            model=MODEL,
            images=data.split(split),
            train=data.split("train"),
            train_size=TRAIN,
            label="none",
            distance=distance,
            distance_identity=identity,
            block=16,
        )
        return dataclasses.replace(usual, **more)

    def __call__(self, request: Neighbours, limits: Limits = HELD, block: int = 0) -> Block:
        return request.measure(block, self.world(limits))


@pytest.fixture
def measured(plugin: Path) -> Measured:
    return Measured(plugin)


def content(block: Block) -> bytes:
    """All of a block but the time that it took."""
    values = b"".join(name.encode() + value.tobytes() for name, value in sorted(block.values.items()))
    return values + block.image.tobytes() + block.label.tobytes() + json.dumps(block.outcome).encode()


def apart(measured: Measured, distance: str, split: str, count: int) -> Any:
    """``||e(x) - e(y)||^2`` in float64 of the first images of a split and all training images, [count, TRAIN]."""
    data, found = measured.registry.dataset("squares"), measured.registry.distance(distance)
    embedded = []
    for name, size in ((split, count), ("train", TRAIN)):
        images, _ = data.read(name, range(size))
        e = found.embed(images)
        assert e is not None
        embedded.append(e.double().numpy())
    return ((embedded[0][:, None] - embedded[1][None]) ** 2).sum(axis=2)


@pytest.mark.parametrize("distance", ["squared-l2", "l2", "network", "squared-l2+0.5*network"])
def test_the_neighbour_is_the_nearest_in_the_embedding(measured: Measured, distance: str) -> None:
    block, exact = measured(measured.request(distance)), apart(measured, distance, "test", 16)
    assert block.values["neighbour"].tolist() == exact.argmin(axis=1).tolist()
    wanted = exact.min(axis=1) if measured.registry.distance(distance).squared else np.sqrt(exact.min(axis=1))
    np.testing.assert_allclose(block.values["distance"], wanted, rtol=1e-4)
    labels = measured.registry.dataset("squares").read("train", range(TRAIN))[1].numpy()
    assert block.values["neighbour_label"].tolist() == labels[exact.argmin(axis=1)].tolist()


@pytest.mark.parametrize("label", ["none", "every"])
@pytest.mark.parametrize("operator", [None, Pooling(factor=2)])
@pytest.mark.parametrize("distance", ["squared-l2", "network"])
def test_limits_and_faiss_change_no_number(
    measured: Measured, monkeypatch: pytest.MonkeyPatch, distance: str, label: str, operator: Any
) -> None:
    more = {"operator": operator} if operator else {}
    request = measured.request(distance, label=label, labels=3 if label == "every" else 0, **more)
    kinds, contents = set(), set()
    kept = neighbours.embedded

    def seen(*given: Any) -> Any:
        found = kept(*given)
        kinds.add(type(found))
        return found

    monkeypatch.setattr(neighbours, "embedded", seen)
    small = Limits(memory=next(m for m in range(10_000, 10**7, 10_000) if _enough(measured, request, m)))
    for kernel in ("faiss", "product"):
        monkeypatch.setattr(nearest, "default_kernel", lambda kernel=kernel: kernel)
        for limits in (HELD, small, small, dataclasses.replace(small, cache=0)):
            contents.add(content(measured(request, limits)))
    assert kinds >= {Held, Filed, Passing}
    assert len(contents) == 1


def _enough(measured: Measured, request: Neighbours, memory: int) -> bool:
    try:
        measured(request, Limits(memory=memory, cache=0))
    except UsageError:
        return False
    return True


def test_each_image_passes_the_network_once(measured: Measured) -> None:
    request, network = measured.request("network"), type(measured.registry.distance("network"))
    network.passes = 0  # type: ignore[attr-defined]
    world = measured.world(HELD)
    for block in range(5):
        request.measure(block, world)
    pairs = 2 * 80  # the distance of each pair that was found is computed for itself
    assert network.passes == TRAIN + 80 + pairs  # type: ignore[attr-defined]
    network.passes = 0  # type: ignore[attr-defined]
    request.measure(0, measured.world(HELD))
    first = batch_size(ImageSpec(1, 8, 8))
    assert network.passes == first + 16 + 2 * 16, "the next process reads the file"  # type: ignore[attr-defined]


def test_only_the_latest_training_set_is_held(measured: Measured) -> None:
    world = measured.world(HELD)
    for size in (TRAIN, 50, 40):
        measured.request("squared-l2", train_size=size).measure(0, world)
    ((_, train),) = world._latest.values()
    assert len(train.labels) == 40


def test_leave_one_out(measured: Measured) -> None:
    exact = apart(measured, "squared-l2", "train", 16)
    memoriser = measured(measured.request("squared-l2", "train"))
    assert memoriser.values["neighbour"].tolist() == list(range(16))
    assert memoriser.values["distance"].tolist() == [0] * 16
    np.fill_diagonal(exact, np.inf)
    for label in ("none", "every"):
        request = measured.request("squared-l2", "train", label=label, labels=3, leave_one_out=True)
        found = measured(request).values["neighbour"].reshape(16, -1)
        labels = measured.registry.dataset("squares").read("train", range(TRAIN))[1].numpy()
        for place in range(found.shape[1]):
            own = np.where(labels == place, exact, np.inf) if label == "every" else exact
            assert found[:, place].tolist() == own.argmin(axis=1).tolist()
    second = measured(measured.request("squared-l2", "train", leave_one_out=True), block=1)
    assert not set(second.values["neighbour"]) >= set(range(16, 32))
    assert (second.values["distance"] > 0).all()


def test_leave_one_out_is_about_training_images_only(measured: Measured) -> None:
    plain = measured(measured.request("squared-l2"))
    assert content(measured(measured.request("squared-l2", leave_one_out=True))) == content(plain)


def test_an_image_without_a_neighbour_is_an_error(measured: Measured) -> None:
    alone = measured.request("squared-l2", "train", train_size=1, leave_one_out=True)
    with pytest.raises(UsageError, match=r"image 0 has no neighbour among the first 1 training images but itself\."):
        measured(alone)
    few = measured.request("squared-l2", train_size=2, label="every", labels=3)
    with pytest.raises(UsageError, match=r"image 0 has no neighbour of label \d among the first 2 .* every label"):
        measured(few)


def test_more_training_images_than_there_are_is_an_error(measured: Measured) -> None:
    with pytest.raises(DatasetError, match=r"has no image 400, but 401 training images were asked for"):
        measured(measured.request("squared-l2", train_size=TRAIN + 1))


@pytest.mark.parametrize("name", ["blind", "bare"])
def test_a_distance_without_an_embedding_is_an_error(measured: Measured, name: str) -> None:
    with pytest.raises(UsageError, match=f"distance '{name}' has no embedding"):
        measured(measured.request(name))


def test_an_embedding_that_is_no_vector_per_image_is_an_error(measured: Measured) -> None:
    with pytest.raises(PluginError, match=r"distance 'flat' embeds \d+ images as \[\d+, 1, 8, 8\]; it must be one row"):
        measured(measured.request("flat"))


@pytest.mark.parametrize(
    ("image", "size"), [(ImageSpec(1, 28, 28), 32), (ImageSpec(3, 256, 256), 5), (ImageSpec(3, 1024, 1024), 1)]
)
def test_fewer_large_images_are_embedded_at_once(image: ImageSpec, size: int) -> None:
    assert batch_size(image) == size


def run(plugin: Path, database: Path, *more: str) -> int:
    which = ("-b", "recovery", "-b", "classification", "-m", "near", "--limit", "32")
    asked = ("--set", "distance=network", "--set", "block=16")
    return preimage("run", *which, *asked, "--plugin", str(plugin), "--db", str(database), *more)


@pytest.mark.slow
def test_the_command_line_has_the_limits(
    plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    one, two = ("--workers", "1"), ("--workers", "2")
    assert run(plugin, tmp_path / "a.db", *one) == 0
    assert len(list((tmp_path / ".cache/preimage/embeddings").glob("*.rows"))) == 1
    assert "computed again" not in capfd.readouterr().err
    assert run(plugin, tmp_path / "b.db", *two, "--memory", "1MB", "--cache", "0") == 0
    assert capfd.readouterr().err.count("computed again for every block of 16 images") == 1, "said once, not by each"
    assert stored(tmp_path / "a.db") == stored(tmp_path / "b.db")
    assert scores(tmp_path / "a.db") == scores(tmp_path / "b.db")
    verify = ("verify", "near", "recovery", "--plugin", str(plugin), "--db", str(tmp_path / "a.db"))
    assert preimage(*verify, "--memory", "1MB", "--cache", "0") == 0
    seen = capfd.readouterr()
    assert "identical" in seen.out and "computed again" in seen.err


def test_too_little_memory_fails_the_model_with_what_to_type(
    plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert run(plugin, tmp_path / "a.db", "--workers", "1", "--memory", "100kB") == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "--memory 98KiB is too little to search neighbours among 400 images of squares in network" in said
    assert "Type --memory" in said
    assert run(plugin, tmp_path / "a.db", "--workers", "1", "--memory", "2MB") == 0


@pytest.mark.parametrize("verb", [("run",), ("verify", "near", "recovery")])
@pytest.mark.parametrize("option", ["--memory", "--cache"])
def test_a_size_that_is_none_is_a_usage_error(
    verb: tuple[str, ...], option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert preimage(*verb, "--db", str(tmp_path / "a.db"), option, "lots") == 2
    assert f"{option} 'lots' is no size; type" in capsys.readouterr().err
    assert not (tmp_path / "a.db").exists()


def test_precision_that_was_reduced_changes_no_neighbour(measured: Measured) -> None:
    before = content(measured(measured.request("squared-l2")))
    torch.set_float32_matmul_precision("medium")
    try:
        assert content(measured(measured.request("squared-l2"))) == before
    finally:
        torch.set_float32_matmul_precision("highest")
