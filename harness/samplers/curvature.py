"""The curvature of the log-likelihood: ``J^T J / sigma2`` on average over the prior, or at each image's own code."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from preimage.harness.distances import SquaredL2
from preimage.harness.generator import Generator, LatentSpace
from preimage.harness.priors import StandardNormal
from preimage.harness.samplers.charts import Chart
from preimage.harness.samplers.likelihood import Likelihood
from preimage.harness.solvers.metric import measure_metric


class Curvature(NamedTuple):
    """``Lambda = Q diag(eigenvalues) Q^T`` in the chart's coordinates: eigenvalues [dim] or [n, 1, dim] float64,
    ascending and not below 0; rotation Q [dim, dim] or [n, dim, dim] float32. evaluations: per image, or in all.
    """

    eigenvalues: Tensor
    rotation: Tensor
    evaluations: int


class Charted(Generator):
    """A generator read in a chart's coordinates, as the space ``u``."""

    def __init__(self, generator: Generator, space: LatentSpace, chart: Chart) -> None:
        super().__init__()
        self.generator, self.latent, self.chart = generator, space, chart
        self.spaces = {"u": LatentSpace("u", space.dim, StandardNormal())}
        self.image, self.num_classes = generator.image, generator.num_classes

    def decode(self, code: Tensor, label: Tensor | None = None, *, space: str = "u") -> Tensor:
        self.space(space)
        return self.generator.decode(self.chart.code(code), label, space=self.latent.name)


def model_curvature(likelihood: Likelihood, u: Tensor, label: Tensor | None = None) -> Curvature:
    """The mean over draws u [m, dim] of the prior: one matrix for all images."""
    charted = Charted(likelihood.generator, likelihood.space, likelihood.chart)
    metric = measure_metric(charted, SquaredL2(), u, label, space="u")
    values, vectors = torch.linalg.eigh(metric.matrix * (likelihood.target[0].numel() / likelihood.sigma2))
    return Curvature(values.clamp_min(0.0), vectors.float(), metric.evaluations)


def image_curvature(likelihood: Likelihood, u: Tensor) -> Curvature:
    """At one code u [n, dim] of each image; dim evaluations each."""
    charted = Charted(likelihood.generator, likelihood.space, likelihood.chart)
    matrices = []
    for i in range(len(u)):
        label = None if likelihood.label is None else likelihood.label[i : i + 1]
        matrices.append(measure_metric(charted, SquaredL2(), u[i : i + 1], label, space="u").matrix)
    scale = likelihood.target[0].numel() / likelihood.sigma2
    values, vectors = torch.linalg.eigh(torch.stack(matrices) * scale)
    likelihood.evaluations += u.shape[1]
    return Curvature(values.clamp_min(0.0).unsqueeze(1), vectors.float(), u.shape[1])


def blended(image: Curvature, model: Curvature, share: float) -> Curvature:
    """``(1 - share) A_x + share A``: held up by the model where the image happens to be flat."""

    def matrix(curve: Curvature) -> Tensor:
        rotation = curve.rotation.double()
        return (rotation * curve.eigenvalues) @ rotation.mT

    values, vectors = torch.linalg.eigh((1 - share) * matrix(image) + share * matrix(model))
    return Curvature(values.clamp_min(0.0).unsqueeze(1), vectors.float(), image.evaluations)
