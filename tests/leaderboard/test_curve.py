"""Charts: where points, intervals, courses and labels lie; the chi law; histograms beside it and side by side."""

from __future__ import annotations

import re
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from preimage.leaderboard.chi import ChiLaw
from preimage.leaderboard.curve import (
    BOTTOM,
    CROWD,
    DODGE,
    INSET,
    LEFT,
    RIGHT,
    TOP,
    AxisName,
    Chart,
    Point,
    Series,
    chart_of,
)
from preimage.leaderboard.histogram import BINS, SMALL, WIDE, Sample, histogram_of, histograms_of

X, Y = AxisName("training images N", "N"), AxisName("gap, share", "gap")
WIDTH = RIGHT - LEFT - 2 * INSET


def chart(*series: Series, limit: tuple[float, str] | None = None) -> Chart:
    drawn = chart_of(series, X, Y, limit=limit)
    assert drawn is not None
    return drawn


def test_points_lie_where_linear_axes_put_them() -> None:
    points = (Point(0, 0.0, None, None, "a"), Point(5, 0.5, 0.25, 1.0, "b"), Point(10, 1.0, 1.0, 1.0, "c"))
    drawn = chart(Series("s", points))
    assert drawn.log == (False, False) and not drawn.side_by_side and drawn.zero is None
    a, b, c = drawn.dots
    assert (a.x, a.y, a.low, a.high) == (LEFT + INSET, BOTTOM, None, None)
    assert (b.x, b.y) == (LEFT + INSET + WIDTH / 2, (TOP + BOTTOM) / 2)
    assert (b.low, b.high) == (BOTTOM - (BOTTOM - TOP) / 4, TOP)
    assert (c.x, c.y) == (RIGHT - INSET, TOP)


def test_axes_of_many_magnitudes_keep_ratios() -> None:
    points = tuple(Point(10.0**k, 0.1**k, None, None, str(k)) for k in range(5))
    drawn = chart(Series("s", points))
    assert drawn.log == (True, True)
    assert [dot.x for dot in drawn.dots] == pytest.approx([LEFT + INSET + WIDTH * k / 4 for k in range(5)], abs=0.01)
    assert [dot.y for dot in drawn.dots] == pytest.approx([TOP + (BOTTOM - TOP) * k / 4 for k in range(5)], abs=0.01)
    assert [tick.text for tick in drawn.x_ticks] == ["1", "10", "100", "1000", "10000"]


def test_zero_and_a_limit_are_drawn_where_the_axis_has_them() -> None:
    drawn = chart(Series("s", (Point(1, -1.0, None, None, "a"), Point(2, 1.0, None, None, "b"))), limit=(0.5, "flag"))
    assert drawn.zero == (TOP + BOTTOM) / 2
    assert drawn.limit is not None and (drawn.limit.at, drawn.limit.text) == (TOP + (BOTTOM - TOP) / 4, "flag")


def test_an_axis_holds_the_limit_and_every_interval() -> None:
    drawn = chart(Series("s", (Point(1, 0.01, -0.3, 0.02, "a"),)), limit=(0.1, "flag"))
    assert drawn.limit is not None and TOP <= drawn.limit.at < BOTTOM
    [dot] = drawn.dots
    assert dot.low is not None and dot.high is not None and TOP <= dot.high < dot.y < dot.low <= BOTTOM


def test_points_of_one_x_stand_side_by_side() -> None:
    drawn = chart(
        Series("one", (Point(8, 1.0, None, None, "a"), Point(9, 1.0, None, None, "b"))),
        Series("two", (Point(8, 2.0, None, None, "c"),), look=1),
    )
    a, b, c = drawn.dots
    alone = (a.x + c.x) / 2
    assert drawn.side_by_side and (a.x, c.x) == (alone - DODGE / 2, alone + DODGE / 2) and b.x > c.x
    crowd = chart(Series("s", tuple(Point(8, float(k), None, None, str(k)) for k in range(40))))
    places = [dot.x for dot in crowd.dots]
    assert max(places) - min(places) == pytest.approx(CROWD, abs=0.1) and LEFT < min(places) < max(places) < RIGHT


def test_courses_are_joined_from_left_to_right_and_loose_points_are_not() -> None:
    points = (
        Point(3, 3.0, None, None, "late", "m"),
        Point(1, 1.0, None, None, "early", "m"),
        Point(2, 2.0, None, None, "loose"),
        Point(2.5, 2.0, None, None, "only one", "n"),
    )
    [line] = chart(Series("s", points)).lines
    ends = re.findall(r"([ML])([\d.]+) ([\d.]+)", line.path)
    early, late = line.dots[0], line.dots[-1]
    assert [(kind, float(x), float(y)) for kind, x, y in ends] == [("M", early.x, early.y), ("L", late.x, late.y)]
    assert [dot.point.name for dot in line.dots] == ["early", "loose", "only one", "late"]


def test_series_without_points_are_left_out_and_none_give_no_chart() -> None:
    point = Point(1, 1.0, None, None, "a")
    assert [line.name for line in chart(Series("none", ()), Series("s", (point,), 3)).lines] == ["s"]
    assert chart_of([], X, Y) is None and chart_of([Series("none", ())], X, Y) is None


def test_looks_are_classes_and_shapes_and_a_style_replaces_the_class() -> None:
    point = Point(1, 1.0, None, None, "a")
    one, two, styled = chart(
        Series("one", (point,), 0), Series("two", (point,), 1), Series("three", (point,), 1, "val")
    ).lines
    assert (one.style, two.style, styled.style) == ("s0", "s1", "val")
    assert one.mark != two.mark == styled.mark


