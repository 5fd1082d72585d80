"""Data sets on the Hub, fetched by its real client from a server on this machine that speaks what it needs."""

from __future__ import annotations

import hashlib
import io
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import constants
from PIL import Image

from preimage.harness import Dataset, ImageSpec
from preimage.harness.errors import DatasetError, Refused, UsageError
from preimage.harness.hub_address import HubAddress, hub_address
from preimage.harness.hub_files import Listing, choose
from preimage.harness.plugins import Registry, Sources
from preimage.harness.world import World
from tests.local_server import Answer, LocalServer, serving
from tests.tiny_world import Shell
from tests.tiny_world import shell as shell

COMMIT = "5f" * 20
RANDOM = np.random.default_rng(0)


class Hub:
    """A Hub with one repository, ``some/pictures``."""

    def __init__(self, server: LocalServer) -> None:
        self.server = server
        self.files: dict[str, bytes] = {}

    def put(self, files: Mapping[str, bytes], *, revision: str = "main", commit: str = COMMIT) -> None:
        """What the repository holds at a revision."""
        self.files = dict(files)
        siblings = [{"rfilename": name} for name in files]
        info = json.dumps({"id": "some/pictures", "sha": commit, "siblings": siblings, "private": False}).encode()
        paths = [f"/api/datasets/some/pictures/revision/{revision}"]
        paths += ["/api/datasets/some/pictures"] if revision == "main" else []
        for path in paths:
            self.server.answers[path] = Answer(info, headers=(("Content-Type", "application/json"),))
        for name, body in files.items():
            headers = (("ETag", f'"{hashlib.sha256(body).hexdigest()}"'), ("X-Repo-Commit", commit))
            self.server.answers[f"/datasets/some/pictures/resolve/{commit}/{name}"] = Answer(body, headers=headers)

    def refuse(self, path: str, status: int, code: str) -> None:
        self.server.answers[path] = Answer(b"{}", status, (("X-Error-Code", code),))

    def fetched(self) -> set[str]:
        """Which files were fetched."""
        gets = [line.removeprefix("GET ") for line in self.server.asked if line.startswith("GET /datasets/")]
        return {path.split(f"{COMMIT}/")[1] for path in gets}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setenv("HOME", str(tmp_path))
        yield Hub(server)


def opened(address: str, *, offline: bool = False) -> Dataset:
    """The data set as a new process has it."""
    return World(Registry(Sources(entry_points=False)), offline=offline).dataset(address)


def levels(count: int, *shape: int) -> np.ndarray[Any, Any]:
    return RANDOM.integers(0, 256, (count, *shape), dtype=np.uint8)


def png(image: np.ndarray[Any, Any]) -> bytes:
    target = io.BytesIO()
    Image.fromarray(image).save(target, "PNG")
    return target.getvalue()


def table(columns: Mapping[str, Any], names: int = 0) -> bytes:
    """A parquet file as the Hub's tools write it, with their note on the names of ``label``."""
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = pyarrow.table(dict(columns))
    if names:
        features = {"label": {"names": [f"n{k}" for k in range(names)], "_type": "ClassLabel"}}
        rows = rows.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    target = io.BytesIO()
    parquet.write_table(rows, target, row_group_size=4)
    return target.getvalue()


def pictures(
    images: np.ndarray[Any, Any], labels: list[int] | None = None, column: str = "image", **more: int
) -> bytes:
    blobs = [{"bytes": png(image), "path": f"{k}.png"} for k, image in enumerate(images)]
    return table({column: blobs} | ({} if labels is None else {"label": labels}), **more)


def all_of(data: Dataset, split: str) -> dict[bytes, int]:
    """Label by image, of a whole split."""
    images, labels = data.read(split, range(data.size(split)))
    as_bytes = (images.numpy() * 255).round().astype(np.uint8)
    return {image.tobytes(): int(label) for image, label in zip(as_bytes, labels, strict=True)}


