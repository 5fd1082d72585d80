"""Two models side by side in a real browser: the numbers of the paired bootstrap, pictures, what is missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from preimage.harness.pairing import difference
from preimage.harness.results import Results
from preimage.leaderboard.slugs import slug
from tests.browser.waiting import until
from tests.leaderboard.synthetic_results import HOSTILE

Tab = Callable[..., Any]


def lines(page: Any) -> dict[str, list[str]]:
    """By metric, the texts of the cells of the first table that has it."""
    page.wait_for_selector("table.compared")
    found: dict[str, list[str]] = {}
    for row in page.locator("table.compared tbody tr").all():
        name, *cells = [text.strip() for text in row.locator("th, td").all_inner_texts()]
        found.setdefault(name.split("\n")[0], cells)
    return found


def numbers(text: str) -> list[float]:
    """The value and the ends of its interval."""
    return [
        float(part) for part in text.replace("\u2212", "-").replace("[", "").replace("]", "").replace(",", "").split()
    ]


def test_differences_are_those_of_the_paired_bootstrap(tab: Tab, database: Path) -> None:
    page = tab("compare.html#a=fashion-cgan&b=fashion-glo-128")
    shown = lines(page)
    with Results(database) as results:
        stored = {(e.model, e.benchmark, e.suite): e for e in results.evaluations()}
        for benchmark, metric in [("recovery", "mse"), ("recovery", "psnr"), ("overfitting", "mre_gap")]:
            one, other = (stored[name, benchmark, "quick"] for name in ("fashion-cgan", "fashion-glo-128"))
            expected = difference(results, one, other, metric)
            assert expected is not None
            value, low, high = numbers(shown[metric][2])
            slack = 0.03 * (expected.high - expected.low)  # two digits are printed
            assert [value, low, high] == pytest.approx([expected.value, expected.low, expected.high], abs=slack)
            verdict = shown[metric][4].split("\n")[0]
            assert (verdict == "tie") == expected.tie
            assert verdict in ("tie", "A is better", "B is better")
    assert shown["floor_mse"][2] == "no paired difference"


@pytest.mark.parametrize("other", ["fashion-dcgan", "fashion-glo-128", "ppca", "mean-image"])
def test_every_tie_is_the_harness_tie(tab: Tab, database: Path, other: str) -> None:
    """Shares of few images have intervals that end at exactly 0, which rounded replicates must not move."""
    page = tab(f"compare.html#a=fashion-cgan&b={other}")
    shown, judged = lines(page), 0
    with Results(database) as results:
        stored = {(e.model, e.benchmark, e.suite): e for e in results.evaluations()}
        for benchmark in ("recovery", "overfitting"):
            for metric in ("mse", "mse_median", "psnr", "l2", "share_outside_prior", "mre_gap", "mre_train", "mre_val"):
                pair = [stored[name, benchmark, "quick"] for name in ("fashion-cgan", other)]
                expected = difference(results, *pair, metric)
                if expected is not None:
                    judged += 1
                    assert (shown[metric][4].split("\n")[0] == "tie") == expected.tie, metric
    assert judged == 8


def test_swapping_turns_the_difference_and_back_undoes_it(tab: Tab) -> None:
    page = tab("compare.html#a=fashion-cgan&b=fashion-glo-128")
    before = numbers(lines(page)["mse"][2])
    page.get_by_role("button", name="swap").click()
    until(page, "location.hash === '#a=fashion-glo-128&b=fashion-cgan'")
    until(page, "document.querySelector('.versus').textContent.startsWith('A fashion-glo')")
    value, low, high = numbers(lines(page)["mse"][2])
    assert [-value, -high, -low] == pytest.approx(before)
    page.go_back()
    until(page, "document.querySelector('.versus').textContent.startsWith('A fashion-cgan')")
    assert numbers(lines(page)["mse"][2]) == before


def test_models_are_chosen_on_the_page(tab: Tab) -> None:
    page = tab("compare.html")
    assert page.get_by_role("status").inner_text() == "Choose two models."
    page.get_by_label("Model A").select_option("fashion-dcgan")
    page.get_by_label("Model B").select_option(label="1nn (reference)")
    lines(page)
    assert "b=1nn" in page.url and "shared scores" in page.get_by_role("status").inner_text()
    assert page.get_by_text("unconditional: it has no generator per class").is_visible()


def test_targets_stand_above_both_recoveries(tab: Tab) -> None:
    page = tab("compare.html#a=fashion-dcgan&b=ppca")
    lines(page)
    exhibits = page.locator("table.exhibit")
    assert exhibits.count() >= 2
    for exhibit in exhibits.all():
        sources = exhibit.locator("img").evaluate_all("(images) => images.map((i) => i.getAttribute('src'))")
        assert len(sources) == 3 and all(image.get_attribute("alt") for image in exhibit.locator("img").all())


def test_a_model_beside_itself_ties_everywhere(tab: Tab) -> None:
    page = tab("compare.html#a=ppca&b=ppca")
    for metric in ("mse", "psnr", "l2"):
        assert lines(page)[metric][4] == "tie" and numbers(lines(page)[metric][2]) == [0, 0, 0]


def test_a_board_leads_to_the_comparison_of_two_models(tab: Tab) -> None:
    page = tab("index.html")
    page.locator("td.apart a").first.click()
    page.wait_for_url("**/compare.html#a=*&b=*")
    assert lines(page)


def test_hostile_names_are_text_and_unknown_ones_are_nobody(tab: Tab) -> None:
    page = tab(f"compare.html#a={slug(HOSTILE[0])}&b={slug(HOSTILE[2])}")
    lines(page)
    assert HOSTILE[0] in page.inner_text(".versus") and HOSTILE[2] in page.inner_text(".versus")
    page.goto(page.url.split("#")[0] + "#a=../evil&b=%3Cscript%3E")
    until(page, "document.querySelector('[role=status]').textContent === 'Choose two models.'")
    assert not page.locator('script[src*="evil"]').count()
