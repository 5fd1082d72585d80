"""Images simulated from the model ``x = G(z) + noise``, with the codes that they came from."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from preimage.harness.errors import GeneratorError
from preimage.harness.generator import Generator
from preimage.harness.samplers.charts import chart_of
from preimage.harness.streams import Streams


class Simulated(NamedTuple):
    """Exact joint draws: image [n, c, h, w], not clamped, and the chart's coordinates u of its code, [n, dim]."""

    image: Tensor
    u: Tensor


def simulate(
    generator: Generator, streams: Streams, sigma2: float, label: Tensor | None = None, *, space: str = "z"
) -> Simulated:
    """One joint draw per stream. Given its image, u is an exact draw from the posterior: where reverse chains start.

    Raises GeneratorError where the model's own images are not finite.
    """
    latent = generator.space(space)
    chart = chart_of(latent)
    u = chart.draw(streams, 1, latent.dim).squeeze(1)
    with torch.no_grad():
        clean = generator.decode(chart.code(u), label, space=space)
    broken = ~torch.isfinite(clean.flatten(1)).all(dim=1)
    if bool(broken.any()):
        raise GeneratorError(
            f"{int(broken.sum())} of {len(clean)} images that {type(generator).__name__} makes of draws from its prior "
            "are not finite, so no likelihood can be tested on them. Run `preimage check` on the model"
        )
    return Simulated(clean + math.sqrt(sigma2) * streams.normal(*generator.image), u)