@given(st.lists(st.tuples(st.floats(1, 10), st.floats(0, 1)), min_size=1, max_size=30))
def test_labels_meet_no_other_label(places: list[tuple[float, float]]) -> None:
    points = tuple(Point(x, y, y - 0.1, y + 0.1, f"model-{k}") for k, (x, y) in enumerate(places))
    labels = [dot.label for dot in chart(Series("s", points)).dots if dot.label is not None]
    assert labels or len(places) > 1
    boxes = []
    for label in labels:
        wide = 6.4 * len(label.text)
        left = {"start": label.x, "end": label.x - wide, "middle": label.x - wide / 2}[label.anchor]
        boxes.append((left, label.y, left + wide))
    for one, other in combinations(boxes, 2):
        assert one[2] <= other[0] or other[2] <= one[0] or abs(one[1] - other[1]) >= 13 - 0.02


def test_what_has_no_room_is_named_in_the_margin_and_unnamed_points_nowhere() -> None:
    crowd = tuple(Point(8192, 0.02 * k, None, None, f"model-{k}") for k in range(12))
    far = Point(100, 0.1, None, None, "alone")
    drawn = chart(Series("s", (*crowd, far)))
    by_name = {dot.point.name: dot.label for dot in drawn.dots}
    assert all(by_name.values()) and drawn.in_margin
    assert by_name["alone"] is not None and not by_name["alone"].leader
    margin = [label for label in by_name.values() if label is not None and label.leader]
    assert all(label.x > RIGHT and label.leader.startswith("M") for label in margin)
    quiet = chart(Series("s", (Point(1, 1.0, None, None, "quiet", named=False),)))
    assert quiet.dots[0].label is None and not quiet.in_margin


def test_long_names_are_cut_in_the_drawing_only() -> None:
    [dot] = chart(Series("s", (Point(1, 1.0, None, None, "x" * 300),))).dots
    assert dot.label is not None and len(dot.label.text) == 26 and dot.point.name == "x" * 300


@pytest.mark.parametrize("dim", [1, 2, 3, 20, 64, 512, 4096])
def test_the_chi_law_is_scipys(dim: int) -> None:
    law, exact = ChiLaw(dim), stats.chi(dim)
    radii = np.linspace(max(0.0, dim**0.5 - 4), dim**0.5 + 4, 200)
    assert [law.density(r) for r in radii[1:]] == pytest.approx(exact.pdf(radii[1:]), abs=1e-10)
    assert [law.below(r) for r in radii] == pytest.approx(exact.cdf(radii), abs=1e-5)
    assert law.share(dim**0.5, 1e9) == pytest.approx(exact.sf(dim**0.5), abs=1e-5)
    assert law.quantile(0.999) == pytest.approx(exact.ppf(0.999), abs=0.02)
    assert law.below(-1.0) == 0.0 and law.below(1e9) == 1.0 and law.density(-1.0) == 0.0


def peak(path: str) -> float:
    """The highest point of a path of ``x y`` pairs."""
    return min(float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", path))


def test_the_law_beside_a_histogram_is_the_share_that_a_bin_would_hold() -> None:
    rng = np.random.default_rng(0)
    norms = tuple(np.linalg.norm(rng.normal(size=(20_000, 64)), axis=1).tolist())
    drawn = histogram_of([Sample("codes", "own", norms)], ChiLaw(64))
    assert drawn is not None and not drawn.log and drawn.law
    [outline] = drawn.outlines
    tops = [float(y) for y in re.findall(r"V([\d.]+)", outline.path)]
    assert peak(drawn.law) == pytest.approx(min(tops), abs=6)  # of 224 pixels: draws from the law follow it
    far = histogram_of([Sample("codes", "own", tuple(5 * norm for norm in norms))], ChiLaw(64))
    assert far is not None
    assert max(float(x) for x in re.findall(r"[ML]([\d.]+) ", far.law)) < far.outlines[0].median_at - 200


def test_a_law_far_from_the_codes_is_on_the_axis_all_the_same() -> None:
    drawn = histogram_of([Sample("codes", "test", (100.0, 400.0, 1000.0))], ChiLaw(64))
    assert drawn is not None and drawn.log and drawn.law
    assert all(WIDE.left <= float(x) <= WIDE.right for x in re.findall(r"[ML]([\d.]+) ", drawn.law))


def test_histograms_side_by_side_share_bins_and_axes() -> None:
    one, other = histograms_of(
        [[Sample("a", "train", (1.0, 1.1, 1.2))], [Sample("b", "val", (9.0, 9.5, 10.0)), Sample("none", "own", ())]],
        SMALL,
    )
    assert one.bins == other.bins and one.x_ticks == other.x_ticks and one.y_ticks == other.y_ticks
    assert one.outlines[0].median_at < other.outlines[0].median_at <= SMALL.right
    assert len(one.outlines[0].counts) == SMALL.bins and [o.name for o in other.outlines] == ["b"]
    assert histograms_of([[Sample("none", "own", ())]], SMALL) == []


def test_small_errors_have_a_bin_of_their_own_only_where_there_are_some() -> None:
    own = tuple(0.0003 * 1.1**k for k in range(20))
    drawn = histogram_of([Sample("test", "test", (0.01, 0.03, 0.09)), Sample("own", "own", own, False)])
    assert drawn is not None and drawn.log
    assert (drawn.below is None) == (len(drawn.bins) == BINS)
    if drawn.below is not None:
        assert sum(outline.counts[0] for outline in drawn.outlines) > 0
