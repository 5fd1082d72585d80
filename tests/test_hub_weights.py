"""Weights on the Hub, fetched by its real client from a server on this machine that speaks what it asks."""

from __future__ import annotations

import pytest
from huggingface_hub import constants

from preimage.harness.cards import Weights
from preimage.harness.errors import WeightsError
from preimage.harness.hub_weights import HubFile, hub_file
from preimage.harness.weights import here, locate
from tests.hub_server import BODY, BRANCH, COMMIT, PINNED, SHA256, Fault, HubServer
from tests.hub_server import filled as filled
from tests.hub_server import hub as hub

TOKEN = "hf_the-token-of-this-test"


def test_an_address_has_a_repository_a_revision_and_a_file() -> None:
    def parts(uri: str) -> tuple[str, ...]:
        return hub_file(uri)[1:]

    assert parts("hf://org/repo/w.bin") == ("org/repo", "main", "w.bin")
    assert parts("hf://org/repo@v1.0/a/b c/w.bin") == ("org/repo", "v1.0", "a/b c/w.bin")
    assert parts("hf://org/repo@refs%2Fpr%2F1/w.bin") == ("org/repo", "refs/pr/1", "w.bin")
    assert parts("hf://org/repo@refs/pr/1/w.bin") == ("org/repo", "refs/pr/1", "w.bin")
    assert parts("hf://org/repo@feature%2Fx/model=1-step=2.pth") == ("org/repo", "feature/x", "model=1-step=2.pth")
    assert HubFile("", "org/repo", COMMIT, "f").pinned and not HubFile("", "org/repo", COMMIT[:7], "f").pinned


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("hf://org/repo", "write hf://org/repo@revision/file"),
        ("hf://org/repo@main", "write hf://org/repo@revision/file"),
        ("hf://org/repo/", "write hf://org/repo@revision/file"),
        ("hf://org/repo/../../secret", "'../../secret' is no file of a repository"),
        ("hf://org/repo/a/../w.bin", "'a/../w.bin' is no file"),
        ("hf://org/repo//etc/passwd", "'/etc/passwd' is no file"),
        ("hf://org/repo/./w.bin", "'./w.bin' is no file"),
        ("hf://org/repo/a//w.bin", "'a//w.bin' is no file"),
        (r"hf://org/repo/..\w.bin", "is no file"),
        ("hf://org/repo/C:/w.bin", "is no file"),
        ("hf://org/repo/w.bin\0", "is no file"),
        ("hf://org/repo@/w.bin", "'' is no revision"),
        ("hf://org/repo@../w.bin", "'..' is no revision"),
        ("hf://org/repo@%2E%2E%2F%2E%2E%2Fx/w.bin", "'../../x' is no revision"),
        ("hf://org/repo@%2Ftmp%2Fx/w.bin", "'/tmp/x' is no revision"),
        ("hf://org/repo@a%2F%2Fb/w.bin", "'a//b' is no revision"),
        ("hf://org/repo@a b/w.bin", "a / in its name is written %2F"),
        ("hf://../repo/w.bin", "there is no Hub repository '../repo' of models"),
    ],
)
def test_an_address_that_no_repository_can_have_is_refused_before_anything_is_asked(
    hub: HubServer, uri: str, said: str
) -> None:
    for offline in (False, True):
        with pytest.raises(WeightsError) as error:
            locate(Weights(uri), offline=offline)
        assert said in str(error.value)
    assert hub.asked == []


