"""The curvature of the log-likelihood: ``J^T J / sigma2`` on average over the prior, or at each image's own code."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from preimage.harness.distances import SquaredL2
from preimage.harness.errors import NotFiniteJacobian
from preimage.harness.generator import Generator, LatentSpace
from preimage.harness.priors import StandardNormal
from preimage.harness.samplers.charts import Chart, PlainChart, chart_of
from preimage.harness.samplers.likelihood import Likelihood
from preimage.harness.solvers.metric import Metric, measure_metric


class Curvature(NamedTuple):
    """``Lambda = Q diag(eigenvalues) Q^T`` in the chart's coordinates: one for all images, or one of each image.

    eigenvalues: [dim] or [n, 1, dim] float64, ascending and not below 0. rotation: Q, [dim, dim] or [n, dim, dim]
    float32. borrowed: of which images it is the model's because their own was not finite, [n] bool, or [].
    """

    eigenvalues: Tensor
    rotation: Tensor
    borrowed: Tensor

    def matrix(self) -> Tensor:
        """Lambda, float64."""
        rotation = self.rotation.double()
        return (rotation * self.eigenvalues) @ rotation.mT


class Charted(Generator):
    """A generator read in a chart's coordinates, as the space ``u`` under the chart's law."""

    def __init__(self, generator: Generator, space: LatentSpace, chart: Chart) -> None:
        super().__init__()
        self.generator, self.latent, self.chart = generator, space, chart
        law = chart.prior if isinstance(chart, PlainChart) else StandardNormal()
        self.spaces = {"u": LatentSpace("u", space.dim, law)}
        self.image, self.num_classes = generator.image, generator.num_classes

    def decode(self, code: Tensor, label: Tensor | None = None, *, space: str = "u") -> Tensor:
        self.space(space)
        return self.generator.decode(self.chart.code(code), label, space=self.latent.name)


def chart_metric(generator: Generator, u: Tensor, label: Tensor | None = None, *, space: str = "z") -> Metric:
    """``A``, the mean of ``J^T J / D`` over draws u [m, dim] of the chart's law, in its coordinates; dim evaluations a
    draw. Raises NotFiniteJacobian."""
    latent = generator.space(space)
    return measure_metric(
        Charted(generator, latent, chart_of(latent)), SquaredL2(), u, label, space="u", who=type(generator).__name__
    )


def curvature_of(matrices: Tensor, pixels: int, sigma2: float, which: Tensor | None = None) -> Curvature:
    """``Lambda = A D / sigma2`` from matrices A [k, dim, dim] float64 of ``chart_metric``, D = pixels.

    which: for each image its matrix, [n] int64 (its label's); None: the first serves all.
    """
    values, vectors = torch.linalg.eigh(matrices * (pixels / sigma2))
    values, vectors = values.clamp_min(0.0), vectors.float()
    if which is None:
        return Curvature(values[0], vectors[0], torch.tensor(False, device=values.device))
    borrowed = torch.zeros(len(which), dtype=torch.bool, device=values.device)
    return Curvature(values[which].unsqueeze(1), vectors[which], borrowed)


def image_curvature(likelihood: Likelihood, u: Tensor, model: Curvature) -> Curvature:
    """At one code u [n, dim] of each image; dim evaluations each.

    An image whose Jacobian is not finite there has the model's curvature, and is marked as having borrowed it.
    """
    charted = Charted(likelihood.generator, likelihood.space, likelihood.chart)
    scale = likelihood.target[0].numel() / likelihood.sigma2
    matrices = model.matrix().expand(len(u), -1, -1).clone()
    borrowed = torch.zeros(len(u), dtype=torch.bool)
    for i in range(len(u)):
        label = None if likelihood.label is None else likelihood.label[i : i + 1]
        try:
            matrices[i] = measure_metric(charted, SquaredL2(), u[i : i + 1], label, space="u").matrix * scale
        except NotFiniteJacobian:
            borrowed[i] = True
    likelihood.evaluations += u.shape[1]
    return _spectrum(matrices, borrowed)


def blended(image: Curvature, model: Curvature, share: float) -> Curvature:
    """``(1 - share) A_x + share A``: held up by the model where the image happens to be flat."""
    return _spectrum((1 - share) * image.matrix() + share * model.matrix(), image.borrowed)


def _spectrum(matrices: Tensor, borrowed: Tensor) -> Curvature:
    values, vectors = torch.linalg.eigh(matrices)
    return Curvature(values.clamp_min(0.0).unsqueeze(1), vectors.float(), borrowed)
