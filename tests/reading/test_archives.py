"""Zip archives: those of torch are read in place; others, and those that unfold or lead elsewhere, are refused."""

from __future__ import annotations

import re
import struct
import zipfile
from pathlib import Path

import pytest
import torch

from preimage.harness.checkpoints import held_in, read_tensors

from .conftest import Reading
from .watch import nothing_runs
from .written import Archive, Call, Global, Instance, Stored, legacy, pickled, storage_id, tensor

ONE = {"a": tensor("0", 2, (2,), (1,))}
BYTES = {"archive/data/0": struct.pack("<2f", 1, 2)}


def test_archives_of_torch_are_read_in_place(tmp_path: Path, canary: Path) -> None:
    path = Archive(ONE, BYTES).write(tmp_path / "a.pkl")
    with nothing_runs(canary):
        assert torch.equal(read_tensors(path)["a"], torch.tensor([1.0, 2.0]))
    assert [p.name for p in tmp_path.iterdir()] == ["a.pkl"]
    assert torch.equal(torch.load(path, weights_only=True)["a"], torch.tensor([1.0, 2.0]))


@pytest.mark.parametrize(
    "name", ["../canary", "archive/../../canary", "/tmp/canary", "..\\canary", "C:\\canary", "archive/data/../0"]
)
def test_paths_that_lead_out_are_refused(name: str, tmp_path: Path, refused: Reading) -> None:
    path = Archive(ONE, BYTES | {name: b"x"}).write(tmp_path / "a.pth")
    assert "a path that leads out of it" in refused(path)


@pytest.mark.parametrize("key", ["../../../etc/hostname", "/etc/hostname", "1", "", "0/../0"])
def test_storages_are_members_and_nothing_else(key: str, tmp_path: Path, refused: Reading) -> None:
    assert "its archive has no member" in refused(Archive([storage_id(key, 1)], BYTES).write(tmp_path / "a.pth"))


@pytest.mark.parametrize("pack", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_bombs_are_refused(pack: int, tmp_path: Path, refused: Reading) -> None:
    path = Archive(ONE, {"archive/data/0": bytes(1 << 24)}, pack=pack).write(tmp_path / "a.pth")
    assert path.stat().st_size < 1 << 20
    assert "compressed zip archive, which torch does not write" in refused(path)


def test_members_that_overlap_are_refused(tmp_path: Path, refused: Reading) -> None:
    """A thousand members that are one: the directory at the end says so."""
    path = Archive(ONE, {"archive/data/0": bytes(1 << 16)}).write(tmp_path / "a.pth")
    with zipfile.ZipFile(path, "a") as file:
        first = file.getinfo("archive/data/0")
        for number in range(1000):
            copy = zipfile.ZipInfo(f"archive/data/{number + 1}")
            copy.CRC, copy.header_offset = first.CRC, first.header_offset
            copy.file_size = copy.compress_size = 1 << 16
            file.filelist.append(copy)
        file._didModify = True  # type: ignore[attr-defined]  # so that the directory is written
    assert "compressed zip archive" in refused(path)


def test_a_size_of_the_directory_is_no_size_of_the_file(tmp_path: Path, refused: Reading) -> None:
    path = Archive(ONE, BYTES).write(tmp_path / "a.pth")
    content = path.read_bytes()
    place = content.rindex(b"PK\x01\x02", 0, content.rindex(b"archive/data/0"))
    for size in (1 << 30, len(content) - 40):
        forged = content[: place + 20] + struct.pack("<II", size, size) + content[place + 28 :]
        assert re.search("unfold without end|truncated|declares", refused(forged))
    moved = content[: place + 42] + struct.pack("<I", 7) + content[place + 46 :]
    assert "is not where it should be" in refused(moved)


def test_an_encrypted_archive_says_so(tmp_path: Path, refused: Reading) -> None:
    path = Archive(ONE, BYTES).write(tmp_path / "a.pth")
    content = bytearray(path.read_bytes())
    for magic, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := content.find(magic, at + 1)) >= 0:
            content[at + place] |= 1
    words = refused(bytes(content))
    assert "it is an encrypted zip archive. Unpack it with its password" in words


