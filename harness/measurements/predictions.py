"""What a classifier takes images for."""

from __future__ import annotations

import hashlib
import time

import numpy as np
import torch
from torch import Tensor

from preimage.harness.classifiers import Classifier
from preimage.harness.errors import GeneratorError
from preimage.harness.measurements.labels import check_labels
from preimage.harness.prediction_requests import Predictions
from preimage.harness.rows import Block
from preimage.harness.streams import Streams, seed_of
from preimage.harness.world import World

TOGETHER = 16  # images: what passes at once through networks of millions of values per image


@torch.no_grad()
def measure_predictions(request: Predictions, block: int, world: World) -> Block:
    """The likeliest class of each image of a block, its probability (the softmax of the logits), and whether it is so.

    A tie goes to the class listed first. Raises DatasetError for an image without a label, GeneratorError for logits
    of another shape or that are not finite.
    """
    torch.set_num_threads(request.threads)
    began = time.perf_counter()
    network = world.measured_classifier(request.model)
    images, truth = world.images(request.images, range(block * request.block, (block + 1) * request.block))
    first, count = block * request.block, len(images)
    check_labels(truth, request.labels, request.images)
    streams = Streams([seed_of(request.seed, "operator", first + i) for i in range(count)], world.device)
    seen = request.operator(images, streams)
    parts = [checked_logits(network, part, f"model {request.model.name!r}") for part in torch.split(seen, TOGETHER)]
    probability = torch.cat(parts).double().softmax(dim=1).cpu()
    predicted, truth = probability.argmax(dim=1), truth.cpu()
    return Block(
        image=np.arange(first, first + count),
        label=np.full(count, -1),
        values={
            "predicted": predicted.double().numpy(),
            "confidence": probability.max(dim=1).values.numpy(),
            "true_label": truth.double().numpy(),
            "correct": (predicted == truth).double().numpy(),
            "evaluations": np.zeros(count),
        },
        outcome=("EXACT",) * count,
        pixels=hashlib.sha256(images.cpu().numpy().tobytes()).hexdigest(),
        seconds=time.perf_counter() - began,
    )


def checked_logits(network: Classifier, images: Tensor, what: str) -> Tensor:
    """The network's logits [n, classes]. Raises GeneratorError for another shape, and for what is not finite."""
    logits = network.logits(images)
    wanted = (len(images), network.num_classes)
    if not isinstance(logits, Tensor) or tuple(logits.shape) != wanted:
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise GeneratorError(f"{what}: its logits are {shape}, not {wanted}: one number per image and class")
    if not bool(torch.isfinite(logits).all()):
        raise GeneratorError(f"{what}: some of its logits are not finite; check its weights with `preimage check`")
    return logits
