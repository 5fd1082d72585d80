"""From log-weights to bounds on log p(x), and how far apart they are."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from preimage.harness.errors import EmptySplit


def log_mean(log_weight: Tensor) -> Tensor:
    """log of the mean over chains, [n, chains] -> [n] float64."""
    return torch.logsumexp(log_weight.double(), dim=1) - math.log(log_weight.shape[1])


def lower_bound(log_weight: Tensor) -> Tensor:
    """``log mean w`` over forward chains, [n]: below log p(x) on average."""
    return log_mean(log_weight)


def upper_bound(log_weight: Tensor) -> Tensor:
    """``-log mean 1/w`` over reverse chains, [n]: above log p(x) on average."""
    return -log_mean(-log_weight)


def mixed(laplace: Tensor, pilot: Tensor, share: float) -> Tensor:
    """``log(share w_laplace + (1 - share) w_pilot)`` of two estimates of log p(x), [n] each; of lower bounds one.

    Where the Laplace start holds it costs ``-log share`` at most, 0.11 nats for 0.9; where it fails
    ``-log(1 - share)`` over the pilot alone, 2.3 nats. The share is fixed beforehand, so the mixture stays a bound.
    The upper bound is ``-mixed(-upper_laplace, -upper_pilot)``: the same mixture of the reciprocals.
    """
    return torch.logaddexp(laplace + math.log(share), pilot + math.log1p(-share))


def effective_chains(log_weight: Tensor) -> Tensor:
    """``(sum w)^2 / sum w^2`` over chains, [n]: from 1, one chain has all the weight, to their number."""
    return (2 * torch.logsumexp(log_weight, dim=1) - torch.logsumexp(2 * log_weight, dim=1)).exp()


class Gap(NamedTuple):
    """Upper minus lower bound over images, nats: mean with its standard error, median, 90th percentile, the largest."""

    mean: float
    error: float
    median: float
    tenth: float
    largest: float
    images: int


def gap_of(lower: Tensor, upper: Tensor) -> Gap:
    """The gap of bounds [n] on simulated images. Raises EmptySplit where there are no images."""
    if len(lower) == 0:
        raise EmptySplit("no simulated images to take the gap over; simulate at least 1")
    gaps = (upper - lower).double()
    error = float(gaps.std() / math.sqrt(len(gaps))) if len(gaps) > 1 else math.nan
    tenth = float(torch.quantile(gaps, 0.9))
    return Gap(float(gaps.mean()), error, float(gaps.median()), tenth, float(gaps.max()), len(gaps))
