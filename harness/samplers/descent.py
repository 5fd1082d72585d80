"""The search for each image's best code: L-BFGS on the joint density, under the noise itself or under more of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from preimage.harness.distances import SquaredL2
from preimage.harness.samplers.curvature import Charted, Curvature
from preimage.harness.samplers.likelihood import Likelihood
from preimage.harness.solvers.energy import RecoveryEnergy
from preimage.harness.solvers.lbfgs import Lbfgs
from preimage.harness.solvers.metric import Metric, MetricPreconditioner
from preimage.harness.solvers.quasi_newton import lbfgs_init, lbfgs_step


class Descents(NamedTuple):
    """How a search goes down. steps: evaluations of one descent. heats: noise variances in units of the model's, of the
    descents that follow one another from a fresh start."""

    steps: int
    heats: Sequence[float]


def best_mode(likelihood: Likelihood, model: Curvature, ends: Tensor, fresh: Tensor, descents: Descents) -> Tensor:
    """The code of the highest joint density that descents from several starts reach, in the chart's coordinates.

    ends: where a pilot's chains ended, [n, chains, dim], from which descents go straight down. fresh: draws of the
    prior, [n, chains, dim]: from these it goes down under the heats, one after another, so that far away only the
    coarse features of the image pull. Each start takes ``steps`` evaluations per descent, and one for its density in
    the end. Returns u* [n, dim].
    """
    cooled = fresh
    for heat in descents.heats:
        cooled = descend(likelihood, model, cooled, descents.steps, heat)
    down = descend(likelihood, model, ends, descents.steps)
    u = torch.cat([down, cooled], dim=1) if descents.heats else down
    joint = likelihood(u)[0] + likelihood.log_prior(u)[0]
    best = torch.where(torch.isfinite(joint), joint, -torch.inf).argmax(dim=1)
    return u[torch.arange(len(u)), best]


def descend(likelihood: Likelihood, model: Curvature, u: Tensor, steps: int, heat: float = 1.0) -> Tensor:
    """Where L-BFGS comes to from u [n, k, dim] in ``steps`` evaluations each of ``log p(u) + log p(x | u) / heat``.

    Its first inverse Hessian is ``(I + Lambda / heat)^-1``, Lambda the model's mean curvature. A start that is not
    finite stays where it is.
    """
    n, k, dim = u.shape
    energy = joint_energy(likelihood, model, k, heat)
    lbfgs = Lbfgs(steps)
    state = lbfgs_init(lbfgs, u.reshape(n * k, dim))
    for _ in range(steps):
        state, _ = lbfgs_step(lbfgs, energy, state, None)
    likelihood.evaluations += k * steps
    return state.code.reshape(n, k, dim)


def joint_energy(likelihood: Likelihood, model: Curvature, k: int, heat: float) -> RecoveryEnergy:
    """``-(2 heat sigma2 / D) (log p(u) + log p(x | u) / heat)`` up to a constant, k codes of each image in a row: the
    mean squared error, and a penalty."""
    n, dim, pixels = len(likelihood), likelihood.space.dim, likelihood.target[0].numel()
    unit = 2 * heat * likelihood.sigma2 / pixels  # the energy of one nat
    which = torch.arange(n, device=likelihood.target.device).repeat_interleave(k)
    curvature = model.matrix()
    hessians = (torch.eye(dim, dtype=torch.float64, device=curvature.device) + curvature / heat) * unit
    metrics = [
        Metric(part / 2, outputs=1, squared=True, embedded=False, evaluations=0, products="forward")
        for part in hessians.reshape(-1, dim, dim)
    ]
    return RecoveryEnergy(
        Charted(likelihood.generator, likelihood.space, likelihood.chart),
        likelihood.target[which],
        SquaredL2(),
        None if likelihood.label is None else likelihood.label[which],
        space="u",
        beta=unit * dim,
        preconditioner=MetricPreconditioner(metrics, which, damping=0.0),
    )
