"""What this machine has and lacks: each finding says what was seen and, where it is not well, what to type."""

from __future__ import annotations

import importlib
import importlib.metadata
import platform
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from importlib.metadata import PackageMetadata
from pathlib import Path
from typing import Any, Literal

from sqlite_utils import Database

from preimage.harness.backbone_cards import BackboneCard
from preimage.harness.cards import DatasetCard, ModelCard
from preimage.harness.errors import PreimageError, StoreError, WeightsError
from preimage.harness.plugins import Registry, Sources
from preimage.harness.results import check_version, explained
from preimage.harness.schema import VERSION

LOW = 2 * 10**9
"""Free bytes below which a disk is called short: a suite's database, a few downloaded weights."""
EXTRAS = {
    "faiss": "its brute-force search of nearest neighbours; without it ours is used",
    "keras": "weights that Keras has saved (.h5)",
    "lsun": "the data set LSUN",
    "parquet": "data sets of the Hub that are kept as parquet files",
    "test": "the test suite (`make test`)",
}
"""What each optional set of packages is for."""
OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")

Versions = Callable[[str], str]


@dataclass(frozen=True)
class Finding:
    """What was looked at, how it is, what was seen, and what to do about it.

    ok: nothing to do. missing: runs go on without it; `advice` says what that costs and what to type. broken:
    something that is required does not work.
    """

    name: str
    state: Literal["ok", "missing", "broken"]
    seen: str
    advice: str = ""


def examine(database: Path, sources: Sources, environ: Mapping[str, str], *, verify: bool = False) -> Iterator[Finding]:
    """Everything that can be found out without measuring, downloading or changing anything.

    database: where results would go. environ: the environment variables. verify: compare the weights' sha256 too.
    """
    from preimage.harness.file_hashes import default_cache

    yield from packages(importlib.metadata.metadata("preimage"), importlib.metadata.version)
    yield from processors(importlib.import_module)
    yield sqlite()
    yield of_database(database)
    folders = [("the database's folder", database.resolve().parent, True), ("cache folder", default_cache(), False)]
    if named := environ.get("PREIMAGE_DATA"):  # it is below the cache folder otherwise
        folders.append(("data folder", Path(named).expanduser(), False))
    for what, folder, required in [*folders, ("Hub cache", _hub_cache(), False)]:
        yield of_folder(what, folder, required=required, free=lambda path: shutil.disk_usage(path).free)
    yield from hub(environ, _token_file())
    try:
        registry = Registry(sources)
    except PreimageError as error:
        yield Finding("plug-ins", "broken", str(error), "correct it: nothing can be listed or run until then")
        return
    yield from plugins(registry)
    cards: list[ModelCard | BackboneCard] = [card for _, card in registry.models.items()]
    cards += [card for _, card in registry.backbones.items()]
    yield from weights(cards, verify=verify)
    yield from datasets(registry)


def packages(metadata: PackageMetadata, version: Versions) -> Iterator[Finding]:
    """Python and each required package against its bounds; each optional set of packages as a whole.

    metadata: of the installed preimage. version: the installed version of a package by name.
    """
    from packaging.requirements import Requirement

    wanted = metadata["Requires-Python"]
    bounds = Requirement(f"python{wanted}").specifier
    python = platform.python_version()
    yield (
        Finding("python", "ok", f"{python} ({wanted})")
        if bounds.contains(python, prereleases=True)
        else Finding("python", "broken", f"{python}; {wanted} is needed", "make an environment with a newer Python")
    )
    lacking: dict[str, list[str]] = {}
    for requirement in map(Requirement, metadata.get_all("Requires-Dist") or ()):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            for extra in EXTRAS:
                if requirement.marker.evaluate({"extra": extra}):
                    lacking.setdefault(extra, [])
                    if problem := _lacks(requirement, version):
                        lacking[extra].append(problem)
            continue
        name, problem = requirement.name, _lacks(requirement, version)
        yield (
            Finding(name, "broken", problem, f"pip install '{name}{requirement.specifier}'")
            if problem
            else Finding(name, "ok", f"{version(name)} ({requirement.specifier})")
        )
    for extra, problems in lacking.items():
        yield (
            Finding(
                f"extra [{extra}]",
                "missing",
                "; ".join(problems),
                f"only for {EXTRAS[extra]}: pip install 'preimage[{extra}]'",
            )
            if problems
            else Finding(f"extra [{extra}]", "ok", f"installed, for {EXTRAS[extra]}")
        )


