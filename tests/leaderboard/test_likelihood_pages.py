"""Boards and pages of likelihoods: a score stands with its proof, and one that is not proven says so everywhere."""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from likelihood_results import (
    DIM,
    LIMIT,
    LOOSE,
    MADE,
    OUTLIERS,
    SIGMA2,
    SIZE,
    measure,
    scored,
    thumbnails,
    with_outliers,
    write_likelihoods,
)
from pages import Page
from PIL import Image

from preimage.benchmarks.likelihood import LikelihoodBenchmark
from preimage.harness import statistics
from preimage.harness.benchmark import Model
from preimage.harness.likelihood_scores import BITS_PER_DIM, UNRELIABLE, marginal
from preimage.harness.requests import ModelKey, Request
from preimage.harness.results import Results
from preimage.harness.rows import Rows
from preimage.harness.store import Store
from preimage.leaderboard.album import Album
from preimage.leaderboard.benchmark_page import MOST_PANELLED
from preimage.leaderboard.board import Board, Line, boards_of
from preimage.leaderboard.columns import printed
from preimage.leaderboard.curve import AxisName
from preimage.leaderboard.histogram import Sample, histogram_of
from preimage.leaderboard.likelihood_plots import likelihood_dots, likelihood_panels
from preimage.leaderboard.likelihoods import ENDS, Likelihoods, likelihoods_of, per_image
from preimage.leaderboard.measured import SIMULATED, measured_of
from preimage.leaderboard.proof import BITS_TOLD, DOUBT
from preimage.leaderboard.records import BenchmarkRecord, Metric, read_records
from preimage.leaderboard.sections import sections_of
from preimage.leaderboard.site import build_site
from preimage.leaderboard.small_charts import FRAME, MOST_PANELS, Panels, Sketch, Told, Trace, panels_of
from preimage.leaderboard.ties import unpaired

UNSURE, SURE = "fashion-cgan", ("fashion-dcgan", "fashion-glo-128", "ppca")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "RESAMPLES", 20)
        yield write_likelihoods(tmp_path_factory.mktemp("likelihoods") / "preimage.db")


@pytest.fixture(scope="module")
def site(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_site(database, tmp_path_factory.mktemp("sites") / "site").parent


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Likelihoods under two noises each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "RESAMPLES", 20)
        folder = tmp_path_factory.mktemp("grid")
        yield write_likelihoods(folder / "preimage.db", sigma2=(0.01, 0.02))


@pytest.fixture
def results(database: Path) -> Iterator[Results]:
    with Results(database) as found:
        yield found


def changed(database: Path, folder: Path, statement: str) -> Path:
    """A copy of the database after a statement."""
    copy = Path(shutil.copy(database, folder / "changed.db"))
    with sqlite3.connect(copy) as db:
        db.execute(statement)
    db.close()
    return copy


def board_of(results: Results, benchmark: str = "likelihood") -> Board:
    [section] = [s for s in sections_of(read_records(results), unpaired) if s.benchmark.name == benchmark]
    [board] = section.boards
    return board


def lines_of(board: Board) -> dict[str, Line]:
    return {line.model.name: line for line in board.lines}


def columns_of(board: Board, *, brief: bool = False) -> list[str]:
    return [board.columns[place].name for place in board.printed(brief)]


def told_in(site: Path, page: str, model: str) -> str:
    """The line of a model in the table of a board, as markup."""
    source = (site / page).read_text()
    [row] = [row for row in re.findall(r"<tr.*?</tr>", source, re.S) if f"model/{model}.html" in row and "gap " in row]
    return row


