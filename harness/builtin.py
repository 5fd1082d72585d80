"""The built-in distances and solvers, registered through the same hooks as a stranger's."""

from __future__ import annotations

from preimage.harness.distances import L2, CrossEntropy, SquaredL2
from preimage.harness.hooks import Register, hookimpl
from preimage.harness.solvers.adam import Adam
from preimage.harness.solvers.encoder import Encoder
from preimage.harness.solvers.lbfgs import Lbfgs
from preimage.harness.solvers.rmsprop import RMSprop


@hookimpl
def register_distances(register: Register) -> None:
    register(SquaredL2())
    register(L2())
    register(CrossEntropy())


@hookimpl
def register_solvers(register: Register) -> None:
    register(Adam)
    register(Encoder)
    register(Lbfgs)
    register(RMSprop)
