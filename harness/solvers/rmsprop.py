"""Settings of RMSprop; the steps are in ``first_order.py``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from preimage.harness.settings import option

if TYPE_CHECKING:
    from torch import Tensor

    from preimage.harness.solvers.first_order import RMSpropState
    from preimage.harness.solvers.interface import Energy, Info, Projection
    from preimage.harness.streams import Streams


@dataclass(frozen=True)
class RMSprop:
    """RMSprop, one run per image: ``z <- z - lr g / (sqrt(v) + eps)``, v a running mean of the squared gradient.

    Tieleman and Hinton, 2012; the defaults are torch's, as in Creswell and Bharath, TNNLS 2018.
    """

    name: ClassVar[str] = "rmsprop"

    lr: float = option(0.01, "learning rate, code units per step")
    steps: int = option(5000, "generator evaluations per image, at most")
    alpha: float = option(0.99, "decay of the mean squared gradient per step")
    eps: float = option(1e-8, "added to its root, gradient units")
    tolerance: float = option(1e-4, "relative gain in energy that counts as progress")
    patience: int = option(100, "evaluations without that gain after which an image has converged; 0: spend all steps")

    @property
    def needs_metric(self) -> bool:
        """Whether ``energy.preconditioner`` must be there."""
        return False

    def init(self, energy: Energy, position: Tensor) -> RMSpropState:
        """The state at the start [n, dim], the mean squared gradient zero."""
        from preimage.harness.solvers.first_order import rmsprop_init

        return rmsprop_init(position)

    def step(
        self, energy: Energy, state: RMSpropState, streams: Streams | None, projection: Projection | None
    ) -> tuple[RMSpropState, Info]:
        """Evaluate once per image and move. Done where the energy or its gradient is not finite."""
        from preimage.harness.solvers.first_order import rmsprop_step

        return rmsprop_step(self, energy, state, projection)
