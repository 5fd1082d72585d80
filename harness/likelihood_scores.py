"""What a likelihood is scored as: bits per dimension, marginals over classes, when a bound is too loose. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from preimage.harness.rows import Floats, Rows

BITS_PER_DIM = "bits_per_dim = log p(x) / (D ln 2) − log₂ 256"
"""The formula, printed wherever the figure stands: of a density over 256 levels, not over [0, 1]. Higher is better."""
UNRELIABLE = 0.01
"""A score is unreliable where its bounds are further apart than this, in bits per dimension."""
SIGMA2 = "/sigma2="
"""What begins the suffix of roles and scores where several noise variances were asked for."""


def bits_per_dim(log_likelihood: Floats, dimensions: Floats) -> Floats:
    """Bits per dimension of densities over [0, 1] pixels, in nats, of images of so many values (METHODS 9)."""
    bits: Floats = in_bits(log_likelihood, dimensions) - np.log2(256.0)
    return bits


def in_bits(nats: Floats, dimensions: Floats) -> Floats:
    """A difference of log-likelihoods in bits per dimension."""
    bits: Floats = nats / (dimensions * np.log(2.0))
    return bits


def marginal(rows: Rows) -> Floats:
    """log p(x) of each image, [images], nats: under every label the log of the mean over classes, a uniform prior."""
    table = rows.table("log_likelihood")
    log_p: Floats = np.logaddexp.reduce(table, axis=1) - np.log(table.shape[1])
    return log_p


def by_noise(rows: Mapping[str, Rows]) -> dict[str, dict[str, Rows]]:
    """Rows by the suffix of their roles, ``""`` or ``/sigma2=0.01``, then by role without it."""
    found: dict[str, dict[str, Rows]] = {}
    for role, measured in rows.items():
        name, mark, value = role.rpartition(SIGMA2)
        found.setdefault(mark + value if mark else "", {})[name if mark else role] = measured
    return found
