"""Boards in a real browser: sorting, filters, search, permalinks; without scripts, in the dark, on a narrow screen."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from preimage.leaderboard import index_page
from preimage.leaderboard.site import build_site
from tests.browser.conftest import REPORTED
from tests.browser.waiting import until
from tests.leaderboard.synthetic_results import HOSTILE

Tab = Callable[..., Any]
RECOVERY, AGAIN = "fashion-mnist~~recovery~~quick", "fashion-mnist~~recovery~~again"


def rows(page: Any, board: str = RECOVERY) -> list[str]:
    """The visible models of a board, in their order."""
    found = page.locator(f'table[data-board="{board}"] tbody tr:visible th')
    return [text.split("\n")[0] for text in found.all_inner_texts()]


def column(page: Any, head: str, board: str = RECOVERY) -> list[float]:
    """The numbers of a column, in the order of the visible rows; what is not measured is nan."""
    return page.evaluate(
        """([board, head]) => {
            const table = document.querySelector(`table[data-board="${board}"]`);
            const at = [...table.tHead.rows[0].cells].findIndex((cell) => cell.dataset.sort === head);
            return [...table.tBodies[0].rows].filter((r) => !r.hidden).map((r) => parseFloat(r.cells[at].dataset.v));
        }""",
        [board, head],
    )


def head(page: Any, name: str, board: str = RECOVERY) -> Any:
    return page.locator(f'table[data-board="{board}"] th[data-sort="{name}"]')


def wait_for_order(page: Any, name: str, way: str | None, board: str = RECOVERY) -> None:
    """Wait until a column says how it is sorted: a click changes the address, and the page follows a moment later."""
    cell = f'table[data-board="{board}"] th[data-sort="{name}"]'
    wanted = "null" if way is None else f"'{way}'"
    until(page, f"document.querySelector('{cell}').getAttribute('aria-sort') === {wanted}")


def test_a_click_on_a_header_sorts_and_a_third_restores(tab: Tab) -> None:
    page = tab("index.html")
    before = rows(page)
    button = head(page, "psnr").get_by_role("button")
    button.click()
    wait_for_order(page, "psnr", "descending")
    values = column(page, "psnr")
    measured = [value for value in values if value == value]
    assert measured == sorted(measured, reverse=True)
    assert values[: len(measured)] == measured  # what is not measured comes last
    button.click()
    wait_for_order(page, "psnr", "ascending")
    assert column(page, "psnr")[: len(measured)] == sorted(measured)
    assert rows(page) != before and page.locator("table.resorted").count() == 1
    button.click()
    wait_for_order(page, "psnr", None)
    assert rows(page) == before


def test_every_column_sorts(tab: Tab) -> None:
    page = tab(f"board/{RECOVERY}.html")
    for name in page.evaluate("[...document.querySelectorAll('th[data-sort]')].map((head) => head.dataset.sort)"):
        head(page, name).get_by_role("button").click()
        until(page, f"""document.querySelector('[aria-sort]')?.dataset.sort === {json.dumps(name)}""")
        assert page.locator("[aria-sort]").count() == 1


def test_headers_are_pressed_by_keyboard(tab: Tab) -> None:
    page = tab(f"board/{RECOVERY}.html")
    head(page, "model").get_by_role("button").focus()
    page.keyboard.press("Enter")
    wait_for_order(page, "model", "ascending")
    page.keyboard.press("Space")
    wait_for_order(page, "model", "descending")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('th').dataset.sort") == "mse"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_search_keeps_matching_models_and_a_reload_restores_it(tab: Tab) -> None:
    page = tab("index.html")
    page.get_by_label("search").fill("Fashion-CGAN")
    until(page, "document.querySelector('[role=status]').textContent.startsWith('1 of ')")
    assert rows(page) == ["fashion-cgan"] and "q=Fashion-CGAN" in page.url
    page.reload()
    assert rows(page) == ["fashion-cgan"] and page.get_by_label("search").input_value() == "Fashion-CGAN"
    page.get_by_role("button", name="show everything").click()
    assert len(rows(page)) > 10 and "q=" not in page.url


def test_an_address_restores_order_and_filters(tab: Tab) -> None:
    there = tab("index.html")
    there.get_by_label("kind").select_option("ranked")
    head(there, "psnr").get_by_role("button").click()
    until(there, "location.hash.includes('sort')")
    again = tab(there.url.split("/")[-1])
    assert rows(again) == rows(there) and "1nn" not in rows(again) and "mean-image" not in rows(again)
    assert head(again, "psnr").get_attribute("aria-sort") == "descending"


def test_the_back_button_undoes_a_filter(tab: Tab) -> None:
    page = tab("index.html")
    page.get_by_label("kind").select_option("aside")
    until(page, "location.hash.includes('kind=aside')")
    assert rows(page) == ["1nn", "mean-image"]
    page.go_back()
    until(page, "!location.hash.includes('kind')")
    assert len(rows(page)) > 10 and page.get_by_label("kind").input_value() == ""


def test_suites_benchmarks_families_tags_and_outcomes_are_filtered(tab: Tab) -> None:
    page = tab("index.html")
    sections = page.locator("section.benchmark:visible")
    everything = sections.count()
    page.get_by_label("suite").select_option(label="again")
    assert sections.count() == 1 and len(rows(page, AGAIN)) == 2
    page.get_by_label("suite").select_option("")
    page.locator("select[name=benchmark]").select_option(label="classification")
    assert sections.count() == 1 < everything
    page.get_by_label("status").select_option("refused")
    assert page.locator("section.benchmark table:visible").count() == 0
    assert page.get_by_text("unconditional: it has no generator per class").first.is_visible()
    page.get_by_role("button", name="show everything").click()
    page.get_by_label("tag").select_option(label="conditional")
    assert rows(page) == ["fashion-cgan"]
    page.get_by_label("tag").select_option("")
    page.get_by_label("family").select_option(label="linear-gaussian")
    assert rows(page) == ["ppca"]


def test_groups_are_bracketed_and_say_with_whom_they_tie(tab: Tab) -> None:
    page = tab(f"board/{RECOVERY}.html")
    assert page.locator("td.rank.one, td.rank.first").count() >= 2
    widths = page.evaluate(
        "[...document.querySelectorAll('td.rank.in')].map((c) => getComputedStyle(c, '::after').width)"
    )
    assert widths and set(widths) == {"3px"}
    assert page.get_by_text("of its paired difference to the group's first").count() == 1


def test_figures_of_papers_stand_apart_and_are_not_ranked(tab: Tab) -> None:
    page = tab("index.html")
    reported = page.locator("details.reported")
    assert reported.count() == 1
    reported.locator("summary").click()
    assert REPORTED["model"] in reported.inner_text() and "0.0123" in reported.inner_text()
    boards = page.locator("table.board")
    assert all(REPORTED["model"] not in text for text in boards.all_inner_texts())


def test_hostile_names_and_addresses_are_inert(tab: Tab) -> None:
    attack = "<img src=//evil.example/x onerror=alert(1)>"
    page = tab(f"index.html#q={quote(attack)}&family={quote(attack)}&sort.{quote(attack)}=a:asc&{quote(attack)}")
    assert page.get_by_label("search").input_value() == attack and not rows(page)
    page.get_by_role("button", name="show everything").click()
    assert HOSTILE[0] in rows(page) and not page.locator('img[src*="evil"]').count()


def test_a_board_that_is_cut_sorts_on_its_own_page(browser: Any, database: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_page, "CUTS", ((3, 4),))
        index = build_site(database, tmp_path / "site")
    page = browser.new_page()
    page.goto(index.as_uri())
    assert len(rows(page)) == 3 and page.locator("table.glance tbody tr").count() == 4
    page.get_by_label("search").fill("glo")
    until(page, "location.hash.includes('glo')")
    assert (
        page.locator(f"#{RECOVERY.replace('~', chr(92) + '~')} .whole a").first.get_attribute("href").endswith("#q=glo")
    )
    page.get_by_label("search").fill("")
    head(page, "psnr").get_by_role("button").click()
    page.wait_for_url("**/board/*")
    whole = column(page, "psnr")
    assert whole == sorted(whole, reverse=True) and len(whole) > 10
    page.close()


def test_without_scripts_everything_is_there_to_read(tab: Tab) -> None:
    page = tab("index.html", java_script_enabled=False)
    assert page.locator("table.board:visible").count() >= 4 and not page.locator("#filters").is_visible()
    assert page.locator("th button").count() == 0
    page = tab("compare.html", java_script_enabled=False)
    assert "needs JavaScript" in page.inner_text("main") and page.locator("main a:visible").count() > 10


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_have_contrast(tab: Tab, scheme: str) -> None:
    page = tab("index.html", color_scheme=scheme)
    light = {
        name: luminance(
            page.evaluate("(name) => getComputedStyle(document.documentElement).getPropertyValue(name)", name)
        )
        for name in ("--paper", "--ink", "--soft", "--accent", "--warn", "--train", "--test")
    }
    paper = light.pop("--paper")
    assert (paper < 0.05) == (scheme == "dark")
    assert luminance(page.evaluate("getComputedStyle(document.body).backgroundColor")) == pytest.approx(paper)
    for name, value in light.items():
        ratio = (max(paper, value) + 0.05) / (min(paper, value) + 0.05)
        assert ratio >= 4.5, (name, ratio)


def luminance(colour: str) -> float:
    """WCAG's relative luminance of ``#rrggbb`` or ``rgb(r, g, b)``."""
    text = colour.strip()
    parts = [int(text[i : i + 2], 16) for i in (1, 3, 5)] if text[0] == "#" else [int(p) for p in text[4:-1].split(",")]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in (part / 255 for part in parts)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_every_page_opens_and_fits_a_narrow_screen(tab: Tab, site: Path) -> None:
    pages = sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))
    page = tab("index.html", viewport={"width": 400, "height": 800})
    for name in [*pages, "compare.html#a=fashion-dcgan&b=ppca"]:
        page.goto(f"{site.as_uri()}/{quote(name, safe='/~#=&.-')}")
        page.wait_for_timeout(50)
        took = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
        print(f"{name}: {took:.0f} ms")
        assert page.evaluate("document.scrollingElement.scrollWidth") <= 400, name
