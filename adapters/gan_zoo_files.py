"""Checkpoints of the GAN zoo (facebookresearch/pytorch_GAN_zoo): networks and a record of the training's settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from preimage.adapters.state_files import tensors_of
from preimage.harness.checkpoints import held_in
from preimage.harness.errors import WeightsError
from preimage.harness.reading.inert import InertObject

NETWORKS = ("avgG", "netG")
"""The average over training steps, which images are drawn from, and the network itself."""
ACTIVATIONS = {"DCGAN": "tanh", "WGANGP": None, "MSE": None, "Logistic": None}
"""What each criterion of the zoo has its generators end with."""


def read_zoo(path: Path, names: Mapping[str, str]) -> tuple[dict[str, object], dict[str, Tensor]]:
    """Settings and weights of a checkpoint; of a file without a record of settings the weights alone.

    names: a setting's name in the record, and in the generator's constructor. Raises WeightsError for a generator that
    is drawn from by attributes beside the code.
    """
    held = held_in(path)
    tensors = tensors_of(held, NETWORKS, path)
    record = held.get("config") if isinstance(held, Mapping) else None
    said = record.state if isinstance(record, InertObject) else record
    if not isinstance(said, Mapping):
        return {}, tensors
    if said.get("categoryVectorDim"):
        raise WeightsError(
            f"{str(path)!r} holds a generator with {said['categoryVectorDim']!r} inputs for attributes of the image; "
            "only unconditional ones of the zoo are read"
        )
    settings = {ours: said[theirs] for theirs, ours in names.items() if theirs in said}
    if (criterion := said.get("lossCriterion")) in ACTIVATIONS:
        settings["generationActivation"] = ACTIVATIONS[str(criterion)]
    return settings, tensors
