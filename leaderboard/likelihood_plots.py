"""What the pages of the benchmarks of likelihoods draw: proofs, typical shares, flatness; a panel per model."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from preimage.harness.likelihood_scores import UNRELIABLE
from preimage.harness.results import Results
from preimage.leaderboard import words
from preimage.leaderboard.board import Board, cell_of, column_decimals
from preimage.leaderboard.columns import set_size
from preimage.leaderboard.curve import AxisName
from preimage.leaderboard.dots import Dots, dots_of
from preimage.leaderboard.measured import SIMULATED, Measured, means_of, measured_of, values_of
from preimage.leaderboard.proof import GAP_BITS, LIKELIHOOD, SCORES, parted
from preimage.leaderboard.records import Figure, Metric
from preimage.leaderboard.small_charts import Panels, Sketch, Told, Trace, panels_of

MOST_SPECKS = 200  # images of a model in a panel
_PATH = [f"acceptance_{share:02}" for share in range(16)]
_STYLES = {"generated": ("own", 0), "train": ("train", 1), "test": ("test", 2), "val": ("test", 2)}
_OTHERS = (("s2", 3), ("s3", 4), ("s4", 5), ("s0", 0), ("s5", 1))  # of outlier sets: CSS classes and shapes
ALONG = (
    "How often proposals are accepted on the way from the prior (left) to the posterior (right), on average over "
    "images and chains. Where it falls towards 0 the chains stand still, and the estimate is too low."
)
TYPICAL = (
    "The share of random sets of N images that count as typical: their mean log-likelihood is as near to the model's "
    "entropy as that of 95 % of sets of its own draws. A group that the model would draw stays near 0.95; one that it "
    "would not falls to 0 as N grows."
)
FLAT = (
    "Each point is a test image: its log-likelihood, and how much its pixels vary (standard deviation over mean, "
    "averaged over patches of 8 x 8). A negative correlation says that the model finds flat images likely."
)


def likelihood_panels(results: Results, board: Board) -> list[Panels]:
    """The panels of one protocol; none for a benchmark that has nothing to do with likelihoods."""
    draw = _PANELS.get(board.lines[0].entry.benchmark.name)
    found = draw(results, board) if draw is not None else None
    return [] if found is None else [found]


def likelihood_dots(board: Board) -> list[Dots]:
    """Log-likelihoods of all models on one axis, and their gaps beside what still counts as reliable."""
    scores = [column for column in board.columns if parted(column.name)[0] == SCORES[0]]
    gaps = [column for column in board.columns if parted(column.name)[0] == GAP_BITS]
    limit = f"{UNRELIABLE:g} bits per dimension: above, a score is unreliable"
    return [*dots_of(board, scores), *(dots_of(board, gaps, UNRELIABLE, limit) if gaps else [])]


def acceptance_along_the_path(results: Results, board: Board) -> Panels | None:
    """Likelihood: the acceptance in equal shares of the path, of test images and of simulated ones."""
    asked = _annealed(results, board)
    means = means_of(results, [one for found in asked for one in found], _PATH)
    sketches = []
    for line, found in zip(board.lines, asked, strict=True):
        traces, numbers = [], []
        for one in found:
            path = [(k, means[one.key][name]) for k, name in enumerate(_PATH) if name in means[one.key]]
            look = ("own", 0) if one.images == SIMULATED else ("test", 1)
            title = SIMULATED if one.images == SIMULATED else f"{one.images} images"
            traces.append(Trace(title, look[0], tuple(((k + 0.5) / len(_PATH), mean) for k, mean in path), look[1]))
            numbers.append((line.model.name, title, *(f"{mean:.2f}" for _, mean in path)))
        sketches.append(Sketch(line.model, tuple(traces), tuple(numbers)))
    head = ("model", "images", *(str(share + 1) for share in range(len(_PATH))))
    told = Told(
        "Acceptance along the path",
        ALONG,
        AxisName("the path, in shares of its length", "prior → posterior"),
        AxisName("share of proposals accepted", "acceptance"),
        ends=(0.0, 1.0),
        marked=False,
    )
    return panels_of(sketches, told, head)


def typical_shares(results: Results, board: Board) -> Panels | None:
    """Typicality: the share of typical sets against their size, by group of images (Table 2 of the paper)."""
    columns = [(column, size) for column in board.columns if (size := _size_of(column)) is not None]
    groups = dict.fromkeys(_group(column) for column, _ in columns)
    others = [group for group in groups if group not in _STYLES]
    looks = _STYLES | {group: _OTHERS[place % len(_OTHERS)] for place, group in enumerate(others)}
    sizes = sorted({size for _, size in columns})
    sketches = []
    for line in board.lines:
        traces, numbers = [], []
        for group in groups:
            shares = {
                size: line.entry.figures[column.name]
                for column, size in columns
                if _group(column) == group and column.name in line.entry.figures
            }
            points = tuple((float(size), figure.value) for size, figure in sorted(shares.items()))
            traces.append(Trace(_named(group), looks[group][0], points, looks[group][1]))
            printed = (f"{shares[size].value:.2f}" if size in shares else "none" for size in sizes)
            numbers.append((line.model.name, _named(group), *printed))
        sketches.append(Sketch(line.model, tuple(traces), tuple(numbers)))
    told = Told(
        "Share of typical sets against their size",
        TYPICAL,
        AxisName("images in a set, N", "N"),
        AxisName("share of sets that are typical", "share"),
        ends=(0.0, 1.0),
    )
    return panels_of(sketches, told, ("model", "images", *(f"N = {n}" for n in sizes)))


def likelihood_against_variation(results: Results, board: Board) -> Panels | None:
    """Flatness: every test image by its log-likelihood and its coefficient of variation."""
    asked = [next((one for one in found if one.images != SIMULATED), None) for found in _annealed(results, board)]
    values = values_of(results, [one for one in asked if one is not None], ("log_likelihood", "variation"))
    sketches = []
    for line, one in zip(board.lines, asked, strict=True):
        found = values[one.key].values if one is not None else {}
        pairs = list(zip(found.get("log_likelihood", ()), found.get("variation", ()), strict=False))
        note = _correlation(line.entry.figures.get(board.first.name))
        trace = Trace("a test image", "test", tuple(pairs[:MOST_SPECKS]), joined=False)
        numbers = (line.model.name, note, words.count(len(pairs)), words.count(len(trace.points)))
        sketches.append(Sketch(line.model, (trace,), (numbers,), f"correlation {note}"))
    told = Told(
        "Log-likelihood and variation of each image",
        FLAT,
        AxisName("log-likelihood, nats", "log-likelihood"),
        AxisName("coefficient of variation", "variation"),
        own_x=True,
        marked=False,
    )
    return panels_of(sketches, told, ("model", "correlation", "images", "drawn"))


def _annealed(results: Results, board: Board) -> list[list[Measured]]:
    """By line: what was annealed of the data set's own unseen images, and of simulated ones; one of each.

    Where several noises were asked for, the first.
    """
    known = measured_of(results, [line.entry for line in board.lines])
    found = []
    for line in board.lines:
        asked = [known[ask.request] for ask in line.entry.evaluation.asks]
        asked = [one for one in asked if one.annealed and one.complete and one.at_home and one.images != "train"]
        noises = [one.description.get("noise") for one in asked]
        of_first = [one for one, noise in zip(asked, noises, strict=True) if noise == noises[0]]
        found.append(list({one.images: one for one in reversed(of_first)}.values())[::-1])
    return found


def _size_of(column: Metric) -> int | None:
    return set_size(column.name) if column.name.startswith("share_") else None


def _group(column: Metric) -> str:
    """``train`` of ``share_train/50``; further variants, but for the size, stay with it."""
    base, *variant = column.name.removeprefix("share_").split("/")
    return " ".join([base, *(part for part in variant if not part.isdigit())])


def _named(group: str) -> str:
    return {"generated": "the model's own draws", "train": "training images"}.get(group, words.shown(group, 40))


def _correlation(figure: Figure | None) -> str:
    if figure is None:
        return "not measured"
    cell = cell_of(figure, column_decimals([figure]))
    return f"{cell.value} {cell.interval}".rstrip()


_PANELS: Mapping[str, Callable[[Results, Board], Panels | None]] = {
    LIKELIHOOD: acceptance_along_the_path,
    "typicality": typical_shares,
    "flatness": likelihood_against_variation,
}
PANELLED = frozenset(_PANELS)
"""Benchmarks that have panels."""
