"""Recovery by the model's own encoder: no optimisation at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from preimage.harness.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from preimage.harness.solvers.interface import Energy, Projection
    from preimage.harness.streams import Streams


@dataclass(frozen=True)
class Encoder:
    """``z* = E(x)``, one pass, for models with an encoder (Webster 3.1). Chosen by itself; there is nothing to set."""

    name: ClassVar[str] = "encoder"
    needs_metric: ClassVar[bool] = False
    steps: ClassVar[int] = 1
    tolerance: ClassVar[float] = 0.0
    patience: ClassVar[int] = 0

    def init(self, energy: Energy, position: Tensor) -> Any:
        """An encoder does not iterate. Raises UsageError."""
        raise UsageError("the solver 'encoder' does not iterate: the model has no encoder. Choose --set solver=lbfgs")

    def step(self, energy: Energy, state: Any, streams: Streams | None, projection: Projection | None) -> Any:
        """An encoder does not iterate. Raises UsageError."""
        self.init(energy, state)
