"""What a likelihood is worth: the figures that prove it stand in its own cell, and one that is not proven says so."""

from __future__ import annotations

from collections.abc import Mapping

from preimage.harness.likelihood_scores import UNRELIABLE
from preimage.leaderboard import words
from preimage.leaderboard.records import Entry, Figure

LIKELIHOOD = "likelihood"
SCORES = ("log_likelihood", "bits_per_dim")
"""The metrics of `likelihood` that the gap is the proof of."""
GAP, GAP_BITS, GAP_MEDIAN, ESS, ACCEPTANCE = "bdmc_gap", "bdmc_gap_bits", "bdmc_gap_median", "ess", "acceptance"
SIGMA2, PSNR = "sigma2", "sigma2_psnr"
EXACT, EXACT_DIFFERENCE = "exact", "exact_difference"
FOLDED = (GAP, GAP_BITS, GAP_MEDIAN, ESS, ACCEPTANCE, PSNR, EXACT_DIFFERENCE)
"""Metrics that boards print in the cell of the one that they belong to, instead of a column of their own."""
BITS_TOLD = (
    "D is pixels times channels; the density over pixels in [0, 1] is turned into one over levels in [0, 256). "
    "Higher is better, and it is negative here."
)
DOUBT = "unreliable"
UNRELIABLE_TOLD = (
    f"A likelihood whose gap exceeds {UNRELIABLE:g} bits per dimension: the estimate may be that far too low, and "
    "another model's may be less so. It keeps the place that its value gives it, marked; do not read a ranking into it."
)


def parted(metric: str) -> tuple[str, str, bool]:
    """A metric's base, the suffix of its variant (``/sigma2=0.01``) and whether it is the closed form's value."""
    base, *variant = metric.split("/")
    return base, "".join(f"/{part}" for part in variant if part != EXACT), EXACT in variant


def folded(metric: str) -> bool:
    """Whether a metric of `likelihood` stands in another's cell. The closed form in bits does too."""
    base, _, exact = parted(metric)
    return base in FOLDED or (base == SCORES[1] and exact)


def lack_of(metric: str) -> str:
    """What a cell without a figure says: few models have a closed form."""
    return "no closed form" if parted(metric)[2] else "not measured"


def doubt_of(entry: Entry, metric: str) -> str:
    """``unreliable`` for a likelihood whose gap exceeds so many bits per dimension that it says little; else nothing.

    A score without a gap is not called so: its cell says that it has none.
    """
    base, suffix, exact = parted(metric)
    if entry.benchmark.name != LIKELIHOOD or base not in SCORES or exact:
        return ""
    gap = entry.figures.get(GAP_BITS + suffix)
    return DOUBT if gap is not None and gap.value > UNRELIABLE else ""


def notes_of(entry: Entry, metric: str) -> tuple[str, ...]:
    """The lines below a figure in its cell: how far it may be from the truth, and by what that is known."""
    if entry.benchmark.name != LIKELIHOOD:
        return ()
    base, suffix, exact = parted(metric)
    found = {name: entry.figures[name + suffix] for name in FOLDED if name + suffix in entry.figures}
    if base == SCORES[0] and exact:
        return ("estimate − exact:", _signed(found[EXACT_DIFFERENCE])) if EXACT_DIFFERENCE in found else ()
    if base == SCORES[0]:
        return (*_gap(found), *_sampled(entry, found))
    if base == SCORES[1] and not exact:
        closed = entry.figures.get(f"{base}/{EXACT}{suffix}")
        gap = f"gap {_printed(found[GAP_BITS])}" if GAP_BITS in found else "no gap measured"
        return (gap,) if closed is None else (gap, f"exact {_printed(closed, interval=False)}")
    if base == SIGMA2 and PSNR in found:
        return (f"PSNR {found[PSNR].value:.1f} dB",)
    return ()


def _gap(found: Mapping[str, Figure]) -> tuple[str, ...]:
    if GAP not in found:
        return ("no gap measured",)
    median = f"median {_printed(found[GAP_MEDIAN], interval=False)}, " if GAP_MEDIAN in found else ""
    return f"gap {_printed(found[GAP])}", f"{median}of {words.count(found[GAP].n)} simulated"


def _sampled(entry: Entry, found: Mapping[str, Figure]) -> tuple[str, ...]:
    """How well the chains did."""
    sampler = entry.evaluation.options.get("sampler")
    chains = sampler.get("chains") if isinstance(sampler, Mapping) else None
    of = f" of {words.setting(chains)}" if isinstance(chains, int) else ""
    parts = [f"ESS {found[ESS].value:.1f}{of}"] if ESS in found else []
    parts += [f"acceptance {found[ACCEPTANCE].value:.2f}"] if ACCEPTANCE in found else []
    return (", ".join(parts),) if parts else ()


def _printed(figure: Figure, *, interval: bool = True) -> str:
    """A figure with its interval, in the decimals that it deserves."""
    low, high = (None, None) if not interval else (figure.low, figure.high)
    widths = [high - low] if low is not None and high is not None else []
    places = words.decimals([figure.value], widths)
    reach = max(abs(low or 0.0), abs(high or 0.0))
    return f"{words.number(figure.value, places, reach)} {words.interval(low, high, places)}".rstrip()


def _signed(figure: Figure) -> str:
    return ("+" if figure.value > 0 else "") + _printed(figure)
