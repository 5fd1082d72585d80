"""What the tests of reading share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from preimage.harness.checkpoints import held_in, network_in
from preimage.harness.errors import WeightsError

from .watch import nothing_runs
from .written import legacy, pickled, snapshot

Reading = Callable[[bytes | Path], str]


@pytest.fixture(scope="session", autouse=True)
def everything_is_imported(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Reading has been done once: whatever it imports of its own is there before a hostile file comes."""
    folder = tmp_path_factory.mktemp("warm")
    (folder / "a.pkl").write_bytes(pickled(snapshot()))
    network_in(folder / "a.pkl").tensors()
    torch.save({"a": torch.ones(2, dtype=torch.bfloat16)}, folder / "a.pth")
    save_file({"a": torch.ones(2)}, folder / "a.safetensors")
    (folder / "b.pth").write_bytes(legacy({}))
    for name in ("a.pth", "a.safetensors", "b.pth"):
        held_in(folder / name)


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """The file that hostile commands make."""
    return tmp_path / "canary"


@pytest.fixture
def refused(tmp_path: Path, canary: Path) -> Reading:
    """Read a file that must be refused, under watch; the error's words, which are short."""

    def read(content: bytes | Path) -> str:
        path = content if isinstance(content, Path) else tmp_path / "hostile.pkl"
        if isinstance(content, bytes):
            path.write_bytes(content)
        said = []
        for reader in (held_in, network_in):
            with nothing_runs(canary), pytest.raises(WeightsError) as caught:
                reader(path)
            said.append(str(caught.value))
        assert said[0] == said[1] and said[0].startswith(f"cannot read the weights {str(path)!r}: ")
        assert len(said[0]) < 1200 and "weights_only" not in said[0]
        return said[0]

    return read