TRAIN, TEST = levels(11, 6, 5), levels(4, 6, 5)
LABELS = [k // 3 for k in range(11)]


def two_splits() -> dict[str, bytes]:
    return {
        "README.md": b"# Pictures",
        "data/train-00000-of-00002.parquet": pictures(TRAIN[:6], LABELS[:6], names=7),
        "data/train-00001-of-00002.parquet": pictures(TRAIN[6:], LABELS[6:], names=7),
        "data/test-00000-of-00001.parquet": pictures(TEST, [0, 1, 2, 3], names=7),
    }


def test_parquet_files_are_read(hub: Hub) -> None:
    hub.put(two_splits())
    data = opened("hf://some/pictures")
    assert isinstance(data, Dataset)
    assert (data.name, data.image, data.num_classes) == ("hf://some/pictures", (1, 6, 5), 7)
    assert {split: data.size(split) for split in data.splits} == {"train": 11, "test": 4}
    assert all_of(data, "train") == {image.tobytes(): k for image, k in zip(TRAIN, LABELS, strict=True)}
    assert all_of(data, "test") == {image.tobytes(): k for k, image in enumerate(TEST)}
    assert hub.fetched() == set(two_splits()) - {"README.md"}
    images, labels = data.read("train", [7, 2])
    assert np.array_equal(images[1], data.read("train", [2])[0][0])
    assert labels[0] == data.read("train", [7])[1][0]
    with pytest.raises(DatasetError, match="image 11 asked, it has 11"):
        data.read("train", [11])


def test_rows_come_in_a_fixed_order_that_mixes_the_classes(hub: Hub) -> None:
    hub.put(two_splits())
    labels = opened("hf://some/pictures").read("train", range(11))[1].tolist()
    assert labels != LABELS
    assert labels == opened("hf://some/pictures").read("train", range(11))[1].tolist()


def test_what_was_fetched_is_not_fetched_again_and_is_there_offline(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.put(two_splits())
    online = opened("hf://some/pictures")
    prints = {split: online.fingerprint(split) for split in online.splits}
    asked = list(hub.server.asked)
    offline = opened("hf://some/pictures", offline=True)
    assert {split: offline.fingerprint(split) for split in offline.splits} == prints
    assert all_of(offline, "train") == all_of(online, "train")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert opened("hf://some/pictures").fingerprint("test") == prints["test"]
    assert hub.server.asked == asked
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    opened("hf://some/pictures")
    assert [line for line in hub.server.asked[len(asked) :] if "/resolve/" in line] == []


def test_offline_and_never_fetched_or_not_wholly_is_an_error(hub: Hub, tmp_path: Path) -> None:
    hub.put(two_splits())
    with pytest.raises(DatasetError, match=r"hf://some/pictures is not in the cache .* once without --offline"):
        opened("hf://some/pictures", offline=True)
    assert hub.server.asked == []
    opened("hf://some/pictures")
    (gone,) = (tmp_path / "hub").rglob("test-00000-of-00001.parquet")
    gone.unlink()
    with pytest.raises(DatasetError, match="or not wholly, and nothing is downloaded"):
        opened("hf://some/pictures", offline=True)
    data = World(Registry(), offline=True).data("digits")
    with pytest.raises(Refused, match="other data set 'hf://some/pictures': data set hf://some/pictures is not in"):
        data.other("hf://some/pictures")


def test_fingerprints_are_of_content_labels_and_shape(hub: Hub) -> None:
    def fingerprint(address: str = "hf://some/pictures", **files: bytes) -> str:
        hub.put(
            {f"{name}.parquet": body for name, body in files.items()},
            commit=hashlib.sha1(repr(files).encode()).hexdigest(),
        )
        return opened(address).fingerprint("test")

    files = {"test": pictures(TEST, [0, 1, 2, 3])}
    seen = {
        fingerprint(**files),
        fingerprint(test=pictures(TEST, [0, 1, 2, 2])),
        fingerprint(test=pictures(TEST[::-1], [0, 1, 2, 3])),
        fingerprint("hf://some/pictures@1x3x3", **files),
        fingerprint("hf://some/pictures?image=1x3x3&crop=none", **files),
        fingerprint("hf://some/pictures?image=1x3x3&resize=box", **files),
    }
    assert len(seen) == 6
    assert fingerprint(**files) in seen
    assert fingerprint("hf://some/pictures?image=1x3x3", **files) in seen  # by the rule of @1x3x3


def test_columns_are_found_by_their_usual_names_and_kinds(hub: Hub) -> None:
    blobs = [png(image) for image in TEST]
    for columns, labels in (
        ({"img": [{"bytes": blob, "path": None} for blob in blobs], "fine_label": [3, 0, 1, 1]}, [3, 0, 1, 1]),
        ({"id": [1, 2, 3, 4], "png": blobs}, [-1] * 4),
        ({"thing": blobs, "label": ["a", "b", "c", "d"]}, [-1] * 4),
        ({"image": blobs, "other": blobs[::-1], "label": [0, None, 2, 3]}, [0, -1, 2, 3]),
    ):
        hub.put({"test.parquet": table(columns)}, commit=hashlib.sha1(repr(columns).encode()).hexdigest())
        data = opened("hf://some/pictures")
        assert all_of(data, "test") == {image.tobytes(): k for image, k in zip(TEST, labels, strict=True)}
        assert data.num_classes == max(labels) + 1
    hub.put({"test.parquet": table({"image": blobs, "label": [0, 0, 0, 0], "coarse": [1, 2, 3, 4]})}, commit="1" * 40)
    assert sorted(all_of(opened("hf://some/pictures?label=coarse"), "test").values()) == [1, 2, 3, 4]
    with pytest.raises(DatasetError, match="has no column 'fine' of whole numbers; it has label, coarse"):
        opened("hf://some/pictures?label=fine")


def test_images_of_different_sizes_are_cut_as_asked(hub: Hub) -> None:
    wide, tall = levels(1, 10, 16, 3)[0], levels(1, 12, 8, 3)[0]
    hub.put({"test.parquet": table({"image": [png(wide), png(tall)]})})
    for address, crop in (
        ("hf://some/pictures?image=3x4x4&crop=centre", "center"),
        ("hf://some/pictures?image=3x4x4", "center"),
        ("hf://some/pictures@3x4x4", "center"),
        ("hf://some/pictures?image=3x4x4&crop=none", "none"),
    ):
        data = opened(address)
        assert (data.name, data.image) == (address, (3, 4, 4))
        expected = set()
        for image in (wide, tall):
            picture = Image.fromarray(image)
            if crop == "none":
                small = picture.resize((4, 4), Image.Resampling.BILINEAR)
            else:
                size = (6, 4) if image is wide else (4, 6)
                small = picture.resize(size, Image.Resampling.BILINEAR)
                left, top = ((size[0] - 4) // 2, (size[1] - 4) // 2)
                small = small.crop((left, top, left + 4, top + 4))
            expected.add(np.ascontiguousarray(np.asarray(small).transpose(2, 0, 1)).tobytes())
        assert set(all_of(data, "test")) == expected
    with pytest.raises(DatasetError, match=r"of row \d of .*test\.parquet' is 1\dx\d+, its data set .*\?image=3x"):
        opened("hf://some/pictures").read("test", [0, 1])


def test_a_revision_is_fetched_as_it_is(hub: Hub) -> None:
    hub.put({"test.parquet": pictures(TEST[:2])}, commit="a" * 40)
    hub.put({"test.parquet": pictures(TEST[2:])}, revision="v1", commit="b" * 40)
    hub.put({"default/test/0000.parquet": pictures(TEST[:1])}, revision="refs%2Fconvert%2Fparquet", commit="c" * 40)
    for address, images in (("", TEST[:2]), ("@v1", TEST[2:]), ("@refs/convert/parquet", TEST[:1])):
        assert set(all_of(opened(f"hf://some/pictures{address}"), "test")) == {image.tobytes() for image in images}
    small = opened("hf://some/pictures@v1@1x3x2")
    assert (small.name, small.image, small.size("test")) == ("hf://some/pictures@v1@1x3x2", (1, 3, 2), 2)


def test_image_files_in_folders_are_read(hub: Hub) -> None:
    files = {f"train/{name}/{k}.png": png(TRAIN[k]) for k, name in enumerate("babab")}
    files |= {f"validation/{name}/{k}.png": png(TEST[k]) for k, name in enumerate("ab")}
    hub.put(files | {"README.md": b"", "metadata.csv": b"", "preview.png": png(TRAIN[0])})
    data = opened("hf://some/pictures")
    assert (data.name, data.image, data.num_classes) == ("hf://some/pictures", (1, 6, 5), 2)
    assert {split: data.size(split) for split in data.splits} == {"train": 5, "val": 2}
    assert all_of(data, "train") == {TRAIN[k].tobytes(): 1 - k % 2 for k in range(5)}
    assert hub.fetched() == set(files)
    before = len(hub.server.asked)
    assert opened("hf://some/pictures", offline=True).fingerprint("val") == data.fingerprint("val")
    assert len(hub.server.asked) == before
    with pytest.raises(DatasetError, match=r"has image files, no column 'kind'; .* Leave label out"):
        opened("hf://some/pictures?label=kind")
    small = opened("hf://some/pictures?image=3x4x4&crop=none")
    assert small.image == small.read("val", [0])[0].shape[1:] == (3, 4, 4)


def test_image_files_in_one_place_are_the_split_test(hub: Hub) -> None:
    hub.put({f"{k}.png": png(image) for k, image in enumerate(TEST)})
    assert all_of(opened("hf://some/pictures"), "test") == {image.tobytes(): -1 for image in TEST}
    hub.put({f"data/{k}/x.png": png(image) for k, image in enumerate(TEST)}, commit="d" * 40)
    assert all_of(opened("hf://some/pictures"), "test") == {image.tobytes(): k for k, image in enumerate(TEST)}


def listing(*files: str, config: str | None = None) -> Listing:
    return Listing(HubAddress("some/pictures", config=config), COMMIT, tuple(sorted(files)))


@pytest.mark.parametrize(
    ("files", "config", "splits"),
    [
        (("data/train-00000-of-00001-abc.parquet", "data/test.parquet"), None, {"train": 1, "test": 1}),
        (("train.parquet", "validation.parquet", "dev-00000.parquet"), None, {"train": 1, "val": 2}),
        (("training/0000.parquet", "valid/0000.parquet"), None, {"train": 1, "val": 1}),
        (("default/train/0.parquet", "other/train/0.parquet", "other/train/1.parquet"), None, {"train": 1}),
        (("default/train/0.parquet", "other/train/0.parquet", "other/train/1.parquet"), "other", {"train": 2}),
        (("big/train-0.parquet",), None, {"train": 1}),
        (("big/train-0.parquet", "small/test-0.parquet"), "small", {"test": 1}),
        (("data/big/train-0.parquet", "data/small/test-0.parquet"), "big", {"train": 1}),
        (("a.parquet", "b.parquet"), None, {"test": 2}),
        (("train.parquet", "index.parquet"), None, {"train": 1}),
        (("train.parquet", "x.png"), None, {"train": 1}),
        (("train/a/x.JPG", "train/a/y.webp", "Test/x.png", ".hidden/z.png"), None, {"train": 2, "test": 1}),
        (("faces/train/x.png", "cars/train/x.png", "cars/test/x.png"), "cars", {"train": 1, "test": 1}),
    ],
)
def test_files_are_chosen_by_their_names(files: tuple[str, ...], config: str | None, splits: dict[str, int]) -> None:
    chosen = choose(listing(*files, config=config))
    assert {split: len(found) for split, found in chosen.files.items()} == splits


@pytest.mark.parametrize(
    ("files", "config", "said"),
    [
        ((), None, r"'some/pictures' has no images: no \.parquet and no image files \(it is empty\)"),
        (("a.jsonl", "b.jsonl", "LICENSE"), None, r"\(2 \.jsonl, 1 without ending\)\. Other formats"),
        (
            ("big/train-0.parquet", "small/train-0.parquet"),
            None,
            "several configurations: it has big, small. Write hf:",
        ),
        (("big/train-0.parquet", "train.parquet"), "bag", "no configuration 'bag': it has the one without a name, big"),
        (("data/train/x.png", "train/x.png"), None, "the images of 'train' in two folders, 'data/train' and 'train'"),
    ],
)
def test_files_that_cannot_be_chosen_are_an_error(files: tuple[str, ...], config: str | None, said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        choose(listing(*files, config=config))


def test_addresses() -> None:
    assert hub_address("hf://some/pictures") == HubAddress("some/pictures")
    whole = hub_address("hf://a.b/c-d_e@refs/pr/1:big?image=3x64x32&crop=none&resize=bicubic&label=kind")
    assert whole == HubAddress(
        "a.b/c-d_e", "refs/pr/1", "big", ImageSpec(3, 64, 32), resize="bicubic", crop="none", label="kind"
    )


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("hf://pictures", "is no address on the Hub. Write hf://org/repo"),
        ("hf://a/b/c", "is no address"),
        ("hf://a/b@", "is no address"),
        ("hf://a/b@c@d", "is no address"),
        ("hf://a/b?imag=3x4x4", "unknown setting 'imag'. Did you mean 'image'? Settings: image, resize, crop, label"),
        ("hf://a/b?image=64x64", "image='64x64'; write 3x64x64 (channels, 1 or 3, height, width)"),
        ("hf://a/b?crop=none", "crop says how images are brought to a shape; write image=3x64x64 too"),
        ("hf://a/b?crop=left", "crop='left'; write center, centre, none"),
        ("hf://a/b?resize=none", "resize='none'; write box, bilinear, bicubic, lanczos"),
        ("inverted:hf://a/b?label=", "label=''; write the name of a column"),
    ],
)
def test_an_address_that_is_none_is_an_error_before_anything_is_asked(hub: Hub, address: str, said: str) -> None:
    found = Registry(Sources(entry_points=False))
    assert found.has_dataset(address)
    with pytest.raises(UsageError) as caught:
        found.check_dataset(address)
    assert said in str(caught.value)
    assert hub.server.asked == []


INFO, FILE = "/api/datasets/some/pictures", f"/datasets/some/pictures/resolve/{COMMIT}/test.parquet"


@pytest.mark.parametrize(
    ("path", "status", "code", "said"),
    [
        (INFO, 404, "RepoNotFound", "there is no Hub repository 'some/pictures' of data on http"),
        (INFO, 401, "RepoNotFound", r"or it is private\. Check the spelling; for a private one type `hf auth login`"),
        (
            INFO,
            403,
            "GatedRepo",
            "is gated: accept its terms on http.*/datasets/some/pictures, then type `hf auth login`",
        ),
        (FILE, 403, "GatedRepo", "is gated"),
        (INFO, 500, "", r"cannot fetch Hub repository 'some/pictures': http.* answers 500, a fault of its own"),
        (FILE, 404, "EntryNotFound", "'some/pictures' has no file 'test.parquet' at revision 'main'"),
    ],
)
def test_what_the_hub_refuses_is_told(hub: Hub, path: str, status: int, code: str, said: str) -> None:
    hub.put({"test.parquet": pictures(TEST)})
    hub.refuse(path, status, code)
    with pytest.raises(DatasetError, match=said):
        opened("hf://some/pictures")


def test_an_unknown_revision_is_told(hub: Hub) -> None:
    hub.refuse(INFO + "/revision/v9", 404, "RevisionNotFound")
    with pytest.raises(DatasetError, match="'some/pictures' has no revision 'v9': give a branch, tag or commit"):
        opened("hf://some/pictures@v9")


def test_no_network_is_told(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(
        DatasetError, match=r"cannot fetch Hub repository 'some/pictures': Connect\w+: .* Check the network"
    ):
        opened("hf://some/pictures")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (lambda: b"PAR1 and then nothing", r"cannot read '.*test\.parquet': Arrow\w+: .* Fetch it again"),
        (lambda: table({"text": ["a"], "n": [1]}), r"no column of encoded images: it has text \(string\), n \(int64\)"),
        (lambda: table({"image": [{"bytes": None, "path": "a.png"}]}), "row 0: 'image' has no bytes"),
        (lambda: pictures(TEST, [0, 1, -2, 3]), "label -2 seen in 'label'"),
        (lambda: pictures(TEST[:0], []), "no column of encoded images"),
        (lambda: table({"image": [png(TEST[0])]}).__class__(), "cannot read"),
    ],
)
def test_parquet_files_that_cannot_be_read_are_named(hub: Hub, body: Callable[[], bytes], said: str) -> None:
    hub.put({"test.parquet": body()})
    with pytest.raises(DatasetError, match=said):
        opened("hf://some/pictures")


def test_no_rows_is_an_error(hub: Hub) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    hub.put({"test.parquet": table({"image": pyarrow.array([], pyarrow.binary())})})
    with pytest.raises(DatasetError, match="there is no row in"):
        opened("hf://some/pictures")


def test_a_broken_image_is_named_by_its_row(hub: Hub) -> None:
    hub.put({"test.parquet": table({"image": [png(TEST[0]), b"no image", png(TEST[1])]})})
    with pytest.raises(
        DatasetError, match=r"cannot read the image of row 1 of '.*test\.parquet': UnidentifiedImageError"
    ):
        opened("hf://some/pictures?image=1x6x5").read("test", [0, 1, 2])


def test_images_laid_out_in_the_cache_are_laid_out_again_where_they_are_damaged(hub: Hub, tmp_path: Path) -> None:
    hub.put({"test.parquet": pictures(TEST)})
    before = all_of(opened("hf://some/pictures"), "test")
    folder = tmp_path / ".cache" / "preimage" / "images"
    packed = next(file for file in folder.iterdir() if file.suffix != ".npy")
    packed.write_bytes(packed.read_bytes()[:-1])
    data = opened("hf://some/pictures")
    assert all_of(data, "test") == before
    packed.unlink()
    with pytest.raises(DatasetError, match=r"cannot read '.*': No such file"):
        data.read("test", [0])


def test_a_cache_that_cannot_be_written_is_told(hub: Hub, tmp_path: Path) -> None:
    hub.put({"test.parquet": pictures(TEST)})
    (tmp_path / ".cache" / "preimage").mkdir(parents=True)
    (tmp_path / ".cache" / "preimage" / "images").write_text("in the way")
    with pytest.raises(DatasetError, match=r"cannot be laid out in '.*images': .*\. Free the space"):
        opened("hf://some/pictures")


def test_a_listing_that_cannot_be_remembered_is_used_all_the_same(hub: Hub, tmp_path: Path) -> None:
    hub.put({"test.parquet": pictures(TEST)})
    (tmp_path / ".cache" / "preimage").mkdir(parents=True)
    (tmp_path / ".cache" / "preimage" / "hub").write_text("in the way")
    assert opened("hf://some/pictures").size("test") == 4
    with pytest.raises(DatasetError, match="is not in the cache of the Hub"):
        opened("hf://some/pictures", offline=True)


def test_without_pyarrow_it_is_said_what_to_install(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.put({"test.parquet": pictures(TEST)})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DatasetError, match=r"needs the package pyarrow\. Type pip install 'preimage\[parquet\]'"):
        opened("hf://some/pictures")


def test_the_command_line_and_its_workers_take_an_address(
    hub: Hub, shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Workers are processes of their own, which know the Hub by its own variables."""
    monkeypatch.setenv("HF_ENDPOINT", hub.server.url)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    hub.put({"test.parquet": pictures(levels(8, 8, 8))})
    few = ("-b", "recovery", "--limit", "4", "--set", "block=2", "--set", "solver.steps=2")
    command = ("run", "--plugin", "tiny.py", "-m", "tiny-good", "-d", "hf://some/pictures", *few)
    ended = shell(*command, "--workers", "2")
    assert ended.status == 0, ended.said
    assert shell.scores()
    asked = len(hub.server.asked)
    ended = shell(*command, "--workers", "1", "--offline")
    assert ended.status == 0, ended.said
    assert len(hub.server.asked) == asked
    ended = shell(*command, "-d", "hf://some/picture", "--offline")
    assert ended.status == 1
    assert "data set hf://some/picture is not in the cache of the Hub" in ended.said
