"""The built-in distances, solvers and samplers, registered through the same hooks as a stranger's."""

from __future__ import annotations

from preimage.harness.distances import L2, CrossEntropy, SquaredL2
from preimage.harness.hooks import Deferred, Register, hookimpl


@hookimpl
def register_distances(register: Register) -> None:
    register(SquaredL2())
    register(L2())
    register(CrossEntropy())


@hookimpl
def register_solvers(register: Register) -> None:
    register("adam", Deferred("preimage.harness.solvers.adam:Adam"))
    register("encoder", Deferred("preimage.harness.solvers.encoder:Encoder"))
    register("lbfgs", Deferred("preimage.harness.solvers.lbfgs:Lbfgs"))
    register("rmsprop", Deferred("preimage.harness.solvers.rmsprop:RMSprop"))


@hookimpl
def register_samplers(register: Register) -> None:
    register("laplace", Deferred("preimage.harness.samplers.laplace:Laplace"))
    register("prior-path", Deferred("preimage.harness.samplers.prior_path:PriorPath"))
    register("published", Deferred("preimage.harness.samplers.published:Published"))
