"""A database as a static site: a pure function, the same database gives the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from preimage.harness.results import Results
from preimage.harness.score_files import scores_csv, scores_json
from preimage.leaderboard import interval_bars, words
from preimage.leaderboard.album import Album
from preimage.leaderboard.board import protocol_in_short
from preimage.leaderboard.folder import write_site
from preimage.leaderboard.index_page import index_context
from preimage.leaderboard.model_page import model_context
from preimage.leaderboard.records import read_records

if TYPE_CHECKING:
    from jinja2 import Environment

HERE = Path(__file__).parent


def build_site(database: Path, out: Path) -> Path:
    """Write the site of a database into a folder; the path of its first page.

    Raises StoreError for a database that cannot be read, SiteError for a folder that holds something else.
    """
    files = site_files(database)
    write_site(out, files)
    return out / "index.html"


def site_files(database: Path) -> dict[str, bytes]:
    """Every file of the site, by path."""
    pages, album = _environment(), Album()
    with Results(database) as results:
        results.db.execute("BEGIN")  # one state of the database, whoever writes meanwhile
        records = read_records(results)
        files = {"index.html": _page(pages, "index.html", root="", **index_context(results, records, album))}
        for model in records.models:
            context = model_context(results, records, model, album)
            files[f"model/{model.slug}.html"] = _page(pages, "model.html", root="../", **context)
    files["scores.json"] = scores_json(records.scores).encode()
    files["scores.csv"] = scores_csv(records.scores).encode()
    for path in sorted((HERE / "static").glob("*.css")):
        files[f"static/{path.name}"] = path.read_bytes()
    return {**files, **album.files}


def _page(pages: Environment, template: str, **context: object) -> bytes:
    return pages.get_template(template).render(**context).encode()


def _environment() -> Environment:
    """The templates. Everything is escaped; a name that a template misspells is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    pages = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters.update(
        shown=words.shown,
        tail=words.tail,
        count=words.count,
        seconds=words.seconds,
        better=words.better,
        flat=words.flat,
    )
    pages.globals.update(protocol_in_short=protocol_in_short, bars=interval_bars)
    return pages
