"""A real browser for the site's pages: Debian's chromium, driven by playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from preimage.benchmarks.recovery import RecoveryBenchmark
from preimage.harness import statistics
from preimage.harness.store import Store
from preimage.leaderboard.site import build_site
from tests.leaderboard.synthetic_results import OPTIONS, cards, evaluate, hostile_cards, write_database

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
REPORTED = {
    "suite": "webster2019",
    "model": "DCGAN <b>",
    "dataset": "celeba",
    "benchmark": "overfitting",
    "metric": "mre_gap",
    "value": 0.0123,
    "source": "Webster et al., CVPR 2019, table 1",
}


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """One browser for all tests. Skips where there is none, and fails where one must be there."""
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        path = None
    if path is None:
        told = "no chromium or no playwright: apt-get install chromium, pip install playwright"
        if os.environ.get("CI") or os.environ.get("PREIMAGE_NEEDS_BROWSER"):
            pytest.fail(told)
        pytest.skip(told)
    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shipped shapes, hostile cards, a failure, two suites, and a figure of a paper."""
    path = tmp_path_factory.mktemp("results") / "preimage.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "RESAMPLES", 200)
        write_database(path, [*cards(), *hostile_cards()])
        with Store(path) as store:
            run = store.begin_run("preimage run", 0, "", {}, {})
            for card in cards()[:2]:
                evaluate(store, run, card, RecoveryBenchmark(), suite="again", options=OPTIONS)
            store.db["reported"].insert(REPORTED)
            store.db.conn.commit()
    return path


@pytest.fixture(scope="session")
def site(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_site(database, tmp_path_factory.mktemp("sites") / "site").parent


@pytest.fixture
def tab(browser: Any, site: Path) -> Iterator[Callable[..., Any]]:
    """Opens pages of the site. Afterwards: no console error, no dialog, no request that left the folder."""
    contexts, wrong = [], []

    def told(message: Any) -> None:
        if message.type in ("error", "warning"):
            wrong.append(message.text)

    def asked(request: Any) -> None:
        if not request.url.startswith((site.as_uri(), "data:")):
            wrong.append(f"request to {request.url}")

    def open_page(path: str, **settings: Any) -> Any:
        contexts.append(browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **settings}))
        page = contexts[-1].new_page()
        page.set_default_timeout(10_000)
        page.on("console", told)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: (wrong.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on("request", asked)
        page.goto(f"{site.as_uri()}/{path}")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not wrong
