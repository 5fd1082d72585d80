"""The Hub on this machine: what its client asks of repositories of models, with every fault that a network has.

The files lie behind a redirect to another address, as the Hub's large files do; every request is recorded.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Literal, NamedTuple
from urllib.parse import unquote

import numpy as np
import pytest

from preimage.harness.cards import Weights

COMMIT = "c0ffee" * 6 + "c0de"
CHUNK = 1 << 14
BODY = np.random.default_rng(0).bytes(10 * CHUNK + 77)
SHA256 = hashlib.sha256(BODY).hexdigest()
BRANCH = Weights("hf://org/repo/w.bin", SHA256)
PINNED = Weights(f"hf://org/repo@{COMMIT}/w.bin", SHA256)


@dataclass
class Fault:
    """What goes wrong with a request, with how many of them (None: all), and what goes wrong with those after."""

    status: int = 0
    code: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    cut_after: int | None = None
    body: bytes | None = None
    redirect: str = ""
    times: int | None = None
    then: Fault | None = None


class Asked(NamedTuple):
    """A request that was made."""

    where: Literal["hub", "cdn"]
    method: str
    path: str
    range: str = ""
    authorised: bool = False


@dataclass
class Repository:
    """A repository of models: commits by the names of revisions, files by commit. private: asks for the token."""

    revisions: dict[str, str] = field(default_factory=dict)
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    token: str = ""


class HubServer:
    """A running Hub. ``faults`` by "hub HEAD", "hub GET", "cdn GET"; ``rate``: bytes a second of the content."""

    def __init__(self, url: str, cdn: str) -> None:
        self.url = url
        self.cdn = cdn
        self.repositories: dict[str, Repository] = {}
        self.faults: dict[str, Fault] = {}
        self.asked: list[Asked] = []
        self.sent = 0
        self.rate: float | None = None
        self.ranges = True
        """Whether a part of a content may be asked for; else all of it comes."""
        self.hold_after: int | None = None
        self.released = threading.Event()
        """No more than ``hold_after`` bytes of content are sent before this is set."""
        self.large = True
        """Whether files are named by their sha256 and lie elsewhere; else by git's name, and on the Hub itself."""

    def put(
        self, repo: str, files: Mapping[str, bytes], *, revision: str = "main", commit: str = COMMIT, token: str = ""
    ) -> None:
        """What a repository holds at a revision, and at the commit that it names."""
        repository = self.repositories.setdefault(repo, Repository())
        repository.revisions |= {revision: commit, commit: commit}
        repository.files[commit] = dict(files)
        repository.token = token

    def methods(self) -> list[str]:
        """The requests so far, e.g. "hub HEAD"."""
        return [f"{one.where} {one.method}" for one in self.asked]

    def contents(self) -> list[Asked]:
        """The requests for content."""
        return [one for one in self.asked if one.where == "cdn" and one.method == "GET"]

    def etag(self, body: bytes) -> str:
        """What the Hub names a content by."""
        git = hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()
        return hashlib.sha256(body).hexdigest() if self.large else git

    def fault(self, what: str) -> Fault | None:
        """The fault of the next request of this kind."""
        found = self.faults.get(what)
        while found is not None and found.times == 0:
            found = found.then
        if found is None:
            return None
        if found.times is not None:
            found.times -= 1
        return found


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    where: Literal["hub", "cdn"]
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        if self.where == "hub" and "/resolve/" not in self.path:  # what the client asks for its own sake
            self._say(404)
            return
        spoken = Asked(
            self.where,
            self.command,
            self.path,
            self.headers.get("Range", ""),
            "Authorization" in self.headers,
        )
        self.hub.asked.append(spoken)
        fault = self.hub.fault(f"{self.where} {self.command}")
        if fault is not None and fault.status:
            self._say(fault.status, (("X-Error-Code", fault.code), *fault.headers) if fault.code else fault.headers)
        elif fault is not None and fault.redirect:
            self._say(302, (("Location", fault.redirect),))
        elif self.where == "cdn":
            self._content(fault)
        else:
            self._resolve(fault)

    def _resolve(self, fault: Fault | None) -> None:
        """/org/repo/resolve/revision/file."""
        _, org, name, _, revision, *parts = [*self.path.partition("?")[0].split("/"), *[""] * 5]
        repository = self.hub.repositories.get(f"{org}/{name}")
        given = self.headers.get("Authorization", "")
        if repository is None or (repository.token and given != f"Bearer {repository.token}"):
            self._say(401, (("X-Error-Code", "RepoNotFound"),))
        elif (commit := repository.revisions.get(unquote(revision))) is None:
            self._say(404, (("X-Error-Code", "RevisionNotFound"),))
        elif (file := unquote("/".join(parts).rstrip("/"))) not in repository.files[commit]:
            self._say(404, (("X-Error-Code", "EntryNotFound"), ("X-Repo-Commit", commit)))
        else:
            body = repository.files[commit][file]
            headers = (("X-Repo-Commit", commit), ("X-Linked-Size", str(len(body))))
            if self.hub.large:
                cdn = f"{self.hub.cdn}/{org}/{name}/{commit}/{file}?Signature=secret-signature"
                self._say(302, (*headers, ("X-Linked-Etag", f'"{self.hub.etag(body)}"'), ("Location", cdn)))
            else:
                self._send(body, (*headers, ("ETag", f'"{self.hub.etag(body)}"')), fault)

    def _content(self, fault: Fault | None) -> None:
        """/org/repo/commit/file, of the network that hands out large files."""
        _, org, name, commit, *parts = self.path.partition("?")[0].split("/")
        self._send(self.hub.repositories[f"{org}/{name}"].files[commit][unquote("/".join(parts))], (), fault)

    def _send(self, body: bytes, headers: tuple[tuple[str, str], ...], fault: Fault | None) -> None:
        if fault is not None and fault.body is not None:
            body = fault.body
        wanted = self.headers.get("Range", "") if self.hub.ranges else ""
        begin = int(wanted.removeprefix("bytes=").partition("-")[0]) if wanted else 0
        if begin and begin >= len(body):
            self._say(416, (("Content-Range", f"bytes */{len(body)}"),))
            return
        rest = body[begin:]
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {begin}-{len(body) - 1}/{len(body)}")
        for name, value in (*headers, ("Content-Length", str(len(rest)))):
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        cut = None if fault is None else fault.cut_after
        self._pour(rest if cut is None else rest[:cut])
        if cut is not None:
            self.close_connection = True

    def _pour(self, body: bytes) -> None:
        for start in range(0, len(body), CHUNK):
            piece = body[start : start + CHUNK]
            if self.hub.hold_after is not None and self.hub.sent >= self.hub.hold_after:
                self.hub.released.wait()
            if self.hub.rate is not None:
                time.sleep(len(piece) / self.hub.rate)
            try:
                self.wfile.write(piece)
            except OSError:  # the client is gone
                self.close_connection = True
                return
            self.hub.sent += len(piece)

    def _say(self, status: int, headers: tuple[tuple[str, str], ...] = ()) -> None:
        body = b"" if self.command == "HEAD" else json.dumps({"error": status}).encode()
        self.send_response(status)
        for name, value in (*headers, ("Content-Length", str(len(body)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving_hub() -> Iterator[HubServer]:
    """A running Hub; ends with the block."""
    with ExitStack() as stack:
        servers = {where: ThreadingHTTPServer(("127.0.0.1", 0), _Handler) for where in ("hub", "cdn")}
        hub = HubServer(*(f"http://127.0.0.1:{server.server_port}" for server in servers.values()))
        for where, server in servers.items():
            server.daemon_threads = True  # a client that keeps its connection open holds nothing up
            server.RequestHandlerClass = type(where, (_Handler,), {"hub": hub, "where": where})
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            for end in (server.server_close, thread.join, server.shutdown):
                stack.callback(end)
        stack.callback(hub.released.set)
        yield hub


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    """A Hub that the client of this process asks, its cache empty; the client waits for nothing between retries."""
    from huggingface_hub import constants
    from huggingface_hub.utils import close_session

    folder = tmp_path_factory.mktemp("huggingface")
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with serving_hub() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "hub"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(folder / "token"))
        monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", CHUNK)
        for module in ("huggingface_hub.utils._http", "huggingface_hub.file_download"):
            monkeypatch.setattr(f"{module}.time", SimpleNamespace(sleep=lambda seconds: None))
        try:
            yield server
        finally:
            close_session()


@pytest.fixture
def filled(hub: HubServer) -> HubServer:
    """A Hub that holds ``w.bin``."""
    hub.put("org/repo", {"w.bin": BODY})
    return hub
