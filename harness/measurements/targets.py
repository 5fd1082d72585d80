"""What a block's images are compared with: a split's images or the model's own samples, operated by phi."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from preimage.harness.errors import GeneratorError
from preimage.harness.generator import Generator, check_images
from preimage.harness.measurements.draws import draw, draw_labels
from preimage.harness.measurements.labels import check_labels
from preimage.harness.requests import Neighbours, Recovery, Samples
from preimage.harness.streams import Streams, seed_of
from preimage.harness.world import World


@dataclass(frozen=True)
class Targets:
    """The images of a block: indices, true labels [n] (-1: none), evaluations spent on all of them.

    read: [n, c, h, w], as they are. aims: of the same shape, what recovery begins with: changed by an operator that
    acts on targets alone, else the same.
    """

    indices: range
    read: Tensor
    aims: Tensor
    labels: Tensor
    evaluations: int


def targets_of(request: Recovery, block: int, world: World, generator: Generator) -> Targets:
    """The targets of a block. Raises DatasetError for a missing label, GeneratorError for samples not finite."""
    indices = range(block * request.block, (block + 1) * request.block)
    if isinstance(request.images, Samples):
        images, labels = own_samples(request.images, request.model.name, indices, world, generator)
        spent = len(images)
    else:
        images, labels = world.images(request.images, indices)
        own_classes = world.dataset(request.images.dataset).num_classes == request.labels  # an outlier set has others
        if request.label == "true" or (request.label == "every" and own_classes):
            check_labels(labels, request.labels, request.images)
        indices, spent = range(indices.start, indices.start + len(images)), 0
    aims = images
    if not request.operator.both_sides:
        aims = request.operator(images, operator_streams(request, indices, world))
    return Targets(indices, images, aims, labels, spent)


def operator_streams(request: Recovery | Neighbours, indices: Sequence[int], world: World) -> Streams:
    """What the operator draws from: one stream per image, the same for every model."""
    return Streams([seed_of(request.seed, "operator", index) for index in indices], world.device)


def as_large(images: Tensor, others: Tensor) -> Tensor:
    """The images in the height and width of the others, each pixel repeated: for pictures."""
    return torch.nn.functional.interpolate(images, size=others.shape[2:], mode="nearest")


def own_samples(
    samples: Samples, model: str, indices: range, world: World, generator: Generator
) -> tuple[Tensor, Tensor]:
    """The model's own samples and their labels (-1 for an unconditional one)."""
    streams = Streams([seed_of(samples.seed, "samples", i) for i in indices], world.device)
    code = draw(generator, streams, None)
    under = draw_labels(generator, streams)
    with torch.no_grad():
        images = generator.decode(code, under, space=generator.native.name)
    check_images(images, len(indices), generator.image, f"model {model!r}")
    if not bool(torch.isfinite(images).all()):
        raise GeneratorError(
            f"model {model!r}: some of its own samples have pixels that are not finite; "
            f"check the model with `preimage check {model}`"
        )
    if under is None or not generator.num_classes:
        return images, torch.full((len(indices),), -1)
    return images, under
