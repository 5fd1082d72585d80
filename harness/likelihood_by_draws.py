"""log p(x) by the plain average over prior draws: what a closed form is held against where noise is wide."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from preimage.harness.generator import Generator
from preimage.harness.measurements.draws import draw, draw_labels
from preimage.harness.streams import Streams, seed_of


class Averages(NamedTuple):
    """log p(x) of images, [n] float64 each: in closed form, as an average over draws, the average's standard error."""

    closed: Tensor
    average: Tensor
    error: Tensor


def against_draws(generator: Generator, images: int, draws: int) -> Averages:
    """Closed form and average of so many images simulated from the model, those of a conditional one under label 0,
    those of a mixture from all of its parts.

    The variance of the noise is a quarter of the images' total variance, so that many draws are near each image.
    """
    device = next(iter([*generator.buffers(), *generator.parameters()]), torch.empty(0)).device
    count, space = images + draws, generator.native.name
    streams = Streams([seed_of("check-likelihood", i) for i in range(count)], device)
    label = torch.zeros(count, dtype=torch.int64, device=device) if generator.num_classes else None
    under = draw_labels(generator, streams) if label is None else label
    with torch.no_grad():
        made = generator.decode(draw(generator, streams, under), under, space=space).double()
        sigma2 = max(float((made - made.mean(dim=0)).square().flatten(1).sum(dim=1).mean()) / 4, 1e-3)
        noise = streams.normal(*generator.image)[:images].double()
        simulated, others = (made[:images] + math.sqrt(sigma2) * noise).float(), made[images:]
        own = None if label is None else label[:images]
        closed = generator.log_likelihood(simulated, own, sigma2=sigma2, space=space)
    squares = torch.stack([(one - others).flatten(1).square().sum(dim=1) for one in simulated.double()])
    logs = -0.5 * (squares / sigma2 + generator.image.values * math.log(2 * math.pi * sigma2))
    average = logs.logsumexp(dim=1) - math.log(draws)
    spread = (logs.softmax(dim=1).square().sum(dim=1) - 1 / draws).clamp_min(0).sqrt()
    return Averages(closed, average, spread + 1e-9 * average.abs() + 1e-6)
