"""Files that torch wrote: read as torch itself reads them."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections import Counter, OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from preimage.harness.checkpoints import held_in

from .watch import nothing_runs
from .written import pickled, snapshot

TYPES = [
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.uint16, torch.uint32, torch.uint64),
    *(torch.bool, torch.complex64, torch.complex128),
]


def equal(ours: Any, theirs: Any) -> bool:
    """Whether two values are one, tensors bit for bit."""
    if isinstance(ours, Tensor):
        same = isinstance(theirs, Tensor) and ours.dtype == theirs.dtype and ours.shape == theirs.shape
        return same and ours.stride() == theirs.stride() and _bits(ours) == _bits(theirs)
    if isinstance(ours, dict):
        return list(ours) == list(theirs) and all(equal(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, list | tuple):
        return len(ours) == len(theirs) and all(map(equal, ours, theirs))
    return bool(ours == theirs)


def _bits(value: Tensor) -> bytes:
    return value.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def table() -> dict[str, Any]:
    """What files of torch hold beside plain tensors."""
    torch.manual_seed(0)
    base, net = torch.randn(4, 6), nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.randn(5, 2)).sum().backward()
    optimizer.step()
    return {
        "net": net.state_dict(),
        "parameter": nn.Parameter(torch.ones(2)),
        "views": [base, base[1:, ::2], base.t(), base[2, 3]],
        "types": {str(dtype): torch.arange(5).to(dtype) for dtype in TYPES},
        "named": [torch.float32, torch.Size([1, 2]), torch.bfloat16],
        "empty": [torch.empty(0), torch.empty(3, 0, 2), torch.tensor(3.5)],
        "numbers": [1, -(1 << 70), 2.5, float("inf"), True, None, "text", b"bytes", 1j, (1, (2,)), {3, 4}],
        "tables": [OrderedDict(a=1), defaultdict(list, {"a": [1]}), Counter("aab")],
        "optimizer": optimizer.state_dict(),
        "same": [base, base],
    }


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_files_hold_what_torch_saved(zipped: bool, protocol: int, tmp_path: Path, canary: Path) -> None:
    path = tmp_path / "a.pth"
    saved = table()
    torch.save(saved, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    with nothing_runs(canary):
        ours = held_in(path)
    assert equal(ours, saved)
    assert isinstance(ours, dict) and ours["same"][0] is ours["same"][1]
    first, second = ours["views"][:2]
    first[1, 0] = 77
    assert second[0, 0] == 77  # views share what they share in the file


@pytest.mark.parametrize("zipped", [True, False])
def test_files_of_the_gpu_are_read_without_one(zipped: bool, tmp_path: Path) -> None:
    torch.save({"a": torch.arange(3.0)}, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    content = (tmp_path / "a.pth").read_bytes()
    (tmp_path / "a.pth").write_bytes(content.replace(b"\x03\x00\x00\x00cpu", b"\x03\x00\x00\x00gpu"))
    held = held_in(tmp_path / "a.pth")
    assert isinstance(held, dict) and held["a"].tolist() == [0, 1, 2]


def test_a_tensor_with_attributes_comes_without_them(tmp_path: Path, canary: Path) -> None:
    value = torch.ones(2)
    value.note = "mine"  # type: ignore[attr-defined]
    torch.save([value], tmp_path / "a.pth")
    with nothing_runs(canary):
        held = held_in(tmp_path / "a.pth")
    assert isinstance(held, list) and torch.equal(held[0], value) and not hasattr(held[0], "note")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_numbers_of_numpy_are_read_as_numpy_reads_them(protocol: int, tmp_path: Path, canary: Path) -> None:
    kinds = ("?", "i1", "<i8", ">i4", "u2", "f2", ">f4", "f8", "c8", "c16")
    numbers = {kind: np.arange(6).astype(kind).reshape(2, 3) for kind in kinds}
    columns = {kind: np.asfortranarray(value) for kind, value in numbers.items()}
    held = [numbers, columns, {kind: value[1, 2] for kind, value in numbers.items()}, np.float64(0.1), np.empty((0, 2))]
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(held, protocol))
    with nothing_runs(canary):
        ours = held_in(path)
    assert isinstance(ours, list)
    for mine, theirs in zip(ours[:2], pickle.loads(path.read_bytes())[:2], strict=True):
        assert isinstance(theirs, dict)
        for kind, value in theirs.items():
            assert np.array_equal(mine[kind], value) and mine[kind].dtype == value.dtype
    assert ours[2] == {kind: value[1, 2].item() for kind, value in numbers.items()}
    assert type(ours[3]) is float and ours[3] == 0.1 and ours[4].shape == (0, 2)


READ = """
import sys
from pathlib import Path
from preimage.harness.checkpoints import held_in, network_in
before = set(sys.modules)
for path in sys.argv[1:]:
    held_in(Path(path))
network_in(Path(path)).tensors()
print(sorted(set(sys.modules) - before))
"""


def test_reading_imports_nothing(tmp_path: Path) -> None:
    """In a process that has read nothing before."""
    from safetensors.torch import save_file

    save_file({"a": torch.ones(1)}, tmp_path / "a.safetensors")
    torch.save(table(), tmp_path / "a.pth")
    torch.save(table(), tmp_path / "b.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "a.pkl").write_bytes(b"(Vtext\nS'text'\nl.")
    (tmp_path / "b.pkl").write_bytes(pickled(snapshot(D=np.ones(3)), 2))
    files = [str(tmp_path / name) for name in ("a.safetensors", "a.pth", "b.pth", "a.pkl", "b.pkl")]
    done = subprocess.run([sys.executable, "-c", READ, *files], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