def test_a_file_is_fetched_once_and_then_there_offline(
    filled: HubServer, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert here(BRANCH) is None
    path = locate(BRANCH)
    assert path.read_bytes() == BODY and path.name == "w.bin"
    assert filled.methods() == ["hub HEAD", "hub GET", "cdn GET", "hub HEAD"], "the content once"
    asked = len(filled.asked)
    assert here(BRANCH) == locate(BRANCH, offline=True) == path
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert locate(BRANCH) == path
    assert len(filled.asked) == asked
    assert capfd.readouterr().err == "", "no progress bar where there is no terminal"


def test_a_branch_is_asked_for_news_with_one_request_and_a_commit_is_not_asked(filled: HubServer) -> None:
    path = locate(BRANCH)
    filled.asked.clear()
    assert locate(PINNED) == path
    assert filled.asked == []
    assert locate(BRANCH) == path
    assert filled.methods() == ["hub HEAD"]


def test_news_of_a_branch_are_fetched_and_the_older_commit_stays(filled: HubServer) -> None:
    old = locate(BRANCH)
    news = BODY[::-1]
    filled.put("org/repo", {"w.bin": news}, commit="ab" * 20)
    new = locate(Weights(BRANCH.uri))
    assert new.read_bytes() == news and old.read_bytes() == BODY
    assert locate(PINNED) == old and locate(Weights(BRANCH.uri), offline=True) == new


def test_a_new_commit_with_the_same_file_downloads_nothing(filled: HubServer) -> None:
    locate(BRANCH)
    filled.put("org/repo", {"w.bin": BODY, "other": b"x"}, commit="ab" * 20)
    filled.asked.clear()
    assert locate(BRANCH).parent.name == "ab" * 20
    assert filled.contents() == []
    assert locate(BRANCH, offline=True).parent.name == "ab" * 20


@pytest.mark.parametrize("large", [True, False])
@pytest.mark.parametrize("revision", ["v1.0", "refs/pr/1", "feature/x"])
def test_files_in_folders_at_tags_and_requests_for_changes(filled: HubServer, revision: str, large: bool) -> None:
    """Large files behind a redirect, and small ones that the Hub itself hands out."""
    filled.large = large
    filled.put("org/repo", {"deep/er/w é.bin": BODY}, revision=revision, commit="ab" * 20)
    weights = Weights(f"hf://org/repo@{revision.replace('/', '%2F')}/deep/er/w é.bin", SHA256)
    path = locate(weights)
    assert path.read_bytes() == BODY
    assert locate(weights, offline=True) == path


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (
            Fault(404, "RepoNotFound"),
            "there is no Hub repository 'org/repo' of models on {hub}, or it is private. Check the spelling; for a "
            "private one type `hf auth login`, or set HF_TOKEN",
        ),
        (Fault(401), "{hub} answers 401: your token gives no access. To use another one type `hf auth login`"),
        (
            Fault(403, "GatedRepo"),
            "Hub repository 'org/repo' is gated: accept its terms on {hub}/org/repo, then type `hf auth login`, or set "
            "HF_TOKEN",
        ),
        (Fault(401, "GatedRepo"), "is gated: accept its terms on {hub}/org/repo"),
        (Fault(404, "RevisionNotFound"), "has no revision 'main': give a branch, tag or commit"),
        (Fault(404, "EntryNotFound"), "has no file 'w.bin' at revision 'main'. See {hub}/org/repo for the files"),
        (Fault(403), "{hub} answers 403: your token gives no access. To use another one type `hf auth login`"),
        (
            Fault(401, headers=(("X-Error-Message", "Invalid credentials in Authorization header"),)),
            "{hub} answers 401: your token gives no access",
        ),
        (Fault(429), "{hub} answers 429, too many requests. Wait a few minutes and type the same command again"),
        (Fault(429, headers=(("Retry-After", "7"),)), "Wait 7 seconds and type the same command again"),
        (Fault(500), "{hub} answers 500, a fault of its own. Type the same command again later"),
        (Fault(503), "{hub} answers 503"),
        (Fault(418), "{hub} answers 418. Check the address"),
        (Fault(200), "Hub repository 'org/repo': FileMetadataError: "),
        (Fault(redirect="/org/repo/resolve/main/w.bin"), "({hub}). Check the network and the disk"),
    ],
    ids=lambda value: f"{value.status}-{value.code}" if isinstance(value, Fault) else "",
)
def test_what_the_hub_refuses_is_told_with_the_address_and_what_to_type(
    filled: HubServer, monkeypatch: pytest.MonkeyPatch, fault: Fault, said: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    filled.faults["hub HEAD"] = fault
    with pytest.raises(WeightsError) as error:
        locate(BRANCH)
    text = str(error.value)
    assert said.format(hub=filled.url) in text
    assert text.startswith("weights 'hf://org/repo/w.bin': ")
    assert TOKEN not in text
    assert all(one.authorised for one in filled.asked)
    assert here(BRANCH) is None


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault(403), "answers 403"),
        (Fault(404), "answers 404. Check the address"),
        (Fault(429, headers=(("Retry-After", "7"),)), "Wait 7 seconds"),
        (Fault(500), "answers 500, a fault of its own"),
        (Fault(cut_after=0), "RemoteProtocolError"),
        (Fault(redirect="/round/and/round"), "TooManyRedirects"),
        (Fault(body=BODY[:-9]), "OSError: Consistency check failed: file should be of size"),
        (Fault(body=BODY + b"more"), "OSError: Consistency check failed: file should be of size"),
    ],
    ids=["403", "404", "429", "500", "cut", "redirects", "shorter", "longer"],
)
def test_content_that_does_not_come_is_told(filled: HubServer, fault: Fault, said: str) -> None:
    filled.faults["cdn GET"] = fault
    with pytest.raises(WeightsError) as error:
        locate(BRANCH)
    text = str(error.value)
    assert said in text
    assert "secret-signature" not in text
    assert here(BRANCH) is None
    del filled.faults["cdn GET"]
    assert locate(BRANCH).read_bytes() == BODY


