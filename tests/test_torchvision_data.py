"""torchvision's data sets by name, on small copies of their files; nothing is fetched from a network."""

from __future__ import annotations

import gzip
import hashlib
import pickle
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from scipy.io import savemat
from torchvision.transforms.v2 import CenterCrop
from torchvision.transforms.v2 import Resize as TorchResize

from preimage.adapters.torchvision_data import SCENES, arrays, celeba, fetching, idx, lsun
from preimage.harness import Dataset, DatasetCard
from preimage.harness.errors import DatasetError, Refused
from preimage.harness.plugins import Registry, installed
from preimage.harness.world import World
from tests.array_files import idx as write_idx
from tests.local_server import Answer, serving

NAMES = ("mnist", "fashion-mnist-full", "cifar10", "svhn", "celeba", *(f"lsun-{scene}" for scene in SCENES))
RANDOM = np.random.default_rng(0)
BYTES = RANDOM.integers(0, 256, (12, 3, 32, 32), dtype=np.uint8)
GREY = RANDOM.integers(0, 256, (12, 28, 28), dtype=np.uint8)
LABELS = np.array([7, 0, 9, 1, 2, 3, 4, 5, 6, 8, 0, 1])


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of data; the hashes of files are remembered there."""
    monkeypatch.setenv("PREIMAGE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path / "data"


def opened(name: str, *, offline: bool = True) -> Dataset:
    """The data set as a new process has it."""
    return World(Registry(), offline=offline).dataset(name)


def md5(file: Path) -> str:
    return hashlib.md5(file.read_bytes()).hexdigest()


def mnist_files(raw: Path, shift: int = 0) -> None:
    raw.mkdir(parents=True)
    for stem, part in (("train", slice(0, 8)), ("t10k", slice(8, 12))):
        write_idx(raw / f"{stem}-images-idx3-ubyte", GREY[part] + np.uint8(shift))
        write_idx(raw / f"{stem}-labels-idx1-ubyte", LABELS[part])


def cifar_files(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)

    def write(name: str, content: dict[str, Any]) -> str:
        (folder / name).write_bytes(pickle.dumps(content))
        return md5(folder / name)

    def batch(name: str, part: slice) -> tuple[str, str]:
        rows = {"data": BYTES[part].reshape(-1, 3072), "labels": LABELS[part].tolist()}
        return name, write(name, rows)

    kind = torchvision.datasets.CIFAR10
    monkeypatch.setattr(kind, "train_list", [batch("data_batch_1", slice(0, 5)), batch("data_batch_2", slice(5, 8))])
    monkeypatch.setattr(kind, "test_list", [batch("test_batch", slice(8, 12))])
    meta = write("batches.meta", {"label_names": list("abcdefghij")})
    monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": meta})


def svhn_files(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = root / "svhn"
    folder.mkdir(parents=True)
    known = dict(torchvision.datasets.SVHN.split_list)
    for split, part in (("train", slice(0, 8)), ("test", slice(8, 12))):
        labels = np.where(LABELS[part] == 0, 10, LABELS[part]).astype(np.uint8)[:, None]  # they call the digit 0 "10"
        savemat(folder / f"{split}_32x32.mat", {"X": BYTES[part].transpose(2, 3, 1, 0), "y": labels})
        url, file, _ = known[split]
        known[split] = [url, file, md5(folder / file)]
    monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", known)


def photo(seed: int, height: int, width: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def celeba_files(root: Path) -> list[Image.Image]:
    """Seven faces; returns them as stored."""
    images = root / "celeba" / "img_align_celeba"
    images.mkdir(parents=True)
    for k in range(7):
        photo(k, 218, 178).save(images / f"{k + 1:06d}.jpg")
    lines = [f"{k + 1:06d}.jpg {split}\n" for k, split in enumerate((0, 0, 2, 0, 1, 2, 0))]
    (root / "celeba" / "list_eval_partition.txt").write_text("".join(lines))
    return [Image.open(images / f"{k + 1:06d}.jpg").convert("RGB") for k in range(7)]


def test_every_card_says_what_it_is_without_torchvision() -> None:
    found = installed()
    for name in NAMES:
        card = found.datasets[name]
        assert isinstance(card, DatasetCard)
        assert card.licence and card.description
        assert ("resized bilinearly to 64" in card.description) == (card.image == (3, 64, 64))
    assert "of which `fashion-mnist` is a part" in getattr(found.datasets["fashion-mnist-full"], "description", "")
    code = (
        "import sys; from preimage.harness.plugins import Registry; assert 'lsun-church' in Registry().datasets;"
        "assert not {'torch', 'torchvision', 'lmdb'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_folder_of_data_is_the_environments_else_the_cache(tmp_path: Path) -> None:
    assert fetching.data_root({"PREIMAGE_DATA": str(tmp_path)}) == tmp_path
    assert fetching.data_root({"PREIMAGE_DATA": "~/pictures"}) == Path.home() / "pictures"
    assert fetching.data_root({}) == fetching.data_root({"PREIMAGE_DATA": ""}) == Path.home() / ".cache/preimage/data"


@pytest.mark.parametrize(
    ("name", "folder", "shift"), [("mnist", "MNIST", 0), ("fashion-mnist-full", "FashionMNIST", 1)]
)
def test_mnist_is_read_from_its_idx_files(root: Path, name: str, folder: str, shift: int) -> None:
    mnist_files(root / folder / "raw", shift)
    data = opened(name)
    assert (data.name, data.image, data.num_classes) == (name, (1, 28, 28), 10)
    assert {split: data.size(split) for split in data.splits} == {"train": 8, "test": 4}
    images, labels = data.read("test", [3, 0])
    assert np.array_equal(images.numpy() * 255, (GREY + np.uint8(shift))[[11, 8], None])
    assert labels.tolist() == [1, 6]
    theirs = getattr(torchvision.datasets, folder)(root, train=True)
    assert np.array_equal(data.read("train", range(8))[0][:, 0].numpy() * 255, theirs.data)
    assert np.array_equal(data.read("train", range(8))[1], theirs.targets)


def test_cifar10_is_read_as_torchvision_reads_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cifar_files(root, monkeypatch)
    whole_arrays("cifar10", [root / "cifar-10-batches-py/data_batch_2", root / "cifar-10-batches-py/test_batch"])


def test_svhn_is_read_as_torchvision_reads_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    svhn_files(root, monkeypatch)
    whole_arrays("svhn", [root / "svhn/train_32x32.mat", root / "svhn/test_32x32.mat"])


def whole_arrays(name: str, files: list[Path]) -> None:
    data = opened(name)
    assert isinstance(data, Dataset)
    prints = {split: data.fingerprint(split) for split in data.splits}  # before anything was read
    assert len(set(prints.values())) == 2
    assert (data.name, data.image, data.num_classes) == (name, (3, 32, 32), 10)
    assert {split: data.size(split) for split in data.splits} == {"train": 8, "test": 4}
    for split, first in (("train", 0), ("test", 8)):
        indices = range(data.size(split))
        images, labels = data.read(split, indices)
        assert np.array_equal(images.numpy() * 255, BYTES[first : first + len(indices)])
        assert labels.tolist() == LABELS[first : first + len(indices)].tolist()
        assert torch.equal(data.read(split, [2])[0][0], images[2])
    assert {split: opened(name).fingerprint(split) for split in data.splits} == prints
    with pytest.raises(DatasetError, match="image 4 asked, it has 4"):
        data.read("test", [4])
    for file in files:  # as torchvision checks it: neither read nor unpickled
        whole = file.read_bytes()
        file.write_bytes(whole[:-1] + b"?")
        with pytest.raises(DatasetError, match=rf"data set '{name}' is not in .* \(dataset not found or corrupted\)"):
            opened(name).fingerprint("train" if "train" in file.name or "data" in file.name else "test")
        file.write_bytes(whole)


def test_a_damaged_pickle_is_never_run(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cifar_files(root, monkeypatch)

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (root / "it ran",)

    (root / "cifar-10-batches-py" / "data_batch_1").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(DatasetError, match="corrupted"):
        opened("cifar10").read("train", [0])
    assert not (root / "it ran").exists()


def test_fingerprints_change_with_the_files(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cifar_files(root, monkeypatch)
    before = {split: opened("cifar10").fingerprint(split) for split in ("train", "test")}
    monkeypatch.setattr(sys.modules[__name__], "BYTES", 255 - BYTES)
    for file in (root / "cifar-10-batches-py").iterdir():
        file.unlink()
    (root / "cifar-10-batches-py").rmdir()
    cifar_files(root, monkeypatch)
    after = {split: opened("cifar10").fingerprint(split) for split in ("train", "test")}
    assert not set(before.values()) & set(after.values())


def pixels(image: Image.Image) -> np.ndarray[Any, Any]:
    return np.asarray(image).transpose(2, 0, 1)


def test_celeba_is_cut_as_its_card_says(root: Path) -> None:
    faces = celeba_files(root)
    data = opened("celeba")
    assert (data.name, data.image, data.num_classes) == ("celeba", (3, 64, 64), 0)
    assert {split: data.size(split) for split in data.splits} == {"train": 4, "val": 1, "test": 2}
    for split, numbers in (("train", [0, 1, 3, 6]), ("val", [4]), ("test", [2, 5])):
        images, labels = data.read(split, range(len(numbers)))
        assert labels.tolist() == [-1] * len(numbers)
        for image, number in zip(images, numbers, strict=True):
            theirs = CenterCrop(64)(TorchResize(64)(faces[number]))
            assert np.array_equal(image.numpy() * 255, pixels(theirs))


def test_another_shape_of_photographs_is_cut_from_the_originals(root: Path) -> None:
    faces = celeba_files(root)
    data = opened("celeba@3x128x128")
    assert (data.name, data.image) == ("celeba@3x128x128", (3, 128, 128))
    theirs = CenterCrop(128)(TorchResize(128)(faces[4]))
    assert np.array_equal(data.read("val", [0])[0][0].numpy() * 255, pixels(theirs))
    whole = opened("celeba@3x218x178").read("val", [0])[0][0]
    assert np.array_equal(whole.numpy() * 255, pixels(faces[4]))
    assert len({opened(name).fingerprint("val") for name in ("celeba", "celeba@3x128x128", "celeba@3x128x64")}) == 3


def test_celebas_fingerprint_is_of_its_files(root: Path) -> None:
    celeba_files(root)
    before = {split: opened("celeba").fingerprint(split) for split in ("train", "val", "test")}
    photo(9, 218, 178).save(root / "celeba/img_align_celeba/000005.jpg")
    after = {split: opened("celeba").fingerprint(split) for split in ("train", "val", "test")}
    assert [split for split in before if before[split] != after[split]] == ["val"]
    assert len(set(before.values())) == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "is empty"), ("a.jpg 0\nb.jpg\n", "line 2: 'b.jpg' is no file name"), ("a.jpg 3", "line 1: 'a.jpg 3'")],
)
def test_a_broken_partition_is_an_error(root: Path, text: str, said: str) -> None:
    celeba_files(root)
    (root / "celeba" / celeba.PARTITION).write_text(text)
    with pytest.raises(DatasetError, match=said):
        opened("celeba")


def test_a_face_that_is_missing_or_broken_is_named(root: Path) -> None:
    celeba_files(root)
    file = root / "celeba/img_align_celeba/000005.jpg"
    file.write_bytes(file.read_bytes()[:300])
    with pytest.raises(DatasetError, match=r"cannot read the image '.*000005\.jpg'"):
        opened("celeba").read("val", [0])
    file.unlink()
    with pytest.raises(DatasetError, match=r"cannot read '.*000005\.jpg'"):
        opened("celeba").fingerprint("val")


def lsun_files(root: Path, *splits: str) -> list[Image.Image]:
    lmdb = pytest.importorskip("lmdb")
    photos = [photo(k, 80 + 16 * (k % 2), 96) for k in range(4)]
    for split in splits:
        folder = root / "lsun" / f"church_outdoor_{split}_lmdb"
        folder.mkdir(parents=True)
        with lmdb.open(str(folder), map_size=1 << 24) as environment, environment.begin(write=True) as transaction:
            for k in (2, 0, 3, 1):
                file = folder / "it.png"
                photos[k].save(file)
                transaction.put(f"key{k}".encode(), file.read_bytes())
                file.unlink()
    return photos


def test_lsun_is_read_from_its_databases(root: Path) -> None:
    photos = lsun_files(root, "train", "val")
    data = opened("lsun-church")
    assert (data.name, data.image, data.num_classes) == ("lsun-church", (3, 64, 64), 0)
    assert {split: data.size(split) for split in data.splits} == {"train": 4, "test": 4}
    images, labels = data.read("test", [3, 1])
    assert labels.tolist() == [-1, -1]
    for image, number in zip(images, (3, 1), strict=True):
        assert np.array_equal(image.numpy() * 255, pixels(CenterCrop(64)(TorchResize(64)(photos[number]))))
    assert data.fingerprint("val") == data.fingerprint("test")
    again = opened("lsun-church@3x32x32")  # a second registry of the process
    assert again.read("train", [0])[0].shape == (1, 3, 32, 32)
    assert again.fingerprint("train") != data.fingerprint("train")


def test_lsun_of_one_split_is_that_split(root: Path) -> None:
    lsun_files(root, "val")
    assert tuple(opened("lsun-church").splits) == ("test",)


def test_lsun_that_is_not_there_says_what_to_fetch(root: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        opened("lsun-dining-room", offline=False)
    for said in ("cannot be downloaded for you", "github.com/fyu/lsun", "download.py -c dining_room", "PREIMAGE_DATA"):
        assert said in str(caught.value)
    assert f"{root}/lsun/dining_room_train_lmdb/data.mdb" in str(caught.value)


def test_lsun_without_lmdb_says_what_to_install(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lsun_files(root, "val")
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(DatasetError, match=r"needs the package lmdb\. Type pip install 'preimage\[lsun\]'"):
        opened("lsun-church")


def test_lsun_that_is_no_database_or_empty_is_an_error(root: Path) -> None:
    lmdb = pytest.importorskip("lmdb")
    folder = root / "lsun" / "tower_val_lmdb"
    folder.mkdir(parents=True)
    (folder / "data.mdb").write_bytes(b"no database at all" * 1000)
    with pytest.raises(DatasetError, match=r"is no LMDB database: .* Fetch it again"):
        opened("lsun-tower")
    folder = root / "lsun" / "kitchen_val_lmdb"
    folder.mkdir()
    lmdb.open(str(folder), map_size=1 << 20).close()
    with pytest.raises(DatasetError, match="is empty"):
        opened("lsun-kitchen")


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist-full", "cifar10", "svhn", "celeba"])
def test_nothing_is_downloaded_offline(root: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("urllib.request.urlopen", lambda *_: pytest.fail("asked a network"))
    with pytest.raises(DatasetError) as caught:
        opened(name).size("test")
    for said in (f"data set {name!r} is not in", "nothing is downloaded offline", "once without --offline", "Or put "):
        assert said in str(caught.value)
    data = World(Registry(), offline=True).data("digits")
    with pytest.raises(Refused, match=f"other data set '{name}': data set '{name}' is not in"):
        data.other(name)


def test_a_download_that_fails_says_why(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    urlopen = urllib.request.urlopen

    def closing(request: urllib.request.Request) -> Any:
        try:
            return urlopen(request)
        except HTTPError as error:
            error.close()  # torchvision leaves its connection open until it is collected, in whatever test
            raise

    monkeypatch.setattr("urllib.request.urlopen", closing)
    with serving() as server:
        monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [f"{server.url}/none/"])
        with pytest.raises(DatasetError) as caught:
            opened("mnist", offline=False)
    assert "cannot download data set 'mnist': RuntimeError: Error downloading train-images" in str(caught.value)
    assert "404" in str(caught.value)
    assert "Check the network. Or put train-images-idx3-ubyte" in str(caught.value)


def test_what_is_missing_is_downloaded_once(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mnist_files(tmp_path / "theirs")
    with serving() as server:
        resources = []
        for file in sorted((tmp_path / "theirs").iterdir(), reverse=True):
            body = gzip.compress(file.read_bytes())
            server.answers[f"/{file.name}.gz"] = Answer(body)
            resources.append((f"{file.name}.gz", hashlib.md5(body).hexdigest()))
        monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [f"{server.url}/"])
        monkeypatch.setattr(torchvision.datasets.MNIST, "resources", resources)
        data = opened("mnist", offline=False)
        assert np.array_equal(data.read("test", range(4))[0][:, 0].numpy() * 255, GREY[8:])
        asked = len(server.asked)
        assert asked
        assert opened("mnist", offline=False).fingerprint("test") == data.fingerprint("test")
        assert len(server.asked) == asked
    assert capsys.readouterr().out == ""


def test_openers_take_the_folder_as_an_argument(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mnist_files(tmp_path / "MNIST" / "raw")
    mnist_files(tmp_path / "FashionMNIST" / "raw")
    cifar_files(tmp_path, monkeypatch)
    svhn_files(tmp_path, monkeypatch)
    celeba_files(tmp_path)
    lsun_files(tmp_path, "val")
    for open_it in (idx.mnist, idx.fashion_mnist, arrays.cifar10, arrays.svhn, celeba.open_dataset):
        assert open_it(offline=True, root=tmp_path).size("train") in (4, 8)
    assert lsun.open_dataset("church", root=tmp_path).size("test") == 4
