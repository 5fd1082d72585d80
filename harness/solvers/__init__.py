"""Optimisers of codes. Here are their settings, which import no torch.

``energy.RecoveryEnergy`` is what they minimise, ``metric.measure_metric`` the model's metric; ``minimise.minimise``
drives one over a batch of images.
"""

from __future__ import annotations

from preimage.harness.solvers.adam import Adam
from preimage.harness.solvers.lbfgs import Lbfgs
from preimage.harness.solvers.outcome import Outcome
from preimage.harness.solvers.rmsprop import RMSprop

__all__ = ["Adam", "Lbfgs", "Outcome", "RMSprop"]