@pytest.mark.parametrize("status", [429, 500, 503])
def test_the_client_tries_again(filled: HubServer, status: int) -> None:
    filled.faults["hub HEAD"] = Fault(status, times=3)
    assert locate(BRANCH).read_bytes() == BODY
    assert filled.methods().count("hub HEAD") > 3


def test_where_nobody_listens_the_error_says_so(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:9/{repo_id}/{revision}/{filename}")
    with pytest.raises(WeightsError, match=r"weights 'hf://org/repo/w.bin': cannot fetch Hub .*: ConnectError: "):
        locate(BRANCH)


def test_a_token_opens_a_private_repository_and_goes_nowhere_else(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.put("org/repo", {"w.bin": BODY}, token=TOKEN)
    hub.faults["hub HEAD"] = Fault(403, times=3)
    with pytest.raises(
        WeightsError, match=r"answers 403: there is no access without a token\. Type `hf auth login`, or"
    ):
        locate(BRANCH)
    del hub.faults["hub HEAD"]
    with pytest.raises(WeightsError, match="or it is private"):
        locate(BRANCH)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.asked.clear()
    assert locate(BRANCH).read_bytes() == BODY
    assert {one.where: one.authorised for one in hub.asked} == {"hub": True, "cdn": False}


def test_names_passwords_and_tokens_of_addresses_are_not_told(
    filled: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(constants, "ENDPOINT", filled.url.replace("//", "//name:password@"))
    filled.faults["hub HEAD"] = Fault(redirect=f"{TOKEN}://host/?{TOKEN}")
    with pytest.raises(WeightsError) as error:
        locate(BRANCH)
    assert TOKEN not in str(error.value) and "password" not in str(error.value)
    assert filled.url in str(error.value)


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (Fault(503), "answers 503"),
        (Fault(429), "answers 429"),
        (Fault(403, "GatedRepo"), "is gated"),
        (Fault(404, "RepoNotFound"), "there is no Hub repository"),
    ],
    ids=["503", "429", "gated", "gone"],
)
def test_the_kept_file_of_a_branch_is_used_where_it_cannot_be_asked_for_news(
    filled: HubServer, capfd: pytest.CaptureFixture[str], fault: Fault, why: str
) -> None:
    path = locate(BRANCH)
    filled.faults["hub HEAD"] = fault
    assert locate(BRANCH) == path
    said = capfd.readouterr().err
    assert f"cannot ask for news of 'hf://org/repo/w.bin', the file of commit {COMMIT[:12]} is used" in said
    assert why in said
    path.resolve().write_bytes(BODY[:-1] + b"?")
    with pytest.raises(WeightsError, match=f"the card says {SHA256}"):
        locate(BRANCH)


@pytest.mark.parametrize("code", ["RevisionNotFound", "EntryNotFound"])
def test_the_kept_file_of_a_branch_that_has_it_no_more_is_not_used(filled: HubServer, code: str) -> None:
    locate(BRANCH)
    filled.faults["hub HEAD"] = Fault(404, code)
    with pytest.raises(WeightsError, match="has no"):
        locate(BRANCH)


def test_offline_by_the_clients_own_setting(filled: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match=r"because HF_HUB_OFFLINE is set\. Run once with that unset"):
        locate(BRANCH)
    assert filled.asked == []
