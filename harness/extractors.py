"""Extractors of features: torchvision's Inception v3 and timm's networks, as backbones."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from preimage.harness import timm_networks
from preimage.harness.backbone_cards import BackboneCard
from preimage.harness.backbones import Backbone, check_channels
from preimage.harness.checkpoints import misfits, not_finite, read_tensors
from preimage.harness.errors import WeightsError
from preimage.harness.weights import here, locate

SIDE = 299
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, as torchvision's transforms have them
UNUSED = ("AuxLogits.", "fc.")  # tensors of the whole network that its features do not pass through
COUNTER = "num_batches_tracked"  # of batch norms: no part of what a network computes


class InceptionV3(Backbone):
    """torchvision's Inception v3 up to its last pooling, [n, 2048]; without the auxiliary classifier.

    name: the card's. weights: tensors under torchvision's names. Images are clamped to [0, 1], grey ones repeated to
    three channels, resized bilinearly with antialiasing to 299 x 299, and normalised by ImageNet's mean and deviation,
    which torchvision's network turns into [-1, 1], the scale that its weights were trained in.
    Raises WeightsError that lists the tensors which are missing, left over, of another shape or not finite.
    """

    def __init__(self, name: str, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.name = name
        self.network, used = _filled(name, weights)
        self.requires_grad_(False).eval()
        self.rule = (
            f"clamped to [0, 1], grey repeated to three channels, resized to {SIDE}x{SIDE} (bilinear, antialiased), "
            "scaled to [-1, 1]"
        )
        digest = hashlib.sha256(f"inception_v3, last pooling, {self.rule}, {MEAN}, {STD}".encode())
        for key, value in sorted(used.items()):
            digest.update(f"{key}{list(value.shape)}".encode() + value.numpy().tobytes())
        self.identity = digest.hexdigest()

    def features(self, images: Tensor) -> Tensor:
        """What the last layer sees: the last map's mean over positions, [n, 2048]. Raises UsageError."""
        check_channels(images, f"backbone {self.name!r}")
        if next(self.network.parameters()).device != images.device:
            with torch.inference_mode(False):
                self.network.to(images.device)
        x = images.float().clamp(0, 1).expand(-1, 3, -1, -1)
        x = functional.interpolate(x, size=(SIDE, SIDE), mode="bilinear", align_corners=False, antialias=True)
        mean, std = (torch.tensor(value, device=x.device)[:, None, None] for value in (MEAN, STD))
        return cast(Tensor, self.network((x - mean) / std))


class TimmExtractor(Backbone):
    """A timm network as an extractor: what its last layer sees, with timm's own preprocessing."""

    def __init__(self, name: str, network: timm_networks.TimmNetwork) -> None:
        super().__init__()
        self.name, self.network = name, network
        self.identity, self.rule = network.identity, network.rule

    def features(self, images: Tensor) -> Tensor:
        """One vector per image, [n, k]; images are clamped to [0, 1] first."""
        with torch.inference_mode(False):
            self.network.to(images.device)
        return self.network.features(images)


def load_inception(card: BackboneCard, offline: bool) -> InceptionV3:
    """The network of a card. Raises WeightsError."""
    if card.weights is None:
        raise WeightsError(
            f"backbone {card.name!r}: its card names no weights. Write `weights: PATH`, torchvision's file of "
            "Inception v3, or torchvision://Inception_V3_Weights.IMAGENET1K_V1"
        )
    return InceptionV3(card.name, read_tensors(locate(card.weights, offline=offline)))


def load_timm(card: BackboneCard, offline: bool) -> TimmExtractor:
    """The network of a card whose architecture is ``timm/NAME``; without weights, those that timm names on the Hub.

    Raises CardError for a name or setting that timm does not know, WeightsError for weights that do not fit.
    """
    config = {"model": card.architecture.removeprefix("timm/"), **card.config}
    weights = timm_networks.released_weights(config) if card.weights is None else card.weights
    if card.weights is None and offline and here(weights) is None:
        raise WeightsError(
            f"backbone {card.name!r}: its weights {weights.uri!r} are not on this machine, and nothing is downloaded "
            f"offline. Type `preimage fetch {card.name}` on a machine with a network, or give the file as `weights` on "
            "a card"
        )
    return TimmExtractor(card.name, timm_networks.load_timm(config, weights, offline=offline))


def _filled(name: str, weights: Mapping[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """The network up to its last pooling with its weights in, and those of the tensors that it uses."""
    from torchvision.models import inception_v3

    with torch.device("meta"):  # no memory, no random numbers
        network: nn.Module = inception_v3(weights=None, aux_logits=False, init_weights=False, transform_input=True)
    network.fc = nn.Identity()
    state = network.state_dict()
    wanted = {key: value for key, value in state.items() if not key.endswith(COUNTER)}
    given = {key: v for key, v in weights.items() if not key.startswith(UNUSED) and not key.endswith(COUNTER)}
    if faults := misfits(wanted, given) + not_finite(given):
        shown = "\n  ".join(faults[:12] + [f"and {len(faults) - 12} more"] * (len(faults) > 12))
        raise WeightsError(
            f"the weights do not fit backbone {name!r} (inception_v3):\n  {shown}\nGive torchvision's file of "
            "Inception v3, not another project's port of it, whose tensors have other names"
        )
    used = {key: value.detach().to(torch.float32).clone().contiguous() for key, value in given.items()}
    counters = {key: torch.zeros(value.shape, dtype=value.dtype) for key, value in state.items() if key not in wanted}
    network.load_state_dict({**used, **counters}, assign=True)
    return network, used
