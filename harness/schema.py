"""The database's tables, one migration per change. Strict types, foreign keys, no NaN (NOT NULL refuses it)."""

from __future__ import annotations

from sqlite_utils import Database, Migrations

APPLICATION_ID = 0x70726569  # "prei": tells our databases from others
MIGRATIONS = Migrations("preimage")

_TABLES = (
    # One command that wrote here: with what, where, when.
    """CREATE TABLE run (
        id INTEGER PRIMARY KEY, command TEXT NOT NULL, started TEXT NOT NULL, finished TEXT, git_revision TEXT NOT NULL,
        packages TEXT NOT NULL, machine TEXT NOT NULL, seed INTEGER NOT NULL) STRICT""",
    # A model's card as it was when last run.
    """CREATE TABLE model (
        name TEXT PRIMARY KEY, family TEXT NOT NULL, identity TEXT NOT NULL, kind TEXT NOT NULL, card TEXT NOT NULL
        ) STRICT""",
    # A benchmark as it was when last run; `metrics` is {name: {unit, better, meaning}}.
    """CREATE TABLE benchmark (
        name TEXT PRIMARY KEY, version INTEGER NOT NULL, question TEXT NOT NULL, metrics TEXT NOT NULL) STRICT""",
    # Figures that papers give.
    """CREATE TABLE reported (
        model TEXT NOT NULL, dataset TEXT NOT NULL, metric TEXT NOT NULL, value REAL NOT NULL, source TEXT NOT NULL,
        PRIMARY KEY (model, dataset, metric, source)) STRICT""",
    # Everything that can change a measurement's numbers, by the hash of it.
    """CREATE TABLE request (
        key TEXT PRIMARY KEY, kind TEXT NOT NULL, version INTEGER NOT NULL, model TEXT NOT NULL,
        description TEXT NOT NULL) STRICT""",
    # A finished block of images of a request; written whole, in one transaction.
    """CREATE TABLE block (
        id INTEGER PRIMARY KEY, request TEXT NOT NULL REFERENCES request(key), number INTEGER NOT NULL,
        rows INTEGER NOT NULL, pixels TEXT NOT NULL, evaluations INTEGER NOT NULL, seconds REAL NOT NULL,
        run INTEGER NOT NULL REFERENCES run(id), UNIQUE (request, number)) STRICT""",
    """CREATE TABLE row (
        block INTEGER NOT NULL REFERENCES block(id), image INTEGER NOT NULL, label INTEGER NOT NULL,
        outcome TEXT NOT NULL, code BLOB, PRIMARY KEY (block, image, label)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE row_value (
        block INTEGER NOT NULL, image INTEGER NOT NULL, label INTEGER NOT NULL, name TEXT NOT NULL, value REAL NOT NULL,
        PRIMARY KEY (block, name, image, label),
        FOREIGN KEY (block, image, label) REFERENCES row(block, image, label)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE picture (
        block INTEGER NOT NULL REFERENCES block(id), name TEXT NOT NULL, png BLOB NOT NULL,
        PRIMARY KEY (block, name)) STRICT, WITHOUT ROWID""",
    # A benchmark applied to a model: what it asked for and how that ended. `asks` is [{role, request, count}].
    """CREATE TABLE evaluation (
        id INTEGER PRIMARY KEY, model TEXT NOT NULL REFERENCES model(name), dataset TEXT NOT NULL,
        benchmark TEXT NOT NULL,
        suite TEXT NOT NULL, version INTEGER NOT NULL, options TEXT NOT NULL, asks TEXT NOT NULL,
        status TEXT NOT NULL CHECK (status IN ('ok', 'refused', 'failed')), reason TEXT NOT NULL, trace TEXT NOT NULL,
        command TEXT NOT NULL, created TEXT NOT NULL, run INTEGER NOT NULL REFERENCES run(id),
        UNIQUE (model, dataset, benchmark, suite)) STRICT""",
    """CREATE TABLE metric_score (
        evaluation INTEGER NOT NULL REFERENCES evaluation(id) ON DELETE CASCADE, metric TEXT NOT NULL,
        value REAL NOT NULL, low REAL, high REAL, n INTEGER NOT NULL, unit TEXT NOT NULL,
        better TEXT NOT NULL CHECK (better IN ('higher', 'lower', 'none')),
        PRIMARY KEY (evaluation, metric)) STRICT, WITHOUT ROWID""",
    # What scripts read. A refused or failed evaluation is one row with metric '*'.
    """CREATE VIEW score AS SELECT
        e.model, m.family, e.dataset, e.benchmark, coalesce(s.metric, '*') AS metric, s.value, s.low, s.high,
        coalesce(s.n, 0) AS n, coalesce(s.unit, '') AS unit, coalesce(s.better, 'none') AS better, e.suite, e.status,
        e.reason, coalesce(json_extract(e.asks, '$[0].request'), '') AS request, e.created
        FROM evaluation e JOIN model m ON m.name = e.model LEFT JOIN metric_score s ON s.evaluation = e.id
        ORDER BY e.dataset, e.benchmark, e.suite, e.model, s.metric""",
)


@MIGRATIONS()
def first_tables(db: Database) -> None:
    """The tables of version 1."""
    for statement in _TABLES:
        db.execute(statement)


@MIGRATIONS()
def paired_comparisons_and_figures_of_papers(db: Database) -> None:
    """Version 2: bootstrap replicates of scores, formulas of benchmarks, figures of papers by suite and benchmark."""
    db.execute("ALTER TABLE metric_score ADD COLUMN replicates BLOB NOT NULL DEFAULT x''")
    db.execute("ALTER TABLE benchmark ADD COLUMN formula TEXT NOT NULL DEFAULT ''")
    db.execute("ALTER TABLE reported RENAME TO reported_1")
    db.execute(
        """CREATE TABLE reported (
        suite TEXT NOT NULL, model TEXT NOT NULL, dataset TEXT NOT NULL, benchmark TEXT NOT NULL, metric TEXT NOT NULL,
        value REAL NOT NULL, source TEXT NOT NULL,
        PRIMARY KEY (suite, model, dataset, benchmark, metric, source)) STRICT"""
    )
    db.execute("INSERT INTO reported SELECT '', model, dataset, '', metric, value, source FROM reported_1")
    db.execute("DROP TABLE reported_1")


@MIGRATIONS()
def what_networks_do_to_images_first(db: Database) -> None:
    """Version 3: by the identity of a distance or an extractor, in a line, how it makes images ready."""
    db.execute("CREATE TABLE network (identity TEXT PRIMARY KEY, rule TEXT NOT NULL) STRICT")


VERSION = 3
"""How many migrations there are; kept in the file as ``PRAGMA user_version``."""


def migrate(db: Database) -> None:
    """Bring a database, which may be empty, to this version's tables, whole or not at all."""
    db.execute("BEGIN IMMEDIATE")
    try:
        MIGRATIONS.apply(db)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {VERSION}")
        db.commit()
    except BaseException:
        db.rollback()
        raise
