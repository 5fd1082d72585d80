"""Codes drawn from a model's prior, in whichever space they are wanted, and the labels that they are decoded under."""

from __future__ import annotations

import torch
from torch import Tensor

from preimage.harness.errors import GeneratorError
from preimage.harness.generator import Generator
from preimage.harness.streams import Streams


def draw(generator: Generator, streams: Streams, label: Tensor | None, space: str | None = None) -> Tensor:
    """One code per stream, [n, dim]: from the space's prior, or drawn in the native space and pushed where it has none.

    label: [n] int64, needed where pushing depends on it. space: the native one where None.
    Raises GeneratorError where neither space has a prior.
    """
    native = generator.native
    wanted = native if space is None else generator.space(space)
    if wanted.prior is not None:
        return wanted.prior.sample(streams, wanted.dim)
    if native.prior is None:
        raise GeneratorError(f"neither space {wanted.name!r} nor {native.name!r} has a prior to draw codes from")
    with torch.no_grad():
        return generator.push(native.prior.sample(streams, native.dim), label, source=native.name, target=wanted.name)


def draw_labels(generator: Generator, streams: Streams) -> Tensor | None:
    """What codes are decoded under, one per stream: classes, uniform; parts of a mixture, by its weights; else None."""
    if generator.num_classes:
        return streams.integers(generator.num_classes)
    if not generator.part_weights:
        return None
    until = torch.tensor(generator.part_weights, dtype=torch.float64).cumsum(dim=0)[:-1].to(streams.device)
    return torch.bucketize(streams.uniform().double(), until, right=True)
