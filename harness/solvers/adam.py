"""Settings of Adam; the steps are in ``first_order.py``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from preimage.harness.settings import option

if TYPE_CHECKING:
    from torch import Tensor

    from preimage.harness.solvers.first_order import AdamState
    from preimage.harness.solvers.interface import Energy, Info, Projection
    from preimage.harness.streams import Streams


@dataclass(frozen=True)
class Adam:
    """Adam, one run per image: ``z <- z - lr_t m / (sqrt(v) + eps)`` with bias-corrected moments m, v of the gradient.

    With ``whitened`` the same in coordinates u of the model's metric, ``z = L u``, where the metric is the identity.
    ``projection`` makes it projected Adam.

    Kingma and Ba, ICLR 2015; the cosine schedule is Loshchilov and Hutter's, ICLR 2017, without restarts.
    """

    name: ClassVar[str] = "adam"

    lr: float = option(0.05, "learning rate, code units per step at the start")
    steps: int = option(750, "generator evaluations per image, at most")
    schedule: Literal["cosine", "constant"] = option(
        "cosine", "of the learning rate; cosine falls to 0 at the last step"
    )
    beta1: float = option(0.9, "decay of the first moment per step")
    beta2: float = option(0.999, "decay of the second moment per step")
    eps: float = option(1e-8, "added to the root of the second moment, gradient units")
    whitened: bool = option(False, "step in coordinates in which the model's metric is the identity")
    tolerance: float = option(1e-4, "relative gain in energy that counts as progress")
    patience: int = option(0, "evaluations without that gain after which an image has converged; 0: spend all steps")

    @property
    def needs_metric(self) -> bool:
        """Whether ``energy.preconditioner`` must be there."""
        return self.whitened

    def init(self, energy: Energy, position: Tensor) -> AdamState:
        """The state at the start [n, dim], moments zero."""
        from preimage.harness.solvers.first_order import adam_init

        return adam_init(position)

    def step(
        self, energy: Energy, state: AdamState, streams: Streams | None, projection: Projection | None
    ) -> tuple[AdamState, Info]:
        """Evaluate once per image and move. Done where the energy or its gradient is not finite."""
        from preimage.harness.solvers.first_order import adam_step

        return adam_step(self, energy, state, projection)
