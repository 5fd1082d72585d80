"""A start near the posterior: polish a pilot's best code, and temper the Gaussian that touches the posterior there."""

from __future__ import annotations

import torch
from torch import Tensor

from preimage.harness.samplers.curvature import Curvature, image_curvature
from preimage.harness.samplers.laplace import DAMPINGS
from preimage.harness.samplers.likelihood import Likelihood
from preimage.harness.samplers.path import Gaussian, Path
from preimage.harness.samplers.schedules import spectral_schedules


def polish(likelihood: Likelihood, u: Tensor, model: Curvature, steps: int = 3) -> Tensor:
    """Levenberg-Marquardt steps on ``log p(u) + log p(x | u)`` from u [n, dim]: the best code seen, [n, dim].

    A step takes dim evaluations for the Jacobian, one for the gradient and one for each damping that is tried.
    """
    image = torch.arange(len(u))
    for _ in range(steps):
        curve = image_curvature(likelihood, u, model)
        value, slope = likelihood(u.unsqueeze(1))
        prior, prior_slope = likelihood.log_prior(u.unsqueeze(1))
        white = (slope + prior_slope).double() @ curve.rotation.double()  # [n, 1, dim]
        largest = curve.eigenvalues[:, :, -1:]
        moves = [white / (1 + curve.eigenvalues + share * largest) for share in DAMPINGS]
        tried = u.unsqueeze(1) + (torch.cat(moves, dim=1) @ curve.rotation.double().mT).float()
        candidates = torch.cat([u.unsqueeze(1), tried], dim=1)
        joint = torch.cat([value + prior, likelihood(tried)[0] + likelihood.log_prior(tried)[0]], dim=1)
        u = candidates[image, torch.where(torch.isfinite(joint), joint, -torch.inf).argmax(dim=1)]
    return u


def laplace_path(likelihood: Likelihood, u: Tensor, curve: Curvature, b0: float, intervals: int) -> Path:
    """From ``q0 = N(m, (I + b0 A_x)^-1)``, ``m = (I + b0 A_x)^-1 b0 (I + A_x) u*``, spectral in b on [b0, 1].

    q0 is the Gaussian surrogate of the posterior tempered at b0; under it ``Q_t`` has precision ``I + b A_x`` with
    ``b = b0 + t (1 - b0)``. u: u*, [n, dim]. curve: A_x.
    """
    framed = likelihood.rotated(curve.rotation)
    centre = framed.to_frame(u.unsqueeze(1)).double()
    precision = 1 + b0 * curve.eigenvalues
    mean = b0 * (1 + curve.eigenvalues) * centre / precision
    temperatures = (spectral_schedules(intervals, curve.eigenvalues, b0) - b0) / (1 - b0)
    return Path(framed, temperatures, curve.eigenvalues, Gaussian.at(mean, precision), b0)
