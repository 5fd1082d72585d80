"""A database as a static site: a pure function, the same database gives the same bytes."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from preimage.harness.likelihood_scores import BITS_PER_DIM
from preimage.harness.results import Results
from preimage.harness.score_files import scores_csv, scores_json
from preimage.leaderboard import curve, interval_bars, words
from preimage.leaderboard.album import Album
from preimage.leaderboard.benchmark_page import benchmark_contexts, benchmark_path
from preimage.leaderboard.compare_page import compare_context, compare_files
from preimage.leaderboard.download import copy_database
from preimage.leaderboard.folder import Content, write_site
from preimage.leaderboard.index_page import fitting, index_context
from preimage.leaderboard.model_page import model_context
from preimage.leaderboard.proof import BITS_TOLD, UNRELIABLE_TOLD, lack_of
from preimage.leaderboard.protocol import protocol_in_short
from preimage.leaderboard.records import read_records
from preimage.leaderboard.sections import section_context, sections_of
from preimage.leaderboard.slugs import slug
from preimage.leaderboard.ties import paired_in

if TYPE_CHECKING:
    from jinja2 import Environment

HERE = Path(__file__).parent
DATABASE = "preimage.db"


def build_site(database: Path, out: Path) -> Path:
    """Write the site of a database into a folder; the path of its first page.

    Raises StoreError for a database that cannot be read, SiteError for a folder that holds something else.
    """
    with TemporaryDirectory() as folder:
        write_site(out, site_files(database, Path(folder)))
    return out / "index.html"


def site_files(database: Path, folder: Path) -> dict[str, Content]:
    """Every file of the site, by path. folder: where the copy of the database is made."""
    pages, album = _environment(), Album()
    with Results(database) as results:
        results.db.execute("BEGIN")  # one state of the database, whoever writes meanwhile
        records = read_records(results)
        sections = sections_of(records, paired_in(results))
        files: dict[str, Content] = {DATABASE: copy_database(results, folder / "copy.db")}
        index = index_context(results, records, sections, album)
        files["index.html"] = fitting(
            sections, lambda lines, rows: _page(pages, "index.html", root="", most=lines, most_rows=rows, **index)
        )
        for section in sections:
            files[section.page] = _page(pages, "section.html", root="../", **section_context(section))
        files["compare.html"] = _page(pages, "compare.html", root="", **compare_context(records))
        files.update(compare_files(results, records, sections, album))
        for path, context in benchmark_contexts(results, sections):
            files[path] = _page(pages, "benchmark.html", root="../", **context)
        for model in records.models:
            context = model_context(results, records, model, album)
            files[f"model/{model.slug}.html"] = _page(pages, "model.html", root="../", **context)
    files["scores.json"] = scores_json(records.scores).encode()
    files["scores.csv"] = scores_csv(records.scores).encode()
    for static in sorted((HERE / "static").iterdir()):
        if static.suffix in (".css", ".js"):
            files[f"static/{static.name}"] = static.read_bytes()
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
    pages.filters["slug"] = slug
    pages.globals.update(protocol_in_short=protocol_in_short, bars=interval_bars)
    pages.globals.update(curve=curve, benchmark_path=benchmark_path)
    pages.globals.update(bits_formula=BITS_PER_DIM, bits_told=BITS_TOLD, unreliable_told=UNRELIABLE_TOLD)
    pages.globals.update(lack_of=lack_of)
    return pages
