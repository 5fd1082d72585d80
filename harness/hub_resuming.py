"""Downloads from the Hub that go on where a killed run has stopped.

The client goes on where a connection broke, but begins anew where its process died. So the content of a large file is
brought here first, by the client's own requests: into its cache, under its lock, and unfinished under the name that
earlier versions of it have used.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from preimage.harness.errors import WeightsError

if TYPE_CHECKING:
    from huggingface_hub import HfFileMetadata

_SHA256 = re.compile("[0-9a-f]{64}")


class _Download(NamedTuple):
    """A content, where it comes from and where it goes to."""

    url: str
    file: str
    size: int
    etag: str
    unfinished: Path


def bring_content(repo: str, file: str, seen: HfFileMetadata, sha256: str | None) -> Path | None:
    """Download the content of a file into the client's cache, unless it is there; the client then finds it.

    Returns where it lies, None where it is left to the client.
    seen: what the Hub has said of the file. Left to the client: what the Hub does not name by its sha256 (it is small),
    and what comes by Xet. sha256: what a card gives, which is as good as what the Hub says.
    Raises WeightsError where another content has come, of which nothing is kept, and what the client raises.
    """
    from huggingface_hub import constants, hf_hub_url
    from huggingface_hub.file_download import repo_folder_name
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]  # it is exported, lazily

    etag = seen.etag or ""
    if seen.xet_file_data is not None or not seen.commit_hash or not seen.size or not _SHA256.fullmatch(etag):
        return None
    cache = Path(constants.HF_HUB_CACHE).expanduser().resolve()
    folder = repo_folder_name(repo_id=repo, repo_type="model")
    content, lock = cache / folder / "blobs" / etag, cache / ".locks" / folder / f"{etag}.lock"
    content.parent.mkdir(parents=True, exist_ok=True)
    lock.parent.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(lock):
        if content.exists():
            return content
        url = hf_hub_url(repo, file, revision=seen.commit_hash)
        download = _Download(url, file, seen.size, etag, content.with_name(f"{etag}.incomplete"))
        wanted = {etag, sha256}
        if _continued(download) not in wanted and (came := _begun(download)) not in wanted:
            download.unfinished.unlink()
            raise WeightsError(
                f"what has come of file {file!r} of Hub repository {repo!r} has sha256 {came}, the Hub says {etag}: it "
                "was damaged on its way, and nothing of it is kept. Type the same command again"
            )
        download.unfinished.replace(content)
    return content


def _continued(download: _Download) -> str:
    """The sha256 of the content after a download that was stopped has gone on; "" where there is none."""
    begun = download.unfinished.stat().st_size if download.unfinished.exists() else 0
    return _requested(download, begun) if 0 < begun <= download.size else ""


def _begun(download: _Download) -> str:
    """The sha256 of the content, downloaded from its first byte on."""
    download.unfinished.unlink(missing_ok=True)
    return _requested(download, 0)


def _requested(download: _Download, begun: int) -> str:
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # likewise

    try:
        with download.unfinished.open("ab") as file:
            http_get(
                download.url,
                file,
                resume_size=begun,
                headers=build_hf_headers(),
                expected_size=download.size,
                displayed_filename=download.file,
            )
    except HfHubHTTPError:  # an OSError as well
        raise
    except OSError:  # of another size than was said, or the disk is full: nothing to go on with
        download.unfinished.unlink(missing_ok=True)
        raise
    with download.unfinished.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
