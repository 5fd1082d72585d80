"""The driver: best iterate, restarts, convergence, projection, outcomes, and what it costs."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from small_generators import Formula, numbers
from torch import Tensor

from preimage.harness.priors import StandardNormal, Uniform
from preimage.harness.solvers import Adam, Lbfgs, Outcome, RMSprop
from preimage.harness.solvers.minimise import Minimum, Stop, _staying, best_of, minimise

SOLVERS = [Adam(steps=200), Adam(steps=200, lr=2.0, schedule="constant"), RMSprop(steps=200), Lbfgs(metric=False)]


def bowl(code: Tensor, data: Tensor) -> Tensor:
    """A quadratic with minimum 0.01 at ``data``, condition 100."""
    return ((code - data).square() * torch.logspace(0, -2, code.shape[1])).sum(dim=1) + 0.01


def broken_outside(code: Tensor, data: Tensor) -> Tensor:
    """The bowl, but NaN for images whose code leaves the half-space ``z_0 > -1``."""
    return torch.where(code[:, 0] > -1, bowl(code, data), torch.nan)


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: f"{s.name}-{s.steps}")
def test_the_best_iterate_is_kept(solver: Any) -> None:
    data, seen = numbers(7, 4), []

    def recorded(code: Tensor, data: Tensor) -> Tensor:
        energy = bowl(code, data) + torch.sin(40 * code).sum(dim=1)
        seen.append(energy.detach())
        return energy

    found = minimise(Formula(recorded, data), solver, numbers(7, 4, seed=1), stop=Stop(patience=0))
    assert torch.equal(found.energy, torch.stack([e for e in seen if len(e) == 7]).amin(dim=0))
    torch.testing.assert_close(recorded(found.code, data), found.energy)


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: f"{s.name}-{s.steps}")
def test_images_never_meet(solver: Any) -> None:
    data, start = numbers(9, 4), numbers(9, 4, seed=1)
    whole = minimise(Formula(bowl, data), solver, start, stop=Stop())
    for index in (torch.tensor([7, 2, 5]), torch.arange(8, -1, -1)):
        part = minimise(Formula(bowl, data[index]), solver, start[index], stop=Stop())
        assert torch.equal(part.code, whole.code[index])
        assert torch.equal(part.evaluations, whole.evaluations[index])
        assert part.outcome == [whole.outcome[i] for i in index.tolist()]


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: f"{s.name}-{s.steps}")
def test_budget_is_never_exceeded_and_all_counted(solver: Any) -> None:
    energy = Formula(lambda code, data: code.sum(dim=1), numbers(5, 4))  # falls for ever
    found = minimise(energy, solver, numbers(5, 4))
    assert found.evaluations.tolist() == [solver.steps] * 5
    assert sum(energy.widths) == 5 * solver.steps
    assert found.outcome == [Outcome.BUDGET_SPENT] * 5


def test_steps_that_the_interval_does_not_divide() -> None:
    energy = Formula(bowl, numbers(3, 4))
    assert minimise(energy, Adam(steps=13), numbers(3, 4)).evaluations.tolist() == [13] * 3


def test_converged_images_leave_and_the_others_go_on() -> None:
    data = numbers(64, 4)
    start = torch.where(torch.arange(64)[:, None] < 32, data, data + 3)
    energy = Formula(bowl, data)
    found = minimise(energy, RMSprop(), start, stop=Stop(tolerance=1e-4, patience=20))
    assert set(found.outcome) == {Outcome.CONVERGED}
    assert found.evaluations[:32].max() < found.evaluations[32:].min()
    assert len(set(energy.widths)) < 20
    assert energy.widths[0] == 64
    assert sum(energy.widths) <= 1.15 * found.evaluations.sum()


def test_exact_is_exact() -> None:
    energy = Formula(lambda code, data: (code - data).square().sum(dim=1), numbers(4, 3), floor=1e-13)
    found = minimise(energy, Lbfgs(metric=False), torch.zeros(4, 3))
    assert found.outcome == [Outcome.EXACT] * 4


def test_an_image_that_goes_non_finite_starts_again_and_keeps_its_best() -> None:
    data = torch.tensor([[2.0, 0], [-3.0, 0], [2.0, 1]])  # the second image is drawn over the edge
    asked: list[list[int]] = []

    def redraw(index: Tensor) -> Tensor:
        asked.append(index.tolist())
        return torch.full((len(index), 2), 4.0)

    found = minimise(Formula(broken_outside, data), Adam(steps=300, lr=0.1), torch.zeros(3, 2), redraw=redraw)
    assert asked == [[1]] * 3
    assert found.outcome == [Outcome.BUDGET_SPENT, Outcome.DIVERGED, Outcome.BUDGET_SPENT]
    assert torch.isfinite(found.energy).all()
    assert -1 < found.code[1, 0] < -0.8
    assert found.evaluations[1] > found.evaluations[0] / 10
    alone = minimise(Formula(broken_outside, data[::2]), Adam(steps=300, lr=0.1), torch.zeros(2, 2))
    assert torch.equal(alone.code, found.code[::2])


@pytest.mark.parametrize("solver", [Adam(), RMSprop(lr=0.1), Lbfgs(metric=False)], ids=lambda s: s.name)
def test_recovered_after_a_restart(solver: Any) -> None:
    data, start = torch.full((4, 2), 1.0), torch.tensor([[0.0, 0], [-2, 0], [3, 0], [-4, 0]])
    found = minimise(
        Formula(broken_outside, data), solver, start, redraw=lambda index: torch.full((len(index), 2), 2.0)
    )
    assert [o is Outcome.RESTARTED for o in found.outcome] == [False, True, False, True]
    torch.testing.assert_close(found.energy, torch.full((4,), 0.01), rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("solver", [Adam(), RMSprop(), Lbfgs(metric=False)], ids=lambda s: s.name)
def test_non_finite_throughout_and_without_redraw(solver: Any) -> None:
    data, start = numbers(3, 2), torch.tensor([[0.0, 0], [-2, 0], [3, 0]])
    never = minimise(
        Formula(lambda code, data: code.sum(dim=1) * torch.nan, data), solver, start, redraw=lambda index: start[index]
    )
    assert never.outcome == [Outcome.NON_FINITE] * 3
    assert not any(o.found for o in never.outcome)
    assert torch.equal(never.code, start)
    assert never.evaluations.tolist() == [20] * 3
    once = minimise(Formula(broken_outside, data), solver, start)
    assert once.outcome[1] is Outcome.NON_FINITE
    assert torch.isfinite(once.energy[[0, 2]]).all()


def test_a_line_search_steps_back_from_the_edge() -> None:
    """A non-finite trial is a rejected trial, not a restart."""
    start = torch.tensor([[3.0, 0.0]])
    found = minimise(Formula(broken_outside, torch.tensor([[-0.9, 0.0]])), Lbfgs(metric=False), start)
    assert found.energy.item() == pytest.approx(0.01, rel=1e-3)
    assert found.outcome[0] in (Outcome.CONVERGED, Outcome.STALLED)


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: f"{s.name}-{s.steps}")
@pytest.mark.parametrize("prior", [Uniform(-1, 1), StandardNormal()], ids=["box", "ball"])
def test_every_code_evaluated_is_inside(solver: Any, prior: Uniform) -> None:
    def strict(code: Tensor, data: Tensor) -> Tensor:
        torch.testing.assert_close(prior.project(code), code)
        return bowl(code, data)

    found = minimise(Formula(strict, 9 * numbers(6, 4)), solver, 5 * numbers(6, 4, seed=1), projection=prior.project)
    assert torch.isfinite(found.energy).all()


def test_best_of_keeps_the_best_and_adds_the_evaluations() -> None:
    def run(energy: list[float], outcome: Outcome) -> Minimum:
        return Minimum(torch.tensor(energy)[:, None] * 10, torch.tensor(energy), torch.tensor([3, 4]), [outcome] * 2)

    best = best_of(
        [run([1.0, torch.inf], Outcome.CONVERGED), run([2.0, 3.0], Outcome.EXACT), run([1.0, 5.0], Outcome.STALLED)]
    )
    assert best.energy.tolist() == [1, 3]
    assert best.code.tolist() == [[10], [30]]
    assert best.evaluations.tolist() == [9, 12]
    assert best.outcome == [Outcome.CONVERGED, Outcome.EXACT]


def test_few_widths_and_none_left_behind() -> None:
    widths = set()
    for count in range(65):
        present = torch.zeros(64, dtype=torch.bool)
        present[torch.randperm(64, generator=torch.Generator().manual_seed(count))[:count]] = True
        staying = _staying(present)
        assert torch.equal(staying, staying.sort().values)
        assert set(present.nonzero()[:, 0].tolist()) <= set(staying.tolist())
        assert len(staying) <= 1.25 * count
        widths.add(len(staying))
    assert len(widths) <= 22


def test_settings_import_no_torch() -> None:
    script = "import sys; import preimage.harness.solvers; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_every_outcome_is_a_sentence() -> None:
    for outcome in Outcome:
        assert outcome.value[0].isupper()
        assert outcome.value.endswith(".")
