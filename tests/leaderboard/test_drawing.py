"""Geometry and wording: scales, interval bars, histograms, numbers, slugs, ranks."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preimage.harness.results import StoredEvaluation
from preimage.leaderboard import words
from preimage.leaderboard.board import boards_of, doubtful, flags_of
from preimage.leaderboard.histogram import BINS, Sample, histogram_of
from preimage.leaderboard.interval_bars import MARGIN, WIDTH, axis_of
from preimage.leaderboard.records import BenchmarkRecord, Entry, Figure, Metric, ModelRecord
from preimage.leaderboard.scales import Scale, linear_scale, log_scale
from preimage.leaderboard.slugs import slug
from preimage.leaderboard.ties import overlap

MSE = Metric("mse", "squared pixel", "lower", "error")


def figure(value: float, low: float | None = None, high: float | None = None, metric: Metric = MSE) -> Figure:
    return Figure(metric, value, low, high, 60)


def entry(
    name: str,
    *figures: Figure,
    benchmark: str = "recovery",
    kind: str = "generator",
    tags: tuple[str, ...] = (),
    options: dict[str, Any] | None = None,
) -> Entry:
    found = {f.metric.name: f for f in figures}
    stored = StoredEvaluation(0, name, "d", benchmark, "", 1, options or {}, (), "ok", "", "", "", "")
    record = BenchmarkRecord(benchmark, "?", {n: f.metric for n, f in found.items()})
    return Entry(stored, ModelRecord(name, "family", "id", kind, {"tags": list(tags)}), record, found)


def test_bars_lie_where_the_axis_says() -> None:
    figures = [figure(0.2, 0.1, 0.3), figure(0.9, 0.8, 1.0)]
    axis = axis_of(figures, figures[0], None)
    assert axis is not None and axis.scale.log  # more than a factor of five
    linear = axis_of([figure(0.5, 0.25, 0.75), figure(1.0, 1.0, 1.0)], None, None)
    assert linear is not None and (linear.scale.low, linear.scale.high, linear.scale.log) == (0.0, 1.0, False)
    bar = linear.bar(figure(0.5, 0.25, 0.75), figure(0.0))
    span = WIDTH - 2 * MARGIN
    assert (bar.low, bar.value, bar.high) == (MARGIN + span / 4, MARGIN + span / 2, MARGIN + 3 * span / 4)
    assert bar.floor == MARGIN and not bar.floor_below and linear.band is None


def test_a_log_axis_keeps_ratios_and_marks_floors_below_it() -> None:
    axis = axis_of([figure(0.01, 0.01, 0.01), figure(1.0, 1.0, 1.0)], None, None)
    assert axis is not None
    assert axis.bar(figure(0.1), None).value == pytest.approx(WIDTH / 2)
    low = axis.bar(figure(0.1), figure(1e-9))
    assert low.floor == MARGIN and low.floor_below
    assert axis.bar(figure(0.1), figure(0.0)).floor_below


def test_the_band_is_the_leaders_interval_and_zero_and_the_limit_are_marked() -> None:
    figures = [figure(-0.1, -0.2, 0.0), figure(0.8, 0.7, 0.9)]
    axis = axis_of(figures, figures[0], 0.1)
    assert axis is not None
    assert (
        axis.band == (axis.scale(-0.2), axis.scale(0.0)) and axis.mark == axis.scale(0.1) and axis.zero == axis.scale(0)
    )
    assert axis_of([], None, None) is None


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_a_linear_axis_holds_its_values(values: list[float]) -> None:
    values = [round(value, 6) for value in values]
    scale = linear_scale(values, 0, 100)
    slack = 1e-6 * max(1.0, scale.high - scale.low)
    assert all(scale.low - slack <= value <= scale.high + slack for value in values)
    ticks = [tick.at for tick in scale.ticks()]
    assert len(ticks) <= 6 and ticks == sorted(ticks) and all(0 <= at <= 100 for at in ticks)


@given(st.floats(1e-12, 1e3), st.floats(1, 1e12))
def test_a_log_axis_has_few_ticks_inside(low: float, ratio: float) -> None:
    scale = log_scale(low, low * ratio, 0, 100)
    assert scale.low <= low * 1.001 and scale.high >= low * ratio * 0.999
    assert 1 <= len(scale.ticks(5)) <= 5


def heights(path: str) -> list[float]:
    return [float(y) for y in re.findall(r"V([\d.]+)", path)]


def test_histograms_count_every_image_once_on_the_same_bins() -> None:
    samples = [
        Sample("training images", "train", (0.0, 0.0, 1e-9)),
        Sample("test images", "test", tuple(0.001 * 1.1**k for k in range(50))),
        Sample("none", "own", ()),
    ]
    drawn = histogram_of(samples)
    assert drawn is not None and drawn.log and drawn.below is not None
    assert [outline.n for outline in drawn.outlines] == [3, 50]
    assert drawn.outlines[0].counts[0] == 3 and drawn.outlines[1].counts[0] == 0
    assert {len(outline.counts) for outline in drawn.outlines} == {BINS + 2}
    table = drawn.table()
    assert [sum(counts[i] for _, counts in table) for i in range(2)] == [3, 50] and table[0][0].startswith("below")
    assert len(heights(drawn.outlines[0].path)) == BINS + 3


def test_a_floor_of_rounding_does_not_stretch_the_axis() -> None:
    errors = tuple(0.001 * 1.1**k for k in range(50))
    drawn = histogram_of([Sample("test images", "test", errors), Sample("own", "own", (1e-14, 1e-9, 0.0005), False)])
    assert drawn is not None and drawn.below is not None and drawn.below.text == "< 0.0005"
    assert drawn.outlines[1].counts[0] == 2 and drawn.outlines[1].n == 3
    assert drawn.cut == ("67 % of own",)


def test_a_narrow_histogram_is_linear_and_constant_errors_are_drawn() -> None:
    drawn = histogram_of([Sample("test images", "test", (0.5, 0.6, 0.7))])
    assert drawn is not None and not drawn.log and drawn.below is None and drawn.outlines[0].n == 3
    for errors in ((0.0, 0.0), (0.25,)):
        same = histogram_of([Sample("test images", "test", errors)])
        assert same is not None and same.outlines[0].n == len(errors)
    assert histogram_of([Sample("test images", "test", ())]) is None


def test_the_outline_rises_with_the_share() -> None:
    drawn = histogram_of([Sample("a", "train", (0.1, 0.1, 0.1, 0.9)), Sample("b", "test", (0.1, 0.9))])
    assert drawn is not None
    first, second = (heights(outline.path) for outline in drawn.outlines)
    assert min(first) < min(second)  # 75 % stands higher on the page than 50 %


@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=50), st.lists(st.floats(0, 1e3), min_size=1, max_size=50))
def test_no_error_is_lost(one: list[float], other: list[float]) -> None:
    drawn = histogram_of([Sample("a", "train", tuple(one)), Sample("b", "test", tuple(other))])
    assert drawn is not None and [o.n for o in drawn.outlines] == [len(one), len(other)]
    assert [sum(counts[i] for _, counts in drawn.table()) for i in range(2)] == [len(one), len(other)]


def test_models_rank_by_the_first_metric_and_references_do_not() -> None:
    entries = [
        entry("b", figure(0.3, 0.25, 0.35)),
        entry("a", figure(0.2, 0.18, 0.26)),
        entry("c", figure(0.9, 0.8, 1.0)),
        entry("1nn", figure(0.1, 0.05, 0.3), kind="reference"),
        entry("mean", figure(0.5), tags=("baseline",)),
        entry("same", figure(0.2, 0.18, 0.26)),
    ]
    [board] = boards_of(entries)
    groups = [line.standing.group if line.standing else None for line in board.lines]
    assert [
        (line.model.name, line.rank, group, line.bracket) for line, group in zip(board.lines, groups, strict=True)
    ] == [
        ("1nn", None, None, ""),
        ("a", 1, 1, "first"),
        ("same", 1, 1, "inside"),
        ("b", 3, 1, "last"),
        ("mean", None, None, ""),
        ("c", 4, 2, "one"),
    ]


def test_a_metric_where_higher_is_better_ranks_the_other_way() -> None:
    accuracy = Metric("accuracy", "share", "higher", "")
    [board] = boards_of([entry("a", figure(0.2, metric=accuracy)), entry("b", figure(0.3, metric=accuracy))])
    assert [line.model.name for line in board.lines] == ["b", "a"]


def test_scores_with_other_options_stand_in_another_board() -> None:
    boards = boards_of(
        [
            entry("a", figure(1.0), options={"limit": 9}),
            entry("b", figure(2.0), options={"limit": 8}),
            entry("c", figure(3.0), options={"limit": 8}),
        ]
    )
    assert [[line.model.name for line in board.lines] for board in boards] == [["b", "c"], ["a"]]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((0.2, 0.1, 0.3), (0.4, 0.3, 0.5), True),
        ((0.2, 0.1, 0.3), (0.4, 0.31, 0.5), False),
        ((0.2, None, None), (0.2, None, None), True),
        ((0.2, None, None), (0.4, 0.1, 0.5), True),
    ],
)
def test_intervals_overlap_where_they_share_a_value(one: Any, other: Any, expected: bool) -> None:
    assert overlap(figure(*one), figure(*other)) is overlap(figure(*other), figure(*one)) is expected


def test_overfitting_is_flagged_by_either_rule_alone() -> None:
    def flags(gap: float, p: float) -> tuple[str, ...]:
        return flags_of(
            entry(
                "m",
                figure(gap, metric=Metric("mre_gap", "", "lower", "")),
                figure(p, metric=Metric("ks_p_value", "", "none", "")),
                benchmark="overfitting",
            )
        )

    assert flags(0.10, 0.01) == () and flags(-0.5, 0.5) == ()
    assert flags(0.101, 0.5) == ("gap > 0.10",) and flags(0.0, 0.009) == ("p < 0.01",)


def test_without_a_flag_it_is_doubtful_where_own_samples_are_missed_like_unseen_images() -> None:
    def doubt(own: float, unseen: float, gap: float = 0.0) -> bool:
        values = {"mre_generated": own, "mre_val": unseen, "mre_gap": gap}
        figures = [figure(value, metric=Metric(name, "", "none", "")) for name, value in values.items()]
        return doubtful(entry("m", *figures, benchmark="overfitting"))

    assert doubt(0.02, 0.01) and doubt(0.01, 0.01)
    assert not doubt(0.01, 0.02) and not doubt(0.0, 0.0) and not doubt(0.02, 0.01, gap=0.5)
    assert not doubtful(entry("m", figure(0.1), benchmark="overfitting"))


def test_numbers_show_what_their_interval_supports() -> None:
    assert words.decimals([0.0213], [0.0041]) == 4 and words.decimals([18.4], [0.9]) == 2
    assert words.decimals([0.312, 0.5], []) == 3 and words.decimals([], []) == 0 and words.decimals([1e-30], []) == 6
    assert words.number(-0.0213, 4) == "−0.0213" and words.number(0.0, 3) == "0"
    assert words.number(3.2e-9, 3) == "3.2×10⁻⁹" and words.number(-0.0025, 2, reach=0.2) == "0.00"
    assert words.interval(-0.25, 0.1, 2) == "[−0.25, 0.10]" and words.interval(None, None, 2) == ""
    assert words.number(0.00021, 4, reach=0.00026) == "2.1×10⁻⁴" and words.short(2e-8) == "2×10⁻⁸"
    assert words.number(0.0, 0, reach=1.9e-13) == "0" and words.interval(0.0, 1.9e-13, 0) == "[0, 1.9×10⁻¹³]"
    assert words.interval(1e-10, 2e-10, 4) == "[1.0×10⁻¹⁰, 2.0×10⁻¹⁰]" and words.interval(0.0, 0.0, 3) == "[0, 0]"


def test_texts_are_cut_and_lose_what_cannot_be_seen() -> None:
    assert words.shown("a\u202eb\x00c") == "a\ufffdb\ufffdc" and words.shown("x" * 300, 10) == "x" * 9 + "…"
    assert words.tail("x" * 30 + "the end", 8) == "…the end"
    assert words.flat({"a": {"b": 1, "c": None}, "d": [1, 2]}) == [("a.b", "1"), ("a.c", "not set"), ("d", "1, 2")]
    assert [words.seconds(t) for t in (2.0, 600.0, 7200.0)] == ["2.0 s", "10.0 min", "2.0 h"]


def test_plain_names_are_their_own_slug() -> None:
    assert slug("fashion-glo-128") == "fashion-glo-128" and slug("a.b_c") == "a.b_c"


@given(st.lists(st.text(min_size=1, max_size=300), min_size=2, max_size=10, unique=True))
def test_slugs_are_safe_and_unique(names: list[str]) -> None:
    slugs = [slug(name) for name in names]
    assert len(set(slugs)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9._~-]{0,79}", found) for found in slugs)
    assert slug(slugs[0]) != slugs[1]


@pytest.mark.parametrize("name", ["../../x", "con", "CON", "", ".hidden", "a/b", "a~0123456789abcdef", "x" * 81])
def test_names_that_are_no_file_names_get_a_hash(name: str) -> None:
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]*~[0-9a-f]{16}", slug(name))


def test_a_scale_keeps_values_outside_at_its_ends() -> None:
    scale = Scale(0, 1, 10, 20)
    assert (scale(-5), scale(0.5), scale(7)) == (10, 15, 20)