def _lacks(requirement: Any, version: Versions) -> str:
    """What is wrong with an installed package; "" where it is as required."""
    try:
        found = version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return f"{requirement.name} is not installed"
    if requirement.specifier.contains(found, prereleases=True):
        return ""
    return f"{requirement.name} is {found}; {requirement.specifier} is needed"


def processors(load: Callable[[str], Any]) -> Iterator[Finding]:
    """torch as it runs here, the cores that a run would use, an accelerator. load: imports a module by name."""
    from preimage.harness.environment import default_workers

    workers = default_workers("cpu")
    yield Finding("cores", "ok", f"{workers}: a run starts as many workers")
    try:
        torch = load("torch")
        vector = torch.backends.cpu.get_cpu_capability()
        built, count = torch.version.cuda, torch.cuda.device_count() if torch.cuda.is_available() else 0
        devices = [torch.cuda.get_device_name(number) for number in range(count)]
    except Exception as error:  # a broken build raises anything from ImportError to OSError
        yield Finding("torch runs", "broken", f"{type(error).__name__}: {error}", "pip install --force-reinstall torch")
        return
    yield Finding("torch runs", "ok", f"{torch.__version__}, {vector}, {torch.get_num_threads()} threads outside runs")
    if devices:
        yield Finding("accelerator", "ok", f"CUDA {built}: {', '.join(devices)}; use it with --device cuda")
        return
    yield Finding(
        "accelerator",
        "missing",
        f"torch is built for CUDA {built} and finds no device" if built else "this torch is built without CUDA",
        "models run on the processor, large ones slowly; "
        + ("check the driver with nvidia-smi" if built else "with a GPU, install a torch that is built with CUDA"),
    )


def sqlite() -> Finding:
    """The SQLite that Python brings: strict tables, JSON, upserts."""
    with closing(sqlite3.connect(":memory:")) as db:
        try:
            db.execute("CREATE TABLE t (name TEXT PRIMARY KEY, value REAL NOT NULL) STRICT")
            db.execute("INSERT INTO t VALUES ('a', 1.0) ON CONFLICT (name) DO UPDATE SET value = excluded.value")
            db.execute("UPDATE t SET value = n.v FROM (SELECT 2.0 AS v) n")
            db.execute(
                """SELECT json_extract('{"a": 1}', '$.a'), iif(1, 2, 3), count(*) FILTER (WHERE value > 1) FROM t"""
            )
        except sqlite3.OperationalError as error:
            return Finding(
                "SQLite", "broken", f"{sqlite3.sqlite_version}: {error}", "use a Python with SQLite 3.37 or newer"
            )
    return Finding("SQLite", "ok", f"{sqlite3.sqlite_version}: STRICT tables, JSON")


def of_database(path: Path) -> Finding:
    """The database that --db names; it is only read."""
    if not path.exists():
        return Finding("database", "ok", f"{str(path)!r} is not there yet: the first run makes it")
    address = f"{path.resolve().as_uri()}?mode=ro"
    try:
        with explained(path), closing(sqlite3.connect(address, uri=True)) as db:
            version = check_version(Database(db), path)
            problem = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    except StoreError as error:
        return Finding("database", "broken", str(error), "name another file with --db FILE")
    if problem != "ok":
        return Finding("database", "broken", f"{str(path)!r} is damaged: {problem}", "restore it, or use --db FILE")
    told = "" if version == VERSION else f"; it is brought to version {VERSION} when it is next opened"
    return Finding("database", "ok", f"{str(path)!r}: schema version {version}, {_size(path.stat().st_size)}{told}")


