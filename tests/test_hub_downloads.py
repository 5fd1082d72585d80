"""Downloads from the Hub that are cut, die, come damaged or several at once; what the cache keeps of them."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest
from huggingface_hub import constants

from preimage.harness.cards import Weights
from preimage.harness.errors import WeightsError
from preimage.harness.weights import locate
from tests.hub_server import BODY, BRANCH, CHUNK, PINNED, SHA256, Fault, HubServer
from tests.hub_server import filled as filled
from tests.hub_server import hub as hub

WRONG = BODY[:-1] + b"?"


@pytest.fixture
def unfinished(filled: HubServer) -> Path:
    """Where the unfinished content of ``w.bin`` is kept."""
    folder = Path(constants.HF_HUB_CACHE) / "models--org--repo" / "blobs"
    folder.mkdir(parents=True)
    return folder / f"{SHA256}.incomplete"


def test_a_connection_that_is_cut_goes_on_where_it_stopped(filled: HubServer) -> None:
    filled.faults["cdn GET"] = Fault(cut_after=3 * CHUNK + 5, times=2)
    assert locate(BRANCH).read_bytes() == BODY
    assert [one.range for one in filled.contents()] == ["", f"bytes={3 * CHUNK}-", f"bytes={6 * CHUNK}-"]


def test_a_download_that_failed_goes_on_where_it_stopped(filled: HubServer, unfinished: Path) -> None:
    unfinished.write_bytes(BODY[: 4 * CHUNK])
    assert locate(BRANCH).read_bytes() == BODY
    assert [one.range for one in filled.contents()] == [f"bytes={4 * CHUNK}-"]
    assert filled.sent == len(BODY) - 4 * CHUNK
    assert not unfinished.exists()


def test_a_server_that_sends_all_again_is_understood(filled: HubServer, unfinished: Path) -> None:
    filled.ranges = False
    unfinished.write_bytes(BODY[: 4 * CHUNK])
    assert locate(BRANCH).read_bytes() == BODY
    assert len(filled.contents()) == 1


def test_where_there_are_no_links_the_content_is_kept_once(filled: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.file_download.are_symlinks_supported", lambda _: False)
    path = locate(BRANCH)
    assert not path.is_symlink() and locate(PINNED, offline=True) == path
    assert not list((path.parents[2] / "blobs").iterdir())
    path.write_bytes(WRONG)
    with pytest.raises(WeightsError, match="It was removed from the cache"):
        locate(PINNED)
    assert locate(PINNED).read_bytes() == BODY


def test_what_has_come_of_a_download_that_failed_is_kept(filled: HubServer, unfinished: Path) -> None:
    filled.faults["cdn GET"] = Fault(cut_after=CHUNK, times=1, then=Fault(503, times=1))
    with pytest.raises(WeightsError, match=r"answers 503, a fault of its own\. .* what has come is kept"):
        locate(BRANCH)
    assert unfinished.read_bytes() == BODY[:CHUNK]
    filled.asked.clear()
    assert locate(BRANCH).read_bytes() == BODY
    assert [one.range for one in filled.contents()] == [f"bytes={CHUNK}-"]


@pytest.mark.parametrize("begun", [b"?" * CHUNK, b"?" * len(BODY), BODY + b"more", b""], ids=len)
def test_a_beginning_that_is_not_the_files_is_thrown_away(filled: HubServer, unfinished: Path, begun: bytes) -> None:
    unfinished.write_bytes(begun)
    assert locate(BRANCH).read_bytes() == BODY
    assert filled.contents()[-1].range == ""


@pytest.mark.parametrize("sha256", [SHA256, None], ids=["pinned", "not pinned"])
def test_bytes_that_were_damaged_on_their_way_are_not_kept(filled: HubServer, sha256: str | None) -> None:
    filled.faults["cdn GET"] = Fault(body=WRONG)
    with pytest.raises(WeightsError) as error:
        locate(Weights(BRANCH.uri, sha256))
    assert f"has sha256 {hashlib.sha256(WRONG).hexdigest()}, the Hub says {SHA256}" in str(error.value)
    assert "nothing of it is kept. Type the same command again" in str(error.value)
    assert not [path for path in Path(constants.HF_HUB_CACHE).rglob("*") if path.is_file() and path.suffix != ".lock"]
    del filled.faults["cdn GET"]
    assert locate(BRANCH).read_bytes() == BODY


@pytest.mark.parametrize("weights", [BRANCH, PINNED], ids=["branch", "commit"])
def test_a_cached_file_that_was_damaged_is_removed_and_fetched_anew(filled: HubServer, weights: Weights) -> None:
    path = locate(weights)
    path.resolve().write_bytes(WRONG)
    with pytest.raises(WeightsError, match="damaged or another version: type `preimage fetch NAME`"):
        locate(weights, offline=True)
    assert path.exists(), "offline nothing is thrown away"
    with pytest.raises(WeightsError) as error:
        locate(weights)
    assert f"have sha256 {hashlib.sha256(WRONG).hexdigest()}, the card says {SHA256}" in str(error.value)
    assert "It was removed from the cache: type the same command again to fetch it anew" in str(error.value)
    assert locate(weights).read_bytes() == BODY


@pytest.mark.parametrize("weights", [BRANCH, PINNED], ids=["branch", "commit"])
@pytest.mark.parametrize("large", [True, False])
def test_a_card_that_means_another_version_is_told_and_nothing_is_downloaded_twice(
    filled: HubServer, weights: Weights, large: bool
) -> None:
    filled.large = large
    wrong = Weights(weights.uri, "0" * 64)
    for _ in range(2):
        with pytest.raises(WeightsError) as error:
            locate(wrong)
        assert f"have sha256 {SHA256}, the card says {'0' * 64}. It is what the Hub has" in str(error.value)
        assert "write the commit that the card was written for, or correct the card" in str(error.value)
    assert locate(weights).read_bytes() == BODY
    assert len([one for one in filled.asked if one.method == "GET" and one.where == ("cdn" if large else "hub")]) == 1


def test_a_commit_whose_file_was_another_is_asked_anew(filled: HubServer) -> None:
    """A server that has once had other bytes under a commit does not stand in the way for ever."""
    filled.put("org/repo", {"w.bin": WRONG})
    with pytest.raises(WeightsError, match=f"the card says {SHA256}"):
        locate(PINNED)
    filled.put("org/repo", {"w.bin": BODY})
    assert locate(PINNED).read_bytes() == BODY


def test_several_that_want_a_file_at_once_download_it_once(filled: HubServer) -> None:
    filled.rate = 20 * len(BODY)
    found: list[Path] = []

    def one() -> None:
        found.append(locate(BRANCH))

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and len(set(found)) == 1
    assert [one.range for one in filled.contents()] == [""]
