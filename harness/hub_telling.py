"""What the client of the Hub raises, told in our words: one text for data sets and for weights."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

OFFLINE = "nothing is downloaded, because HF_HUB_OFFLINE is set"
LOGIN = "type `hf auth login`, or set HF_TOKEN"


class Asked(NamedTuple):
    """What was asked of the Hub: a repository of data or of models, at a revision; and which file of it."""

    repo: str
    revision: str | None = None
    kind: Literal["data", "models"] = "models"
    file: str = ""

    def __str__(self) -> str:
        return f"Hub repository {self.repo!r}"

    @property
    def page(self) -> str:
        """Where people read about the repository."""
        from huggingface_hub import constants

        return _without_secrets(f"{constants.ENDPOINT}/{'datasets/' if self.kind == 'data' else ''}{self.repo}")


def told(error: BaseException, asked: Asked) -> str:
    """What happened and what to type, a sentence each; never a token, nor the signature of an address."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    causes = list(_causes(error))
    for cause in causes:
        if said := _known(cause, asked):
            return said
    if len(causes) > 1 and isinstance(error, LocalEntryNotFoundError):  # the client's last word, not the reason
        _, error, *_ = causes
    first = _without_secrets(str(error).strip().split("\n")[0]).rstrip(".")
    return f"cannot fetch {asked}: {type(error).__name__}: {first} ({_endpoint()}). Check the network and the disk"


def _known(error: BaseException, asked: Asked) -> str:
    """The words for an error whose meaning is known, "" for any other."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        OfflineModeIsEnabled,
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if isinstance(error, OfflineModeIsEnabled):
        return f"{OFFLINE}. Unset it, and type the same command again with a network"
    if isinstance(error, GatedRepoError):
        return f"{asked} is gated: accept its terms on {asked.page}, then {LOGIN}"
    if isinstance(error, RevisionNotFoundError):
        return f"{asked} has no revision {asked.revision!r}: give a branch, tag or commit"
    if isinstance(error, RemoteEntryNotFoundError):
        return (
            f"{asked} has no file {asked.file!r} at revision {asked.revision or 'main'!r}. See {asked.page} for the "
            "files that it has"
        )
    if isinstance(error, (RepositoryNotFoundError, HFValidationError)):
        return f"there is no {asked} of {asked.kind} on {_endpoint()}, or it is private. Check the spelling; for a " + (
            f"private one {LOGIN}"
        )
    if isinstance(error, HfHubHTTPError):
        return _refused(error.response.status_code, error.response.headers.get("Retry-After"), asked)
    return ""


def _refused(status: int, wait: str | None, asked: Asked) -> str:
    """The words for a status that says nothing of what was asked."""
    from huggingface_hub import get_token

    what = f"cannot fetch {asked}: {_endpoint()} answers {status}"
    if status == 429:
        pause = f"{wait} seconds" if wait and wait.isdigit() else "a few minutes"
        return f"{what}, too many requests. Wait {pause} and type the same command again; more are let pass if you " + (
            LOGIN.removeprefix("type ")
        )
    if status in (401, 403):
        if get_token():
            return f"{what}: your token gives no access. To use another one {LOGIN}; see {asked.page}"
        return f"{what}: there is no access without a token. T{LOGIN[1:]}; see {asked.page}"
    if status >= 500:
        return f"{what}, a fault of its own. Type the same command again later; what has come is kept"
    return f"{what}. Check the address"


def _endpoint() -> str:
    from huggingface_hub import constants

    return _without_secrets(constants.ENDPOINT)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and those that led to it."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def _without_secrets(text: str) -> str:
    """The text without the user's token, names and passwords of addresses, and their queries, which sign them."""
    from huggingface_hub import get_token

    token = get_token()
    if token:
        text = text.replace(token, "***")
    text = re.sub(r"(\w+://)[^/\s@]*@", r"\1", text)
    return re.sub(r"(\w+://[^\s?'\"]*)\?[^\s'\"]*", r"\1", text)
