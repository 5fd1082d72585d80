"""What the tests share: where reference data lies, small models and data sets, databases."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
import torch


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference outputs of official code; tests that need it are skipped where it is not."""
    folder = Path(os.environ.get("PREIMAGE_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    if not (folder / "golden").is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"reference data must be at {folder} in CI")
        pytest.skip(f"no reference data at {folder} (set PREIMAGE_SHARED)")
    return folder


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Numbers depend on the thread count; measurements set their own."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever asks for a network fails."""

    def refuse(*_: object, **__: object) -> NoReturn:
        pytest.fail("the network was asked")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
