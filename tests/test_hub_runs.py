"""The command line with a model whose weights lie on the Hub, each command a process: fetched, killed, gone on with."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from preimage.harness.cards import Weights
from preimage.harness.weights import locate
from tests.hub_server import COMMIT, HubServer, serving_hub

pytestmark = pytest.mark.slow

PIECE = 10 * 2**20  # the client writes what has come in pieces of so many bytes
SHIPPED = Weights("package://preimage.adapters.embedded/fashion-glo-128.safetensors")
CARD = """\
name: from-the-hub
family: embedded-decoder
dataset: fashion-mnist
image: [1, 28, 28]
num_classes: 0
weights: {{uri: 'hf://org/models@{revision}/glo/w.safetensors', sha256: {sha256}}}
"""
RUN = ("run", "-b", "recovery", "-m", "from-the-hub", "--limit", "4", "--set", "solver.steps=5", "--workers", "1")


def padded(file: bytes, more: int) -> bytes:
    """A .safetensors file with so many spaces after its header, which mean nothing."""
    length = int.from_bytes(file[:8], "little") + more
    return length.to_bytes(8, "little") + file[8 : 8 + length - more] + b" " * more + file[8 + length - more :]


BODY = padded(locate(SHIPPED).read_bytes(), 2 * PIECE)


class Terminal:
    """Types commands, each a process, in a folder with the card; all ask the Hub of the test."""

    def __init__(self, folder: Path, hub: HubServer) -> None:
        self.folder = folder
        self.hub = hub
        secrets = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN_PATH")
        own = {name: value for name, value in os.environ.items() if name not in secrets}
        self.environment = own | {
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(folder / "huggingface"),
            "OMP_NUM_THREADS": "1",
        }
        self.pin(COMMIT)

    def pin(self, revision: str, sha256: str = "") -> None:
        """Write the card."""
        sha256 = sha256 or hashlib.sha256(BODY).hexdigest()
        (self.folder / "card.yaml").write_text(CARD.format(revision=revision, sha256=sha256))

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """Type a command."""
        command = [sys.executable, "-m", "preimage.harness.cli", *arguments, "--card", "card.yaml"]
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def end(self, begun: subprocess.Popen[str]) -> tuple[int, str, str]:
        """Status, stdout and stderr of a command."""
        out, err = begun.communicate(timeout=300)
        assert "Traceback" not in err
        return begun.returncode, out, err

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        return self.end(self.begin(*arguments))

    @property
    def unfinished(self) -> list[Path]:
        """What was begun to download, by this client or by ours."""
        return list(self.folder.rglob("*.incomplete"))


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    with serving_hub() as hub:
        hub.put("org/models", {"glo/w.safetensors": BODY})
        yield Terminal(tmp_path, hub)


def test_a_run_that_is_killed_while_it_downloads_goes_on_there(terminal: Terminal) -> None:
    hub = terminal.hub
    hub.hold_after = PIECE + PIECE // 2
    first = terminal.begin(*RUN)
    deadline = time.monotonic() + 120
    while not any(file.stat().st_size >= PIECE for file in terminal.unfinished):
        assert first.poll() is None, first.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    assert first.returncode == -signal.SIGKILL
    (file,) = terminal.unfinished
    assert file.stat().st_size == PIECE

    hub.hold_after = None
    hub.released.set()
    hub.asked.clear()
    status, out, err = terminal(*RUN)
    assert status == 0, out + err
    assert [one.range for one in hub.contents()] == [f"bytes={PIECE}-"]
    assert terminal.unfinished == []

    hub.asked.clear()
    assert terminal(*RUN, "--offline")[0] == 0
    status, out, err = terminal("show", "from-the-hub")
    assert status == 0 and f"hf://org/models@{COMMIT}/glo/w.safetensors" in out
    assert hub.asked == [], "a commit is not asked for again"
    scores = subprocess.run(
        [sys.executable, "-m", "preimage.harness.cli", "scores", "--json"],
        cwd=terminal.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    (mse,) = [row for row in json.loads(scores.stdout) if row["metric"] == "mse"]
    assert mse["model"] == "from-the-hub" and mse["status"] == "ok" and mse["n"] == 4 and mse["value"] > 0


def test_two_processes_that_fetch_at_once_download_once(terminal: Terminal) -> None:
    terminal.pin("main")
    terminal.hub.hold_after = len(BODY) // 2
    fetch = ("fetch", "from-the-hub")
    both = [terminal.begin(*fetch), terminal.begin(*fetch)]
    deadline = time.monotonic() + 120
    while terminal.hub.methods().count("hub HEAD") < 2:  # each has asked, so each would download
        assert time.monotonic() < deadline
        time.sleep(0.02)
    terminal.hub.released.set()
    for status, out, err in map(terminal.end, both):
        assert status == 0, err
        assert "sha256 verified" in out and "huggingface" in out
        assert err == ""
    assert [one.range for one in terminal.hub.contents()] == [""]


def test_fetch_and_run_without_a_network(terminal: Terminal) -> None:
    status, _, err = terminal("fetch", "from-the-hub", "--offline")
    assert status == 1 and "are not on this machine, and nothing is downloaded offline" in err
    terminal.environment["HF_HUB_OFFLINE"] = "1"
    status, _, err = terminal("fetch", "from-the-hub")
    assert status == 1 and "because HF_HUB_OFFLINE is set. Run once with that unset" in err
    status, out, err = terminal(*RUN)
    assert status == 1 and "because HF_HUB_OFFLINE is set" in " ".join((out + err).split())
    assert terminal.hub.asked == []
    del terminal.environment["HF_HUB_OFFLINE"]
    status, out, err = terminal("fetch", "from-the-hub")
    assert status == 0 and "sha256 verified" in out, err
    asked = len(terminal.hub.asked)
    terminal.environment["HF_HUB_OFFLINE"] = "1"
    assert terminal("fetch", "from-the-hub")[1] == out
    assert len(terminal.hub.asked) == asked