def test_the_proof_stands_in_the_cell_of_the_likelihood(results: Results, site: Path) -> None:
    scores = {(s["model"], s["metric"]): s for s in results.scores() if s["benchmark"] == "likelihood"}
    for name, line in lines_of(board_of(results)).items():
        cell = line.cells[0]
        assert cell is not None and line.entry.figures["log_likelihood"].value == cell.raw
        gap, told, chains = cell.notes
        low, high = scores[name, "bdmc_gap"]["low"], scores[name, "bdmc_gap"]["high"]
        numbers = [float(text) for text in re.findall(r"[\d.]+", gap)]
        assert numbers == pytest.approx([scores[name, "bdmc_gap"]["value"], low, high], rel=0.06)
        assert told.startswith("median ") and told.endswith("of 16 simulated")
        ess = scores[name, "ess"]["value"]
        assert chains == f"ESS {ess:.1f} of 4, acceptance 0.75"
        row = told_in(site, "board/fashion-mnist~~likelihood.html", name)
        assert all(note in row for note in cell.notes) and row.index("ESS") < row.index('class="drawn"')


def test_what_stands_in_a_cell_has_no_column_of_its_own(results: Results, site: Path) -> None:
    board = board_of(results)
    shown = ["log_likelihood", "log_likelihood/exact", "bits_per_dim", "sigma2"]
    assert columns_of(board) == shown == columns_of(board, brief=True)
    assert {"bdmc_gap", "ess", "acceptance", "sigma2_psnr"} <= {column.name for column in board.columns}
    page = Page(site / "board" / "fashion-mnist~~likelihood.html")
    assert "effective number of chains" in page.text  # explained below the table all the same
    place = next(k for k, column in enumerate(board.columns) if column.name == "sigma2")
    assert all(line.cells[place] and line.cells[place].notes == ("PSNR 19.1 dB",) for line in board.lines)  # type: ignore[union-attr]
    assert pytest.approx(10 * np.log10(1 / SIGMA2), abs=0.05) == 19.1


def test_other_benchmarks_print_all_their_columns() -> None:
    names = ("mse", "bdmc_gap", "ess", "sigma2_psnr")
    assert printed("a stranger's", [Metric(name, "", "none", "") for name in names], brief=True) == [0, 1, 2, 3]


def test_an_unproven_likelihood_is_called_unreliable_and_keeps_its_place(results: Results) -> None:
    lines = lines_of(board_of(results))
    assert lines[UNSURE].rank == 1 and LOOSE / (SIZE * np.log(2)) > UNRELIABLE
    doubts = {name: [cell.doubt for cell in line.cells if cell is not None] for name, line in lines.items()}
    named = {"log_likelihood", "bits_per_dim"}
    columns = board_of(results).columns
    for column, cell in zip(columns, lines[UNSURE].cells, strict=True):
        assert (cell is not None and cell.doubt == DOUBT) == (column.name in named)
    assert all(not any(doubts[name]) for name in SURE)


@pytest.mark.parametrize(("bits", "expected"), [(UNRELIABLE, False), (1.001 * UNRELIABLE, True)])
def test_a_score_is_unreliable_above_the_limit_only(
    database: Path, tmp_path: Path, bits: float, expected: bool
) -> None:
    copy = changed(database, tmp_path, f"UPDATE metric_score SET value = {bits} WHERE metric = 'bdmc_gap_bits'")
    with Results(copy) as results:
        board = board_of(results)
    assert board.unreliable == (len(MADE) if expected else 0)


def test_every_page_with_the_score_marks_it_with_a_word(site: Path) -> None:
    mark = '<span class="flag"><span aria-hidden="true">▲ </span>unreliable</span>'
    for page in ("index.html", "board/fashion-mnist~~likelihood.html"):
        assert mark in told_in(site, page, UNSURE)
        assert all(DOUBT not in told_in(site, page, name) for name in SURE)
        assert "do not read a ranking into it" in Page(site / page).text
    glance = (site / "index.html").read_text().split('class="board glance"')[1].split("</table>")[0]
    rows = re.findall(r"<tr(?:(?!</tr>).)*unreliable", glance, re.S)
    assert len([row for row in rows if f"model/{UNSURE}.html" in row]) == 1 and len(rows) == 1
    models = {name: (site / "model" / f"{name}.html").read_text() for name in MADE}
    assert mark in models[UNSURE] and "<strong>Unreliable.</strong>" in models[UNSURE]
    assert all("nreliable." not in models[name] and mark not in models[name] for name in SURE)
    assert mark in (site / "benchmark" / "likelihood.html").read_text()
    scripts = {name: (site / "compare" / f"{name}.js").read_text() for name in MADE}
    assert scripts[UNSURE].count('"doubt":"unreliable"') == 2  # of nats and of bits
    assert all('"doubt":"unreliable"' not in scripts[name] for name in SURE)


