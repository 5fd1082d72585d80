"""Weights: found where the card says, never with another content than it says."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from preimage.harness.cards import Weights
from preimage.harness.errors import WeightsError
from preimage.harness.weights import SCHEMES, here, locate


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
        (
            "ftp://host/w.bin",
            f"write {SCHEMES}",
        ),
        ("hf://only-one-part", "write hf://org/repo@revision/file"),
        ("hf://a..b/--/w.bin", "Write hf://org/repo@revision/file"),
        ("torchvision://VGG61_Weights.IMAGENET1K_V1", "torchvision has none of that name"),
        ("torchvision://VGG16_Weights.IMAGENET9", "torchvision has none of that name"),
        ("torchvision://vgg16", "torchvision has none of that name"),
        ("torchvision://vgg16.pth", "torchvision has none of that name"),
    ],
)
def test_an_address_that_leads_nowhere_is_told(uri: str, said: str) -> None:
    with pytest.raises(WeightsError) as error:
        locate(Weights(uri))
    assert said in str(error.value)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the Hub."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.mark.parametrize("uri", ["hf://nobody/nothing@main/w.bin", "torchvision://VGG16_Weights.IMAGENET1K_V1"])
def test_offline_never_asks_the_network(
    uri: str, hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: None
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert here(Weights(uri)) is None
    with pytest.raises(WeightsError, match="Run once without --offline, or type `preimage fetch NAME`"):
        locate(Weights(uri), offline=True)


@pytest.mark.parametrize("at", ["", "@main", "@0123456789012345678901234567890123456789"])
def test_what_the_hubs_cache_holds_is_found_offline(hub: Path, at: str, no_network: None) -> None:
    """Pinned to a commit, to a branch, or to nothing."""
    commit = "0123456789012345678901234567890123456789"
    repository = hub / "models--org--repo"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    held = repository / "snapshots" / commit / "folder" / "w.bin"
    held.parent.mkdir(parents=True)
    held.write_bytes(b"weights")
    weights = Weights(f"hf://org/repo{at}/folder/w.bin", hashlib.sha256(b"weights").hexdigest())
    assert here(weights) == locate(weights, offline=True) == held


def test_a_packaged_file_is_found() -> None:
    assert locate(Weights("package://preimage.harness/py.typed")).name == "py.typed"
