"""Settings of L-BFGS; the steps are in ``quasi_newton.py``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from preimage.harness.settings import option

if TYPE_CHECKING:
    from torch import Tensor

    from preimage.harness.solvers.interface import Energy, Info, Projection
    from preimage.harness.solvers.quasi_newton import LbfgsState
    from preimage.harness.streams import Streams


@dataclass(frozen=True)
class Lbfgs:
    """Limited-memory BFGS in the model's metric: a history and a line search per image, one evaluation per step.

    The initial inverse Hessian is that of the model's mean Gauss-Newton Hessian, rescaled by the secant ratio in that
    metric; without ``metric`` it is the identity so rescaled. The line search asks for Armijo's decrease and backtracks
    to the minimum of the cubic through both ends.

    Nocedal and Wright, Numerical Optimization (2006), algorithms 7.4 and 3.5; the metric: METHODS 13.
    """

    name: ClassVar[str] = "lbfgs"

    steps: int = option(200, "generator evaluations per image, at most")
    memory: int = option(20, "pairs of steps and gradient differences kept")
    metric: bool = option(True, "start from the model's metric instead of the identity")
    armijo: float = option(1e-4, "share of the decrease promised by the slope that a step must bring")
    trials: int = option(10, "evaluations of one line search before it falls back on the gradient, then gives up")
    tolerance: float = option(1e-3, "relative gain in energy that counts as progress")
    patience: int = option(20, "evaluations without that gain after which an image has converged; 0: spend all steps")

    @property
    def needs_metric(self) -> bool:
        """Whether ``energy.preconditioner`` must be there."""
        return self.metric

    def init(self, energy: Energy, position: Tensor) -> LbfgsState:
        """The state at the start [n, dim]: no history, the first evaluation to come."""
        from preimage.harness.solvers.quasi_newton import lbfgs_init

        return lbfgs_init(self, position)

    def step(
        self, energy: Energy, state: LbfgsState, streams: Streams | None, projection: Projection | None
    ) -> tuple[LbfgsState, Info]:
        """Evaluate one trial point per image; accept it and turn, or search on. Done where nothing is lower."""
        from preimage.harness.solvers.quasi_newton import lbfgs_step

        return lbfgs_step(self, energy, state, projection)