def test_a_likelihood_without_a_gap_says_so(database: Path, tmp_path: Path) -> None:
    copy = changed(database, tmp_path, "DELETE FROM metric_score WHERE metric LIKE 'bdmc%'")
    site = build_site(copy, tmp_path / "site").parent
    for name in MADE:
        row = re.findall(r"<tr.*?</tr>", (site / "board" / "fashion-mnist~~likelihood.html").read_text(), re.S)
        [row] = [r for r in row if f"model/{name}.html" in r]
        assert row.count("no gap measured") == 2 and DOUBT not in row and "acceptance 0.75" in row
    with Results(copy) as results:
        assert len(likelihood_dots(board_of(results))) == 1


def test_the_closed_form_stands_right_beside_its_estimate(results: Results) -> None:
    board = board_of(results)
    names = [column.name for column in board.columns]
    place = names.index("log_likelihood") + 1
    assert names[place] == "log_likelihood/exact" and board.lack(place) == "no closed form"
    assert board.lack(0) == "not measured"
    lines = lines_of(board)
    cell = lines["ppca"].cells[place]
    assert cell is not None and cell.raw == pytest.approx(lines["ppca"].entry.figures["log_likelihood"].value + 0.05)
    assert cell.notes[0] == "estimate − exact:" and cell.notes[1].startswith("−0.05") and not cell.doubt
    assert all(lines[name].cells[place] is None for name in lines if name != "ppca")
    bits = {name: line.cells[names.index("bits_per_dim")] for name, line in lines.items()}
    assert {name: cell.notes[1:] != () for name, cell in bits.items() if cell} == {n: n == "ppca" for n in lines}
    closed = lines["ppca"].entry.figures["bits_per_dim/exact"].value
    assert bits["ppca"] is not None and bits["ppca"].notes[1] == f"exact {closed:.2f}".replace("-", "\N{MINUS SIGN}")


def test_pages_of_a_model_without_a_closed_form_say_so(site: Path) -> None:
    page = "board/fashion-mnist~~likelihood.html"
    assert "no closed form" in told_in(site, page, "fashion-dcgan") and "closed form" not in told_in(site, page, "ppca")
    head = r'<th scope="col" class="n">closed form</th>'
    assert re.search(head, (site / "model" / "ppca.html").read_text())
    assert not re.search(head, (site / "model" / "fashion-dcgan.html").read_text())


def test_the_formula_of_bits_is_printed_wherever_they_stand(site: Path) -> None:
    names = ("board/fashion-mnist~~likelihood.html", "index.html", "benchmark/likelihood.html", "model/ppca.html")
    for name in names:
        text = Page(site / name).text
        assert BITS_PER_DIM in text and BITS_TOLD in text, name
    assert BITS_PER_DIM not in Page(site / "board" / "fashion-mnist~~typicality.html").text
    assert "sampler laplace, 2,500 gradient evaluations a chain, 4 chains" in Page(site / names[0]).text


def test_each_noise_has_its_own_proof(grid: Path) -> None:
    with Results(grid) as results:
        board = board_of(results)
        panels = likelihood_panels(results, board)
    assert columns_of(board)[:4] == [
        "log_likelihood/sigma2=0.01",
        "log_likelihood/exact/sigma2=0.01",
        "log_likelihood/sigma2=0.02",
        "log_likelihood/exact/sigma2=0.02",
    ]
    cells = dict(zip([column.name for column in board.columns], lines_of(board)[UNSURE].cells, strict=True))
    for noise in ("0.01", "0.02"):
        score, sigma2 = cells[f"log_likelihood/sigma2={noise}"], cells[f"sigma2/sigma2={noise}"]
        assert score is not None and score.doubt == DOUBT and len(score.notes) == 3
        assert sigma2 is not None and sigma2.raw == float(noise)
        assert sigma2.notes == (f"PSNR {10 * np.log10(1 / float(noise)):.1f} dB",)
    assert len(panels) == 1 and {key.name for key in panels[0].keys} == {"test images", SIMULATED}
    assert len(columns_of(board, brief=True)) <= 8