def of_folder(what: str, folder: Path, *, required: bool, free: Callable[[Path], int]) -> Finding:
    """Whether files can be made in a folder, or where it would be made, and how much room there is."""
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            room = free(existing)
    except OSError as error:
        seen = f"{str(folder)!r} cannot be written: {error.strerror or error}"
        if required:
            return Finding(what, "broken", seen, "change its permissions, or use another folder: --db FOLDER/FILE")
        return Finding(what, "missing", seen, "nothing is kept there: change its permissions")
    if room < LOW:
        advice = "a run that fills the disk stops; free some space"
        return Finding(what, "missing", f"{str(folder)!r}: only {_size(room)} free", advice)
    return Finding(what, "ok", f"{str(folder)!r}: {_size(room)} free")


def hub(environ: Mapping[str, str], token_file: Path) -> Iterator[Finding]:
    """How the Hub would be asked. The token itself is never read or shown."""
    source = next((name for name in TOKENS if environ.get(name)), str(token_file) if token_file.is_file() else "")
    yield (
        Finding("Hub token", "ok", f"there is one, by {source}")
        if source
        else Finding("Hub token", "missing", "none", "only gated and private repositories need it: hf auth login")
    )
    for name in OFFLINE:
        if environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE"):
            yield Finding(name, "missing", "set", f"nothing is downloaded from the Hub: unset {name}")


def plugins(registry: Registry) -> Iterator[Finding]:
    """Plug-ins that could not be loaded, and how many were."""
    for plugin in registry.plugins:
        if plugin.problem:
            advice = "it is skipped: see `preimage plugins --traceback`, then repair or uninstall it"
            yield Finding(f"plug-in {plugin.name}", "broken", plugin.problem, advice)
    loaded = sum(not plugin.problem for plugin in registry.plugins)
    yield Finding("plug-ins", "ok", f"{loaded} loaded, {len(registry.models)} models")


def weights(cards: Sequence[ModelCard | BackboneCard], *, verify: bool) -> Iterator[Finding]:
    """Weights that are not in place. verify: read them all and compare their sha256 with the cards'."""
    from preimage.harness.weights import here, locate

    placed = verified = 0
    for card in cards:
        if card.weights is None:
            continue
        wanted = card.weights if verify else replace(card.weights, sha256=None)
        try:
            if here(wanted) is None:
                advice = f"it is downloaded when it is first used; now: preimage fetch {card.name}"
                yield Finding(f"weights of {card.name}", "missing", f"{wanted.uri} is not in the cache", advice)
                continue
            locate(wanted, offline=True)
        except WeightsError as error:
            yield Finding(f"weights of {card.name}", "broken", str(error), "only what uses it fails")
        else:
            placed += 1
            verified += wanted.sha256 is not None
    checked = f", {verified} as their cards' sha256 says" if verify else "; --verify compares their sha256"
    yield Finding("weights", "ok", f"{placed} in place{checked}")


def datasets(registry: Registry) -> Iterator[Finding]:
    """Data sets that are not on this machine, and how many are; each is opened and asked for its sizes."""
    at_hand = []
    for name, found in registry.datasets.items():
        try:
            for split in found.splits:
                registry.dataset(name, offline=True).size(split)
        except PreimageError:
            fetched = isinstance(found, DatasetCard) and found.downloads
            advice = (
                "it is downloaded when it is first used" if fetched else f"`preimage run -d {name}` says what to do"
            )
            yield Finding(f"data set {name}", "missing", "not on this machine", advice)
        except Exception as error:  # a stranger's reader may raise anything
            yield Finding(f"data set {name}", "broken", f"{type(error).__name__}: {error}", "only this data set fails")
        else:
            at_hand.append(name)
    yield Finding("data sets", "ok", f"{len(at_hand)} at hand: {', '.join(at_hand)}")


def _hub_cache() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _token_file() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_TOKEN_PATH)


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
