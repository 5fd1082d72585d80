"""Weights: found where the card says, never with another content than it says."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from preimage.harness.cards import Weights
from preimage.harness.errors import WeightsError
from preimage.harness.weights import locate


def test_a_path_is_found_and_its_hash_checked(tmp_path: Path) -> None:
    file = tmp_path / "w.bin"
    file.write_bytes(b"weights")
    right = hashlib.sha256(b"weights").hexdigest()
    assert locate(Weights(str(file), right)) == file
    assert locate(Weights(str(file))) == file
    with pytest.raises(WeightsError, match=f"have sha256 {right}, the card says {'0' * 64}"):
        locate(Weights(str(file), "0" * 64))


def test_a_file_that_has_changed_is_hashed_again(tmp_path: Path) -> None:
    file = tmp_path / "w.bin"
    file.write_bytes(b"weights")
    pinned = Weights(str(file), hashlib.sha256(b"weights").hexdigest())
    locate(pinned)
    file.write_bytes(b"other weights")
    with pytest.raises(WeightsError, match="damaged or another version"):
        locate(pinned)


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("/nowhere/w.safetensors", "there is no weights file '/nowhere/w.safetensors'"),
        ("package://no.such.package/w.bin", "there is no installed package 'no.such.package'"),
        ("package://preimage.harness/none.bin", "there is no weights file"),
        ("ftp://host/w.bin", "write package://package/file, hf://org/repo@revision/file, or a path"),
        ("hf://only-one-part", "write hf://org/repo@revision/file"),
    ],
)
def test_an_address_that_leads_nowhere_is_told(uri: str, said: str) -> None:
    with pytest.raises(WeightsError) as error:
        locate(Weights(uri))
    assert said in str(error.value)


def test_offline_never_asks_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match="Run once without --offline"):
        locate(Weights("hf://nobody/nothing@main/w.bin"), offline=True)


def test_a_packaged_file_is_found() -> None:
    assert locate(Weights("package://preimage.harness/py.typed")).name == "py.typed"