def test_other_archives_say_what_is_in_them(tmp_path: Path, refused: Reading) -> None:
    for names, said in ((["word/document.xml"], "'word/document.xml'"), ([], "nothing in it"), (["x.npy"], "'x.npy'")):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
            for name in names:
                file.writestr(name, b"x")
        assert f"a zip archive of something else than torch.save, with {said}" in refused(tmp_path / "a.zip")
    with pytest.warns(UserWarning, match="Duplicate"):
        twice = Archive(ONE, {"archive/data.pkl": pickled([1]), **BYTES}).write(tmp_path / "a.pth")
    assert "something else than torch.save" in refused(twice)


def test_programs_are_refused(tmp_path: Path, refused: Reading) -> None:
    path = Archive(ONE, BYTES | {"archive/code/a.py": b"import os"}).write(tmp_path / "a.pt")
    assert "a TorchScript archive, a program with its weights. Save the module's state_dict()" in refused(path)


def test_archives_with_very_many_members_are_refused(
    tmp_path: Path, refused: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("preimage.harness.reading.torch_files.MOST_MEMBERS", 2)
    assert "has 3 members" in refused(Archive(ONE, BYTES).write(tmp_path / "a.pth"))


def test_a_directory_without_end_is_not_read(tmp_path: Path, refused: Reading, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("preimage.harness.reading.torch_files.MOST_DIRECTORY", 100)
    words = refused(Archive(ONE, BYTES).write(tmp_path / "a.pth"))
    assert re.search("the directory of its archive has [0-9]+ bytes, more than", words)


def test_every_cut_of_an_archive_is_refused(tmp_path: Path, refused: Reading) -> None:
    content = Archive(ONE, BYTES).write(tmp_path / "a.pth").read_bytes()
    for length in range(4, len(content) - 1, 7):
        assert "truncated or damaged" in refused(content[:length])


def test_storages_of_another_size_are_refused(tmp_path: Path, refused: Reading) -> None:
    short = Archive(ONE, {"archive/data/0": b"1234567"}).write(tmp_path / "a.pth")
    assert "declares 8 bytes, and there are 7" in refused(short)
    two = [storage_id("0", 2), storage_id("0", 1)]
    assert "disagree on its size" in refused(Archive(two, BYTES).write(tmp_path / "a.pth"))
    view = Stored(("storage", Global("torch", "FloatStorage"), "0", "cpu", 2, ("1", 0, 1)))
    assert "views of storages, as torch wrote them before 0.4" in refused(
        Archive(view, BYTES).write(tmp_path / "a.pth")
    )


def test_a_storage_seen_as_two_types_is_one(tmp_path: Path, canary: Path) -> None:
    two = {"a": storage_id("0", 2), "b": storage_id("0", 2, "IntStorage"), "c": tensor("0", 2, (1,), (1,), 1)}
    path = Archive(two, BYTES).write(tmp_path / "a.pth")
    with nothing_runs(canary):
        held = held_in(path)
    assert isinstance(held, dict)
    assert held["b"].numbers.tolist() == torch.tensor([1.0, 2.0]).view(torch.int32).tolist()
    assert held["c"].tolist() == [2.0]


def test_another_order_of_bytes_is_told(tmp_path: Path, refused: Reading) -> None:
    path = Archive(ONE, BYTES | {"archive/byteorder": b"big"}).write(tmp_path / "a.pth")
    assert "another order of bytes" in refused(path)
    content = legacy([1]).replace(pickled(True, 2)[2:3], pickled(False, 2)[2:3])
    assert "another order of bytes" in refused(content)


def test_objects_beside_tensors_are_records(tmp_path: Path, canary: Path) -> None:
    """As the GAN zoo and BigGAN keep their settings: objects of their own programs."""
    config = Instance(Global("models.utils.config", "BaseConfig"), (), {"depth": 4, "lossCriterion": "WGANGP"})
    relu = Instance(Global("torch.nn.modules.activation", "ReLU"), (), {"inplace": False, "_modules": {}})
    path = Archive({"config": config, "G_activation": relu, **ONE}, BYTES).write(tmp_path / "a.pth")
    with nothing_runs(canary):
        held = held_in(path)
        assert list(read_tensors(path)) == ["a"]
    assert isinstance(held, dict) and held["config"].state == {"depth": 4, "lossCriterion": "WGANGP"}
    assert str(held["G_activation"].of) == "torch.nn.modules.activation.ReLU"


def test_calls_of_their_programs_are_refused(tmp_path: Path, refused: Reading) -> None:
    made = Call(Global("models.utils.config", "BaseConfig"), (1,))
    assert "it calls models.utils.config.BaseConfig" in refused(Archive([made]).write(tmp_path / "a.pth"))
