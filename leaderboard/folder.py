"""The folder of a site: a build replaces what a former build wrote, and touches nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from preimage.harness.errors import PreimageError

MANIFEST = "site.json"
_MAKER = "preimage site"


class SiteError(PreimageError):
    """The folder of a site cannot be written without touching what is not ours."""


Content = bytes | Path
"""What a file of the site holds: bytes, or a file that is moved there."""


def write_site(out: Path, files: Mapping[str, Content]) -> None:
    """Make the folder hold these files, by path, and a manifest of them.

    Files of a former build that are no longer made are removed. Raises SiteError, before anything is written, for a
    folder that is neither empty nor a former site, and where a file of somebody else is in the way.
    """
    former = _former(out)
    for name in files:
        _check_place(out, name, former)
    try:
        out.mkdir(parents=True, exist_ok=True)
        # A build that is killed half way leaves a folder that the next one knows as its own.
        _write_manifest(out, former | set(files))
        for name, content in sorted(files.items()):
            path = out / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                shutil.move(content, path)
            else:
                path.write_bytes(content)
        for name in sorted(former - set(files)):
            _remove(out, name)
        _write_manifest(out, files)
    except OSError as error:
        raise SiteError(f"cannot write the site {str(out)!r}: {error}. Name another folder") from error


def _former(out: Path) -> set[str]:
    """The files that a former build wrote into the folder."""
    if not out.exists() and not out.is_symlink():
        return set()
    if not out.is_dir():
        raise SiteError(f"{str(out)!r} is no folder. Name another one: preimage site FOLDER")
    if not any(out.iterdir()):
        return set()
    refusal = SiteError(
        f"the folder {str(out)!r} is not empty and no former build of a site (it has no {MANIFEST} "
        "of ours). Name an empty or a new folder: preimage site FOLDER"
    )
    manifest = out / MANIFEST
    if manifest.is_symlink():
        raise refusal
    try:
        told = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise refusal from error
    names = told.get("files") if isinstance(told, dict) and told.get("made by") == _MAKER else None
    if not isinstance(names, list) or not all(isinstance(name, str) and _inside(name) for name in names):
        raise refusal
    return set(names)


def _inside(name: str) -> bool:
    """Whether a path of a manifest stays in its folder."""
    path = PurePosixPath(name)
    return (
        name == path.as_posix()
        and not path.is_absolute()
        and ".." not in path.parts
        and "\\" not in name
        and "\0" not in name
        and path.parts != ()
    )


def _check_place(out: Path, name: str, former: Iterable[str]) -> None:
    """Raises SiteError where writing this file would leave the folder or replace somebody else's."""
    if not _inside(name) or name == MANIFEST:
        raise SiteError(f"the site has no place for a file {name!r}")
    path = out / name
    parent = path.parent
    blocked = parent != out and (parent.is_symlink() or (parent.exists() and not parent.is_dir()))
    if blocked or path.is_symlink() or path.is_dir() or (path.exists() and name not in former):
        raise SiteError(
            f"{str(path)!r} is in the way and no former build wrote it. Move it away, or name another folder"
        )


def _remove(out: Path, name: str) -> None:
    path = out / name
    if (path.parent != out and path.parent.is_symlink()) or (path.is_dir() and not path.is_symlink()):
        return
    path.unlink(missing_ok=True)
    if path.parent != out and path.parent.is_dir() and not any(path.parent.iterdir()):
        path.parent.rmdir()


def _write_manifest(out: Path, names: Iterable[str]) -> None:
    text = json.dumps({"made by": _MAKER, "files": sorted(names)}, indent=1) + "\n"
    (out / MANIFEST).write_bytes(text.encode())