def test_columns_of_sizes_are_in_the_order_of_numbers() -> None:
    told = {name: Metric(name, "", "none", "") for name in ("share_train", "share_generated", "share_*", "entropy")}
    record = BenchmarkRecord("typicality", "?", told)
    names = [f"share_{group}/{size}" for group in ("svhn", "train", "generated", "a") for size in (100, 25, 10)]
    ordered = sorted([*names, "entropy"], key=record.order)
    assert ordered[:3] == ["share_train/10", "share_train/25", "share_train/100"]
    assert ordered[3] == "share_generated/10" and ordered[6:9] == ["share_a/10", "share_a/25", "share_a/100"]
    assert ordered[-1] == "entropy" and record.metric("share_svhn/10").name == "share_svhn/10"


def test_the_first_page_prints_one_size_of_sets(results: Results) -> None:
    board = board_of(results, "typicality")
    assert columns_of(board, brief=True) == [
        *("share_train/10", "share_generated/10"),
        *(f"share_{name}/10" for name in OUTLIERS),
    ]
    assert len(columns_of(board)) == len(board.columns) == 2 * (2 + len(OUTLIERS)) + 3


def places(line: str) -> list[tuple[float, float]]:
    return [tuple(map(float, part.split())) for part in re.split("[ML]|h0", line) if part]  # type: ignore[misc]


def only(results: Results, benchmark: str) -> Panels:
    [panels] = likelihood_panels(results, board_of(results, benchmark))
    return panels


def test_acceptance_is_drawn_along_the_path_of_every_model(results: Results) -> None:
    panels = only(results, "likelihood")
    assert [panel.model.name for panel in panels.panels] == [line.model.name for line in board_of(results).lines]
    for panel in panels.panels:
        assert {stroke.name for stroke in panel.strokes} == {"test images", SIMULATED}
        for stroke in panel.strokes:
            drawn = places(stroke.line)
            assert len(drawn) == 16 and not stroke.marks
            heights = [1 - (y - FRAME.top) / (FRAME.bottom - FRAME.top) for _, y in drawn]
            assert heights == pytest.approx([0.95 - 0.025 * k for k in range(16)], abs=1e-3)
            assert [x for x, _ in drawn] == sorted(x for x, _ in drawn)
    assert panels.numbers[0][2:5] == ("0.95", "0.93", "0.90") and len(panels.numbers) == 2 * len(MADE)


def test_gaps_are_drawn_beside_what_is_reliable(results: Results) -> None:
    _, gaps = likelihood_dots(board_of(results))
    assert [column.name for column in gaps.columns] == ["bdmc_gap_bits"] and "0.01" in gaps.chance
    assert gaps.axis.mark is not None
    for line in gaps.lines:
        assert line.cells[0] is not None
        assert (line.cells[0][1].value > gaps.axis.mark) == (line.model.name == UNSURE)


def test_typical_shares_fall_with_the_size_of_sets(results: Results) -> None:
    panels = only(results, "typicality")
    scores = {(s["model"], s["metric"]): s["value"] for s in results.scores() if s["benchmark"] == "typicality"}
    assert [key.name for key in panels.keys] == ["training images", "the model's own draws", *OUTLIERS]
    assert len({(key.style, key.mark) for key in panels.keys}) == len(panels.keys)
    for panel in panels.panels:
        for stroke, group in zip(panel.strokes, ("train", "generated", *OUTLIERS), strict=True):
            heights = [1 - (y - FRAME.top) / (FRAME.bottom - FRAME.top) for _, y in places(stroke.line)]
            expected = [scores[panel.model.name, f"share_{group}/{size}"] for size in (10, 25)]
            assert heights == pytest.approx(expected, abs=1e-3) and stroke.marks.count("m") == 2
    assert panels.head == ("model", "images", "N = 10", "N = 25")


