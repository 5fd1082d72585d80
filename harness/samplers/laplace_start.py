"""A start near the posterior: the Gaussian that touches it at the best code, tempered."""

from __future__ import annotations

from torch import Tensor

from preimage.harness.samplers.curvature import Curvature
from preimage.harness.samplers.likelihood import Likelihood
from preimage.harness.samplers.path import Gaussian, Path
from preimage.harness.samplers.schedules import spectral_schedules


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
