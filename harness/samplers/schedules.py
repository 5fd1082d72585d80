"""Schedules: where the temperatures of an annealing path stand, from 0 to 1, float64."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

GRID = 4_001
"""Points of the grid on which a path's length is integrated: even in log(1 + beta lambda), its error is below 1e-5."""


def sigmoid_schedule(intervals: int, rad: float = 4.0) -> Tensor:
    """``beta_t = (s_t - s_0) / (s_T - s_0)``, ``s_t = sigmoid(rad (2 t / T - 1))``, t = 0 ... T; [T + 1].

    Wu et al., ICLR 2017, section 5 (rad = 4).
    """
    t = torch.arange(intervals + 1, dtype=torch.float64)
    s = torch.sigmoid(rad * (2 * t / intervals - 1))
    return (s - s[0]) / (s[-1] - s[0])


def spectral_schedule(intervals: int, eigenvalues: Tensor, start: float = 0.0) -> Tensor:
    """Temperatures evenly spaced in the thermodynamic length of a Gaussian with precision ``1 + beta lambda_i``.

    The speed at beta is ``sqrt(1/2 sum_i (lambda_i / (1 + beta lambda_i))^2)``, the standard deviation of the quadratic
    log-likelihood. eigenvalues: lambda [dim], those of ``A D / sigma2``. start: where beta begins. [T + 1], from start
    to 1. METHODS 13.1. With no eigenvalue above 0, even spacing.
    """
    lam = eigenvalues.double().clamp_min(0.0).cpu().numpy()
    largest = float(lam.max(initial=0.0))
    if largest <= 0:
        return torch.linspace(start, 1.0, intervals + 1, dtype=torch.float64)
    # beta = (exp(s) - 1) / largest: even in s where the stiffest direction is felt, linear below it
    s = np.linspace(math.log1p(start * largest), math.log1p(largest), GRID)
    beta = np.expm1(s) / largest
    column = lam[:, None]
    speed = np.sqrt(0.5 * ((column / (1 + beta * column)) ** 2).sum(axis=0))
    length = np.concatenate([[0.0], np.cumsum(0.5 * (speed[1:] + speed[:-1]) * np.diff(beta))])
    even = np.linspace(0.0, length[-1], intervals + 1)
    schedule = np.interp(even, length, beta)
    schedule[0], schedule[-1] = start, 1.0
    return torch.from_numpy(schedule)


def spectral_schedules(intervals: int, eigenvalues: Tensor, start: float = 0.0) -> Tensor:
    """``spectral_schedule`` of each image, [T + 1, n], from eigenvalues [n, 1, dim]; [T + 1] from [dim], one for all.

    Images of one curvature, as those of one label are, share the work.
    """
    if eigenvalues.dim() == 1:
        return spectral_schedule(intervals, eigenvalues, start).to(eigenvalues.device)
    rows, which = torch.unique(eigenvalues.squeeze(1).cpu(), dim=0, return_inverse=True)
    schedules = torch.stack([spectral_schedule(intervals, row, start) for row in rows], dim=1)
    return schedules[:, which].to(eigenvalues.device)