def test_flatness_is_a_point_for_each_image(results: Results) -> None:
    panels = only(results, "flatness")
    for panel in panels.panels:
        [entry] = [
            entry
            for entry in read_records(results).entries
            if (entry.model.name, entry.benchmark.name) == (panel.model.name, "flatness")
        ]
        rows = results.rows(entry.evaluation.asks[0].request, LIMIT)
        drawn = np.array(places(panel.strokes[0].specks))
        assert drawn.shape == (LIMIT, 2) and not panel.strokes[0].line
        assert np.corrcoef(drawn[:, 0], rows["log_likelihood"])[0, 1] > 0.9999
        assert np.corrcoef(drawn[:, 1], rows["variation"])[0, 1] < -0.9999  # heights grow downwards
        value = entry.figures["correlation"].value
        assert panel.note.startswith(f"correlation {value:.3f}".replace("-", "\N{MINUS SIGN}"))


def test_panels_beyond_the_most_are_counted_and_empty_ones_left_out(results: Results) -> None:
    model = board_of(results).lines[0].model
    told = Told("t", "t", AxisName("x", "x"), AxisName("y", "y"))
    full = Sketch(model, (Trace("a", "s0", ((0.0, 1.0), (1.0, 2.0))),), (("m", "a"),))
    empty = Sketch(model, (Trace("b", "s1", ()),), (("never",),))
    found = panels_of([empty, *[full] * (MOST_PANELS + 3)], told, ("model",))
    assert found is not None and len(found.panels) == MOST_PANELS == len(found.numbers) and found.left == 3
    assert [key.name for key in found.keys] == ["a"] and panels_of([empty], told, ("model",)) is None


