"""The search for each image's best code: L-BFGS on the joint density, under the noise itself or under more of it."""

from __future__ import annotations

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
    """How a search goes down. steps: evaluations of a first descent; those to the end have twice as many. starts: how
    many descents begin under ``heat``, the noise variance in units of the model's. kept: how many of them go on."""

    steps: int
    starts: int = 8
    kept: int = 2
    heat: float = 30.0


def best_mode(likelihood: Likelihood, model: Curvature, ends: Tensor, fresh: Tensor, descents: Descents) -> Tensor:
    """The code of the highest joint density that descents from several starts reach, in the chart's coordinates.

    ends: where a pilot's best chains ended, [n, k, dim]. fresh: draws of the prior, [n, draws, dim]: from those nearest
    to the image descents start under the heat, so that far away only its coarse features pull. The best of them, and
    the ends, go down under the noise itself. Returns u* [n, dim].
    """
    warm = descend(likelihood, model, nearest(likelihood, fresh, descents.starts), descents.steps, descents.heat)
    u = torch.cat([ends, highest(warm, joint(likelihood, warm), descents.kept)], dim=1)
    down = descend(likelihood, model, u, 2 * descents.steps)
    return highest(down, joint(likelihood, down), 1).squeeze(1)


def nearest(likelihood: Likelihood, fresh: Tensor, count: int) -> Tensor:
    """Of draws [n, draws, dim] those whose images are nearest to the target, [n, count, dim]; an evaluation a draw."""
    target = likelihood.target.unsqueeze(1)
    away = [  # in parts no wider than the descents that follow
        (likelihood.images(part) - target).square_().flatten(2).sum(dim=2, dtype=torch.float64)
        for part in torch.split(fresh, count, dim=1)
    ]
    return highest(fresh, -torch.cat(away, dim=1), count)


def joint(likelihood: Likelihood, u: Tensor) -> Tensor:
    """``log p(u) p(x | u)`` of coordinates [n, k, dim], [n, k] float64; an evaluation each."""
    return likelihood(u)[0] + likelihood.log_prior(u)[0]


def highest(u: Tensor, score: Tensor, count: int) -> Tensor:
    """The coordinates [n, k, dim] with the highest scores [n, k], in that order: [n, count, dim]. One that is not
    finite comes last."""
    which = torch.where(torch.isfinite(score), score, -torch.inf).topk(count, dim=1).indices
    return torch.take_along_dim(u, which.unsqueeze(2), dim=1)


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
