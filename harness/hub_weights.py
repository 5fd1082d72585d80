"""Weights on the Hub: ``hf://org/repo@revision/file``, through ``huggingface_hub`` and its cache."""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from preimage.harness.errors import WeightsError
from preimage.harness.hub_resuming import bring_content
from preimage.harness.hub_telling import Asked, told

SCHEME = "hf://"
FORM = "hf://org/repo@revision/file"
_ADDRESS = re.compile(r"hf://(?P<repo>[^/@]+/[^/@]+)(@(?P<revision>refs/[^/]+/[^/]+|[^/]*))?/(?P<file>.+)", re.DOTALL)
_REVISION = re.compile(r"\w[\w.+-]*(/\w[\w.+-]*)*")
_COMMIT = re.compile("[0-9a-f]{40}")


class HubFile(NamedTuple):
    """A file of a repository of models at a revision; ``main`` where the address gives none."""

    uri: str
    repo: str
    revision: str
    file: str

    @property
    def pinned(self) -> bool:
        """Whether the revision is a commit, whose files never change."""
        return _COMMIT.fullmatch(self.revision) is not None

    @property
    def asked(self) -> Asked:
        """What is asked of the Hub."""
        return Asked(self.repo, self.revision, "models", self.file)


def hub_file(uri: str) -> HubFile:
    """The file that an address means. Raises WeightsError for one that no repository can have.

    A ``/`` in a revision is written ``%2F``; of ``refs/pr/1`` and the like it may stand as it is.
    """
    match = _ADDRESS.fullmatch(uri)
    if match is None:
        raise WeightsError(f"weights {uri!r}: write {FORM}")
    revision = "main" if match["revision"] is None else unquote(match["revision"])
    if ".." in revision or not _REVISION.fullmatch(revision):
        raise WeightsError(
            f"weights {uri!r}: {revision!r} is no revision. Write {FORM} with a branch, a tag or a commit; a / in "
            "its name is written %2F"
        )
    parts = match["file"].split("/")
    if any(part in ("", ".", "..") for part in parts) or re.search(r"[\\\x00-\x1f]|^\w:", match["file"]):
        raise WeightsError(f"weights {uri!r}: {match['file']!r} is no file of a repository. Write {FORM}")
    return HubFile(uri, match["repo"], revision, match["file"])


def kept(wanted: HubFile, revision: str | None = None) -> Path | None:
    """Where the client's cache has the file, if it has; never touches the network. revision: another than its own."""
    from huggingface_hub import try_to_load_from_cache

    try:
        known = try_to_load_from_cache(wanted.repo, wanted.file, revision=revision or wanted.revision)
    except ValueError as error:  # a name that no repository can have
        raise WeightsError(f"weights {wanted.uri!r}: {told(error, wanted.asked)}. Write {FORM}") from error
    return Path(known) if isinstance(known, str) else None


def hub_is_offline() -> bool:
    """Whether the user has told the client to download nothing (HF_HUB_OFFLINE)."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def fetched(wanted: HubFile, sha256: str | None) -> Path:
    """The file, downloaded unless the cache has it: of a commit nothing is asked then, of a branch whether it has news.

    Where the Hub cannot be asked for news, the kept file is taken, and stderr says so. sha256: what the card gives.
    Raises WeightsError.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import RemoteEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

    here, content = kept(wanted), None
    if here is not None and wanted.pinned:
        return here
    try:
        try:
            seen = get_hf_file_metadata(hf_hub_url(wanted.repo, wanted.file, revision=wanted.revision))
        except (RevisionNotFoundError, RemoteEntryNotFoundError):
            raise
        except Exception as error:
            if here is not None:
                _say_kept(wanted, here, error)
                return here
            if isinstance(error, RepositoryNotFoundError):
                raise
        else:
            if here is not None and seen.commit_hash and kept(wanted, seen.commit_hash) == here:
                return here
            content = bring_content(wanted.repo, wanted.file, seen, sha256)
        found = Path(hf_hub_download(wanted.repo, wanted.file, revision=wanted.revision))  # asks again, with patience
        if content is not None and not found.is_symlink():  # copied, where there are no links
            content.unlink(missing_ok=True)
        return found
    except WeightsError:
        raise
    except Exception as error:  # of the client, of its HTTP library, of the disk
        raise WeightsError(f"weights {wanted.uri!r}: {told(error, wanted.asked)}") from error


def forget(path: Path) -> bool:
    """Take a file that is not what its card says out of the cache, so that it is asked for anew.

    Its content stays where it is what the Hub has named it by. Returns whether it stays: the card is then wrong, or
    means another revision.
    """
    content = path.resolve()
    name = content.name
    path.unlink(missing_ok=True)
    if content != path and content.is_file() and name in _names_of(content, len(name)):
        return True
    content.unlink(missing_ok=True)
    return False


def _names_of(content: Path, digits: int) -> set[str]:
    """What the Hub names a content of so many digits by: the sha256 of large files, git's name of small ones."""
    with content.open("rb") as file:
        if digits == 64:
            return {hashlib.file_digest(file, "sha256").hexdigest()}
        git = hashlib.sha1(b"blob %d\0" % content.stat().st_size + file.read()) if digits == 40 else None
        return {git.hexdigest()} if git else set()


def _say_kept(wanted: HubFile, here: Path, error: Exception) -> None:
    commit = here.parents[len(Path(wanted.file).parts) - 1].name
    print(
        f"preimage: cannot ask for news of {wanted.uri!r}, the file of commit {commit[:12]} is used, as fetched "
        f"before ({told(error, wanted.asked)})",
        file=sys.stderr,
    )