def test_panels_are_drawn_of_the_protocols_with_most_models(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch, Store(tmp_path / "many.db") as store:
        patch.setattr(statistics, "RESAMPLES", 20)
        run = store.begin_run("preimage run", 0, "", {}, {})
        for number in range(MOST_PANELLED + 1):
            measure(store, run, scored()[0], LikelihoodBenchmark(), f"suite-{number}", limit=10 + number)
    page = Page(build_site(tmp_path / "many.db", tmp_path / "site").parent / "benchmark" / "likelihood.html")
    assert page.text.count("How often proposals are accepted") == MOST_PANELLED
    assert page.text.count("are drawn for the protocols above") == 1


def test_log_likelihoods_stand_on_a_linear_axis_that_gathers_what_is_far_below() -> None:
    test = Sample("test", "test", tuple(np.linspace(500.0, 900.0, 41)))
    near = Sample("near", "s0", tuple(np.linspace(200.0, 600.0, 41)), sets_axis=False)
    far = Sample("far", "s2", (-60_000.0, -50_000.0, 700.0), sets_axis=False)
    drawn = histogram_of([test, near], linear=True)
    assert drawn is not None and not drawn.log and drawn.below is None
    drawn = histogram_of([test, near, far], linear=True)
    assert drawn is not None and not drawn.log and drawn.below is not None and drawn.below.text.startswith("<")
    assert [outline.n for outline in drawn.outlines] == [41, 41, 3] and drawn.outlines[2].counts[0] == 2
    assert drawn.outlines[0].counts[0] == drawn.outlines[1].counts[0] == 0 and drawn.cut
    assert drawn.outlines[2].median_at == drawn.below.at
    assert drawn.x_ticks[0].text == drawn.below.text.removeprefix("< ")
    wide = histogram_of([Sample("wide", "test", (-1450.0, 950.0)), far], linear=True)
    assert wide is not None and wide.below is not None and len(wide.below.text) == 7
    assert wide.x_ticks[0].text != wide.below.text.removeprefix("< ")  # their texts would meet
    positive = histogram_of([Sample("a", "test", (1.0, 1000.0))], linear=True)
    assert positive is not None and not positive.log


def test_labels_are_summed_over_as_scores_are() -> None:
    rng = np.random.default_rng(0)
    values = 800 + 300 * rng.standard_normal(30)
    rows = Rows(np.repeat(np.arange(3), 10), np.tile(np.arange(10), 3), {"log_likelihood": values}, ("",) * 30)
    assert per_image(values.tolist(), 3) == pytest.approx(marginal(rows))
    assert per_image((1.0, 2.0), 2) == (1.0, 2.0) and per_image((), 0) == ()


def shown_of(results: Results, name: str, album: Album | None = None) -> Likelihoods:
    entries = [entry for entry in read_records(results).entries if entry.model.name == name]
    [found] = likelihoods_of(results, album or Album(), measured_of(results, entries))
    return found


def test_a_model_page_shows_the_law_of_every_group_of_images(results: Results, site: Path) -> None:
    found = shown_of(results, "fashion-dcgan")
    own, others = found.histograms
    assert [outline.name for outline in own.outlines] == ["training images", "test images", SIMULATED]
    named = [f"test images of {name}" for name in OUTLIERS]
    assert [outline.name for outline in others.outlines] == ["test images", *named]
    simulated = own.outlines[2]
    assert simulated.n == LIMIT and [g.n for g in found.groups if g.title == SIMULATED] in ([16, LIMIT], [LIMIT])
    assert all(outline.n == LIMIT for outline in (*own.outlines, *others.outlines))
    text = Page(site / "model" / "fashion-dcgan.html").text
    assert "Log-likelihood per image" in text and f"{SIGMA2}" in text and "PSNR 19.1 dB" in text
    [label] = [group for group in found.groups if group.title == "test images"]
    assert label.n == LIMIT and label.told[1:] == ("2.6", "0.75") and label.told[0] == "none"
    [drawn] = [group for group in found.groups if group.title == SIMULATED]
    assert float(drawn.told[0]) == pytest.approx(MADE["fashion-dcgan"].gap, rel=0.3)


def test_conditional_models_compare_groups_under_one_rule(results: Results) -> None:
    own, _ = shown_of(results, "fashion-cgan").histograms
    assert {outline.name for outline in own.outlines} == {
        f"{name}, over all labels" for name in ("training images", "test images", SIMULATED)
    }


def test_the_most_and_least_likely_images_are_cut_from_their_strips(results: Results) -> None:
    album = Album()
    found = shown_of(results, "ppca", album)
    assert found.extremes is not None and found.extremes.n == LIMIT and found.extremes.title == "test images"
    [entry] = [e for e in read_records(results).entries if (e.model.name, e.benchmark.name) == ("ppca", "flatness")]
    law = results.rows(entry.evaluation.asks[0].request, LIMIT)["log_likelihood"]
    assert [tile.number for tile in found.extremes.most] == np.argsort(-law)[:ENDS].tolist()
    assert [tile.number for tile in found.extremes.least] == np.argsort(law)[:ENDS].tolist()
    for tile in (*found.extremes.most, *found.extremes.least):
        assert tile.picture is not None and (tile.picture.width, tile.picture.height) == (56, 56)
        pixels = np.asarray(Image.open(io.BytesIO(album.files[tile.picture.path])))
        assert pixels.shape == (28, 28) and (pixels == tile.number).all()  # a picture tells its number
        assert float(tile.value) == pytest.approx(law[tile.number], abs=1)


def test_pages_without_pictures_have_no_extremes(site: Path, results: Results) -> None:
    assert shown_of(results, "fashion-glo-128").extremes is None
    assert "The most and the least likely" not in Page(site / "model" / "fashion-glo-128.html").text
    page = Page(site / "model" / "ppca.html")
    assert "The most and the least likely" in page.text
    tiles = [image for image in page.all("img") if image["alt"].startswith("Image ")]
    assert len(tiles) == 2 * ENDS and all(tile["loading"] == "lazy" for tile in tiles)


def test_a_lost_or_broken_strip_costs_its_own_images_only(database: Path, tmp_path: Path) -> None:
    lost = "DELETE FROM picture WHERE block IN (SELECT id FROM block WHERE number = 1)"
    with Results(changed(database, tmp_path, lost)) as results:
        extremes = shown_of(results, "ppca").extremes
    assert extremes is not None
    for tile in (*extremes.most, *extremes.least):
        assert (tile.picture is None) == (16 <= tile.number < 32)
    with Results(changed(database, tmp_path, "UPDATE picture SET png = x'00'")) as results:
        assert shown_of(results, "ppca").extremes is None


def odd(count: int, size: tuple[int, int]) -> bytes:
    file = io.BytesIO()
    Image.new("L", (count * size[0], size[1])).save(file, format="PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("strip", "count", "place"),
    [
        (thumbnails(0, 4), 3, 0),
        (thumbnails(0, 4), 4, 4),
        (thumbnails(0, 4), 0, 0),
        (odd(2, (20, 65)), 2, 0),
        (b"", 1, 0),
    ],
)
def test_what_is_no_strip_of_so_many_images_gives_none(strip: bytes, count: int, place: int) -> None:
    assert Album().single(strip, count, place) is None


def test_strips_are_read_by_block_with_their_count_of_images(results: Results) -> None:
    [entry] = [e for e in read_records(results).entries if (e.model.name, e.benchmark.name) == ("ppca", "flatness")]
    strips = results.strips(entry.evaluation.asks[0].request, "images")
    assert {number: count for number, (_, count) in strips.items()} == {0: 16, 1: 16, 2: 16}
    assert strips[1][0] == thumbnails(16, 16) and not results.strips(entry.evaluation.asks[0].request, "recoveries")


def test_requests_are_listed_once_whoever_needs_them(results: Results, site: Path) -> None:
    page = Page(site / "model" / "ppca.html")
    for kind in ("curvature", "tuning"):
        assert len(re.findall(rf"<summary>{kind} <", page.source)) == 1
    assert page.source.count("recovery of training images of fashion-mnist <") == 1 and "needed by others" in page.text
    keys = re.findall(r"<dt>request</dt><dd>([0-9a-f]{64})</dd>", page.source)
    card = next(card for card in scored() if card.name == "ppca")
    model = Model(card, ModelKey(card.name, hashlib.sha256(card.name.encode()).hexdigest()), {"z": DIM})
    asks = LikelihoodBenchmark().requests(model, with_outliers(), LikelihoodBenchmark.options(limit=LIMIT))
    needed = needs_of(asks["test"].request)
    assert len(set(keys)) == len(keys) == 6 + len(needed) and set(keys[6:]) == needed
    named = set(re.findall(r"(?:curvature|tuning|recovery|metric) ([0-9a-f]{12})<", page.source))
    assert named == {key[:12] for key in needed}


def needs_of(request: Request) -> set[str]:
    """The keys of all requests that a request needs, directly or through another."""
    direct = [needed for needed, _ in request.needs()]
    return {needed.key() for needed in direct}.union(*(needs_of(needed) for needed in direct))


def test_pages_of_likelihoods_are_small_and_can_be_read_without_seeing_them(site: Path) -> None:
    for path in site.rglob("*.html"):
        page = Page(path)
        assert path.stat().st_size < 150_000, path.name
        ids = [tag["id"] for _, tag in page.tags if "id" in tag]
        assert len(ids) == len(set(ids))
        assert len(page.all("caption")) == len(page.all("table"))
        for svg in page.all("svg"):
            assert "aria-hidden" in svg or (svg["role"] == "img" and len(svg["aria-labelledby"].split()) == 2)
        assert not any(name.startswith("on") or name == "style" for name in page.attributes())


def test_boards_of_other_samplers_stand_apart(database: Path) -> None:
    with Results(database) as results:
        entries = [e for e in read_records(results).entries if e.benchmark.name == "likelihood"]
    for entry in entries[:1]:
        entry.evaluation.options["sampler"] = {"name": "published", "chains": 16}
    boards = boards_of(entries)
    assert [len(board.lines) for board in boards] == [len(MADE) - 1, 1]
    [cell] = [cell for cell in boards[1].lines[0].cells[:1] if cell is not None]
    assert "of 16, acceptance" in cell.notes[2]
