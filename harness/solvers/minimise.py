"""Drive a solver over a batch of independent images, each to its own end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from preimage.harness.solvers.interface import Energy, Projection, Solver, merge_state, select_state
from preimage.harness.solvers.outcome import Outcome
from preimage.harness.streams import Streams

Redraw = Callable[[Tensor], Tensor]
"""Indices of images in the batch [k] to new starts for them [k, dim]."""


@dataclass(frozen=True)
class Stop:
    """When an image leaves the batch, other than by spending ``solver.steps``."""

    tolerance: float = 1e-4  # relative gain in energy that counts as progress
    patience: int = 100  # evaluations without that gain after which an image has converged; 0: all steps are spent
    interval: int = 5  # evaluations between two looks at all this
    restarts: int = 3  # new draws for an image that has gone non-finite


class Minimum(NamedTuple):
    """What was found: code [n, dim] and energy [n] of the best iterate, generator evaluations [n] int64, outcomes.

    An image whose outcome is ``NON_FINITE`` has its start as code, and infinite energy.
    """

    code: Tensor
    energy: Tensor
    evaluations: Tensor
    outcome: list[Outcome]


class Track(NamedTuple):
    """Where images stand, [k] each: index in the batch, best energy and code so far, and counters.

    present: False for an image that has left already and still fills a place in the batch. goal: the energy to fall
    below to have gained. idle: evaluations since the last gain; spent: since the last start; evaluations: in all.
    restarts: how many.
    """

    image: Tensor
    present: Tensor
    energy: Tensor
    code: Tensor
    goal: Tensor
    idle: Tensor
    spent: Tensor
    evaluations: Tensor
    restarts: Tensor


def minimise(
    energy: Energy,
    solver: Solver[Any],
    start: Tensor,
    *,
    projection: Projection | None = None,
    redraw: Redraw | None = None,
    streams: Streams | None = None,
    stop: Stop | None = None,
) -> Minimum:
    """Minimise each image's energy from its start [n, dim]; keep the best iterate seen, never the last.

    Images that have converged leave the batch, each at a time that its own numbers alone decide. One that went
    non-finite starts again, with all its steps, at a code from ``redraw``. ``stop`` defaults to the solver's tolerance
    and patience.
    """
    stop = stop or Stop(solver.tolerance, solver.patience)
    start = start if projection is None else projection(start)
    result = track = _track(start)
    outcome = [Outcome.NON_FINITE] * len(start)
    state = solver.init(energy, start)
    while len(track.image) > 0:
        rounds = min(stop.interval, solver.steps - int(track.spent.max()))
        for _ in range(rounds):
            state, info = solver.step(energy, state, streams, projection)
            better = info.energy < track.energy
            track = track._replace(
                energy=torch.where(better, info.energy, track.energy),
                code=torch.where(better.unsqueeze(1), info.code, track.code),
            )
        track = _count(track, rounds, stop)
        lost = info.done & ~torch.isfinite(info.energy)
        again = lost & track.present & (track.restarts < (0 if redraw is None else stop.restarts))
        ends = _ends(track, info.done & ~again, lost & ~again, energy.floor, solver.steps, stop)
        if redraw is not None and bool(again.any()):
            index = _where(again)
            fresh = redraw(track.image[index])
            fresh = fresh if projection is None else projection(fresh)
            state = merge_state(state, index, solver.init(energy.select(index), fresh))
            track = _restarted(track, again)
        leaving = _where(ends != GOES_ON)
        if len(leaving):
            for image, end in zip(track.image[leaving].tolist(), ends[leaving].tolist(), strict=True):
                outcome[image] = ENDS[end]
            result = merge_state(result, track.image[leaving], select_state(track, leaving))
            track = track._replace(
                present=track.present & (ends == GOES_ON), spent=track.spent.index_fill(0, leaving, 0)
            )
            staying = _staying(track.present)
            if len(staying) < len(track.image):
                track, state = select_state(track, staying), select_state(state, staying)
                energy = energy.select(staying)
                streams = None if streams is None else streams.select(staying)
    return Minimum(result.code, result.energy, result.evaluations, outcome)


def best_of(runs: Sequence[Minimum]) -> Minimum:
    """For each image the best of several runs from different starts (the first of equals); evaluations add up."""
    energies = torch.stack([run.energy for run in runs])
    chosen = energies.argmin(dim=0)
    image = torch.arange(energies.shape[1], device=energies.device)
    return Minimum(
        torch.stack([run.code for run in runs])[chosen, image],
        energies[chosen, image],
        torch.stack([run.evaluations for run in runs]).sum(dim=0),
        [runs[run].outcome[i] for i, run in enumerate(chosen.tolist())],
    )


GOES_ON = -1
ENDS = (
    Outcome.BUDGET_SPENT,
    Outcome.CONVERGED,
    Outcome.STALLED,
    Outcome.EXACT,
    Outcome.RESTARTED,
    Outcome.DIVERGED,
    Outcome.NON_FINITE,
)
"""Where several apply the last one counts."""


def _track(start: Tensor) -> Track:
    """Nothing evaluated yet."""
    count = len(start)
    zero = torch.zeros(count, dtype=torch.int64, device=start.device)
    worst = torch.full((count,), torch.inf, device=start.device)
    image = torch.arange(count, device=start.device)
    return Track(image, image >= 0, worst, start, worst, zero, zero, zero, zero)


def _count(track: Track, rounds: int, stop: Stop) -> Track:
    """The counters after some evaluations of every image; of an image that has left they mean nothing."""
    gained = track.energy < track.goal
    return track._replace(
        goal=torch.where(gained, track.energy - stop.tolerance * track.energy.abs(), track.goal),
        idle=torch.where(gained, 0, track.idle + rounds),
        spent=track.spent + rounds,
        evaluations=track.evaluations + rounds,
    )


def _where(mask: Tensor) -> Tensor:
    """The indices at which a mask [k] holds, ascending."""
    return mask.nonzero().squeeze(1)


def _staying(present: Tensor) -> Tensor:
    """The indices [m] of the images to keep in the batch: those present, and as many that have left as round the width.

    Each new width costs a convolution library some set-up, so widths are multiples of an eighth of a power of two.
    """
    count = int(present.sum())
    unit = max(1, (1 << max(count - 1, 0).bit_length()) // 8)
    width = min(-(-count // unit) * unit, len(present))
    first = torch.sort(present.to(torch.int8), descending=True, stable=True).indices[:width]
    return torch.sort(first).values


def _restarted(track: Track, again: Tensor) -> Track:
    """The counters where some images start once more."""
    return track._replace(
        idle=track.idle.masked_fill(again, 0), spent=track.spent.masked_fill(again, 0), restarts=track.restarts + again
    )


def _ends(track: Track, done: Tensor, lost: Tensor, floor: float, steps: int, stop: Stop) -> Tensor:
    """For each image the index into ``ENDS`` of how it ended, or GOES_ON, [k] int64."""
    exact = track.energy <= floor
    spent = track.spent >= steps
    converged = (track.idle >= stop.patience) if stop.patience else torch.zeros_like(done)
    over = (spent | lost | (converged | done | exact if stop.patience else converged)) & track.present
    ends = torch.full_like(track.image, GOES_ON)
    for end, applies in enumerate((spent, converged, done, exact, track.restarts > 0, lost, torch.isinf(track.energy))):
        ends = ends.masked_fill(over & applies, end)
    return ends
