"""L-BFGS: exact answers on linear generators, the same minima as torch's, images that never meet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from small_generators import Formula, Linear, numbers, rosenbrock, smooth_network
from torch import Tensor

from preimage.harness.distances import L2, Distance, SquaredL2
from preimage.harness.errors import UsageError
from preimage.harness.priors import StandardNormal, Uniform
from preimage.harness.solvers import Lbfgs, Outcome
from preimage.harness.solvers.energy import RecoveryEnergy
from preimage.harness.solvers.interface import Value
from preimage.harness.solvers.metric import MetricPreconditioner, measure_metric
from preimage.harness.solvers.minimise import Minimum, minimise
from preimage.harness.solvers.pair_history import inverse_product, no_pairs, remember
from preimage.harness.solvers.quasi_newton import shrinkage

DEFAULT = Lbfgs()


def recovered(
    generator: Linear, target: Tensor, distance: Distance, solver: Lbfgs = DEFAULT, label: Tensor | None = None
) -> Minimum:
    dim = generator.native.dim
    labels = [None] if label is None else [torch.full((4,), c) for c in range(generator.num_classes)]
    metrics = [measure_metric(generator, distance, numbers(4, dim, seed=1), of) for of in labels]
    energy = RecoveryEnergy(generator, target, distance, label, preconditioner=MetricPreconditioner(metrics, label))
    return minimise(energy, solver, numbers(len(target), dim, seed=2))


SHAPES = [(1, 1.0), (2, 1000.0), (8, 30.0), (16, 1000.0), (64, 1.0), (64, 30.0), (64, 1000.0)]


@pytest.mark.parametrize("distance", [SquaredL2(), L2()], ids=["mse", "l2"])
@pytest.mark.parametrize(("dim", "condition"), SHAPES)
def test_recovery_of_a_linear_generator_is_least_squares(dim: int, condition: float, distance: Distance) -> None:
    generator = Linear(dim, 100, condition=condition)
    target = generator.decode(numbers(6, dim, seed=3)) + 0.1 * numbers(6, 1, 1, 100, seed=4)
    best = generator.least_squares(target)
    expected = best if distance.squared else (100 * best).sqrt()
    found = recovered(generator, target, distance)
    torch.testing.assert_close(found.energy.double(), expected, rtol=1e-3, atol=0.0)
    assert found.evaluations.max() <= 200


@pytest.mark.parametrize(("dim", "condition"), SHAPES)
def test_the_floor_of_a_linear_generator_is_nothing(dim: int, condition: float) -> None:
    generator = Linear(dim, 100, condition=condition)
    found = recovered(generator, generator.decode(numbers(6, dim, seed=3)), SquaredL2())
    assert found.energy.max() < 1e-8
    if condition < 100:
        assert set(found.outcome) == {Outcome.EXACT}


def test_a_metric_per_label() -> None:
    generator, label = Linear(8, 50, classes=3, condition=100), torch.tensor([0, 1, 2, 2, 1, 0])
    target = numbers(6, 1, 1, 50, seed=3)
    found = recovered(generator, target, SquaredL2(), label=label)
    for i, c in enumerate(label.tolist()):
        assert found.energy[i].item() == pytest.approx(generator.least_squares(target[i : i + 1], c).item(), rel=1e-4)


def test_the_golden_linear_gaussian_model(shared: Path) -> None:
    file = shared / "golden" / "linear-gaussian" / "linear_gaussian.npz"
    if not file.is_file():
        pytest.skip(f"{file} is not there")
    golden = np.load(file)
    generator = Linear(16, 256)
    generator.weights, generator.bias = torch.from_numpy(golden["W"])[None], torch.from_numpy(golden["b"])
    target = torch.from_numpy(golden["x"]).view(-1, 1, 1, 256)
    found = recovered(generator, target, SquaredL2())
    torch.testing.assert_close(found.energy.double(), generator.least_squares(target), rtol=1e-4, atol=0.0)


@pytest.mark.parametrize("metric", [True, False])
def test_the_minimum_is_the_one_that_torch_finds(metric: bool) -> None:
    generator = smooth_network()
    target = generator.decode(numbers(4, 6, seed=3)) + 0.05 * numbers(4, 1, 1, 40, seed=4)
    start = numbers(4, 6, seed=3) + 0.2 * numbers(4, 6, seed=5)
    preconditioner = MetricPreconditioner([measure_metric(generator, SquaredL2(), numbers(8, 6))])
    energy = RecoveryEnergy(generator, target, SquaredL2(), preconditioner=preconditioner)
    found = minimise(energy, Lbfgs(metric=metric), start)
    for i in range(4):
        code, alone = start[i : i + 1].clone().requires_grad_(), energy.select(torch.tensor([i]))
        theirs = torch.optim.LBFGS([code], max_iter=200, line_search_fn="strong_wolfe", tolerance_change=1e-12)

        def closure(code: Tensor = code, alone: RecoveryEnergy = alone) -> Tensor:
            value = alone(code)
            code.grad = value.gradient
            return value.energy.sum()

        theirs.step(closure)
        assert found.energy[i].item() == pytest.approx(alone(code).energy.item(), rel=1e-3)
        torch.testing.assert_close(found.code[i], code.detach()[0], rtol=0.0, atol=0.02)


def test_rosenbrock_valleys_of_many_images() -> None:
    data = numbers(16, 6, seed=1)
    energy = Formula(rosenbrock, data)
    found = minimise(energy, Lbfgs(metric=False, patience=0, steps=300), torch.zeros(16, 6))
    assert found.energy.max() < 1e-8
    torch.testing.assert_close(found.code, 1 + data, rtol=0.0, atol=1e-3)


def test_the_metric_makes_recovery_cheaper() -> None:
    generator = Linear(32, 100, condition=100)
    target = generator.decode(numbers(6, 32, seed=3))
    inside, outside = (recovered(generator, target, SquaredL2(), Lbfgs(steps=40, metric=m)) for m in (True, False))
    assert inside.energy.median() < 0.1 * outside.energy.median()


def test_a_step_is_one_evaluation() -> None:
    energy = Formula(rosenbrock, numbers(5, 4))
    state = Lbfgs(metric=False).init(energy, torch.zeros(5, 4))
    for step in range(30):
        state, info = Lbfgs(metric=False).step(energy, state, None, None)
        assert len(energy.widths) == step + 1
        torch.testing.assert_close(info.energy, rosenbrock(info.code, energy.data))
    assert (state.trials == 0).any()


def test_accepted_energies_never_rise_and_searches_stand_beside_turns() -> None:
    energy, solver = Formula(rosenbrock, numbers(32, 4)), Lbfgs(metric=False)
    state, mixed = solver.init(energy, torch.zeros(32, 4)), 0
    for _ in range(60):
        before = state.energy
        state, _ = solver.step(energy, state, None, None)
        assert (state.energy <= before).all()
        mixed += 0 < int((state.trials > 0).sum()) < 32
    assert mixed > 10


def test_the_inverse_product_is_the_dense_bfgs_inverse() -> None:
    """``H+ = (I - r s y') H (I - r y s') + r s s'`` (Nocedal and Wright, 6.17), pair by pair, from a diagonal H0.

    Images skip pairs at different times, forget at different times, and keep the last three.
    """
    memory, spread = 3, torch.tensor([1.0, 2, 0.5, 1, 3])
    pairs, kept = no_pairs(memory, torch.zeros(4, 5)), [[] for _ in range(4)]
    for t in range(12):
        push, pull, gradient = numbers(4, 5, seed=t), numbers(4, 5, seed=50 + t), numbers(4, 5, seed=90 + t)
        pull = push + 0.3 * pull
        wanted = torch.tensor([True, t % 2 == 0, t % 3 > 0, t > 6])
        pairs = remember(pairs, push, pull, wanted)
        forget = torch.tensor([False, False, t == 7, False])
        pairs = pairs._replace(held=pairs.held.masked_fill(forget, 0))
        found = inverse_product(pairs, gradient, lambda v: v * spread)
        for i in range(4):
            kept[i] += [(push[i], pull[i])] if wanted[i] else []
            kept[i] = [] if forget[i] else kept[i]
            inverse = torch.diag(spread)
            for s, y in kept[i][-memory:]:
                left = torch.eye(5) - torch.outer(s, y) / (s @ y)
                inverse = left @ inverse @ left.T + torch.outer(s, s) / (s @ y)
            torch.testing.assert_close(found[i], inverse @ gradient[i], rtol=1e-3, atol=1e-3)


def test_a_rejected_step_shrinks_to_the_minimum_of_the_cubic() -> None:
    def cubic(t: Tensor) -> tuple[Tensor, Tensor]:
        return 4 * t**3 - t, 12 * t**2 - 1  # minimum at 1 / sqrt(12)

    (f0, g0), (f1, g1) = cubic(torch.zeros(1)), cubic(torch.ones(1))
    assert shrinkage(f0, f1, g0, g1).item() == pytest.approx(12**-0.5, rel=1e-5)
    for broken in (torch.nan, torch.inf):
        assert shrinkage(f0, torch.tensor([broken]), g0, torch.tensor([broken])).item() == pytest.approx(0.1)


@pytest.mark.parametrize("metric", [True, False])
def test_images_never_meet(metric: bool) -> None:
    """Other neighbours, another order: the same result, up to the rounding that another batch width brings."""
    generator = smooth_network()
    target, start = generator.decode(numbers(9, 6, seed=3)) + 0.1, numbers(9, 6, seed=4)
    preconditioner = MetricPreconditioner([measure_metric(generator, SquaredL2(), numbers(8, 6))])
    energy = RecoveryEnergy(generator, target, SquaredL2(), preconditioner=preconditioner)
    solver = Lbfgs(metric=metric, steps=200)  # to the minimum: on the way an optimiser amplifies the last bit
    whole = minimise(energy, solver, start)
    again = minimise(energy, solver, start)
    assert torch.equal(whole.code, again.code)
    assert torch.equal(whole.energy, again.energy)
    for index in (torch.tensor([7, 2, 5]), torch.arange(8, -1, -1), torch.tensor([4])):
        part = minimise(energy.select(index), solver, start[index])
        torch.testing.assert_close(part.energy, whole.energy[index], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("prior", [Uniform(-1, 1), StandardNormal()], ids=["box", "ball"])
def test_projected_codes_stay_and_reach_the_constrained_minimum(prior: Uniform) -> None:
    generator = Linear(4, 20, condition=3)
    target = generator.decode(4 * numbers(8, 4, seed=3))
    preconditioner = MetricPreconditioner([measure_metric(generator, SquaredL2(), numbers(4, 4))])
    energy = RecoveryEnergy(generator, target, SquaredL2(), preconditioner=preconditioner)
    found = minimise(energy, Lbfgs(), numbers(8, 4, seed=4), projection=prior.project)
    torch.testing.assert_close(prior.project(found.code), found.code)
    code = prior.project(torch.zeros(8, 4))
    for _ in range(400):  # projected gradient: slow and sure
        code = prior.project(code - 2.0 * energy(code).gradient)
    torch.testing.assert_close(found.energy, energy(code).energy, rtol=1e-2, atol=1e-6)


class Uphill:
    """An energy whose gradient has the wrong sign."""

    floor, preconditioner = -1.0, None

    def __call__(self, code: Tensor) -> Value:
        return Value(code.square().sum(dim=1), -2 * code)

    def select(self, index: Tensor) -> Uphill:
        return self


def test_a_gradient_of_the_wrong_sign_stalls() -> None:
    found = minimise(Uphill(), Lbfgs(metric=False), torch.ones(3, 2))
    assert found.outcome == [Outcome.STALLED] * 3
    assert found.energy.tolist() == [2] * 3


def test_the_metric_is_wanted() -> None:
    with pytest.raises(UsageError, match="metric=false"):
        minimise(Formula(rosenbrock, numbers(2, 4)), Lbfgs(), torch.zeros(2, 4))
