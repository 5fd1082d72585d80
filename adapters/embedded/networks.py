"""The networks of the embedded zoo: one small convolutional decoder, the encoder and the critic that train it.

Every convolution without a bias is followed at once by its batch norm, inside one ``nn.Sequential``, so the two can
be folded into one when the decoder is prepared for measuring. Layers follow Radford, Metz and Chintala,
"Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks" (ICLR 2016), made
small.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from preimage.harness.errors import CardError, GeneratorError

SIDE = 28  # pixels; 7 -> 14 -> 28
GAIN = 6.0  # of the critic's scores: with every layer's norm at 1 they would move too little to teach a decoder quickly


@dataclass(frozen=True)
class DecoderConfig:
    """The shape of a `Decoder`."""

    dim: int = 64  # of the code
    channels: tuple[int, int, int] = (64, 48, 32)  # at 7x7, at 14x14 before and after the 3x3 convolution
    num_classes: int = 0  # 0: unconditional
    embedding: int = 10  # length of a class's learned vector, appended to the code; unused if unconditional

    @classmethod
    def from_mapping(cls, config: Mapping[str, object]) -> DecoderConfig:
        """From a card's or a file's ``config``, with defaults for what it leaves out. Raises CardError for the rest."""
        settings = asdict(cls())
        if unknown := set(config) - set(settings):
            raise CardError(f"the config has unknown keys {sorted(unknown)}; a decoder takes {sorted(settings)}")
        settings |= config
        channels = settings["channels"]
        if not isinstance(channels, list | tuple) or len(channels) != 3:
            raise CardError(f"the config's `channels` is {channels!r}; write three numbers, e.g. [64, 48, 32]")
        return cls(**settings | {"channels": tuple(channels)})

    def to_mapping(self) -> dict[str, object]:
        """The same as plain lists and numbers, for YAML and JSON."""
        return asdict(self) | {"channels": list(self.channels)}


class Decoder(nn.Module):
    """Codes [n, dim] (and labels int64 [n]) to images [n, 1, 28, 28] in (0, 1), by a final sigmoid.

    The class enters as a learned vector appended to the code, so one stack of layers serves all classes.
    """

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        width = config.dim + (config.embedding if config.num_classes else 0)
        first, second, third = config.channels
        self.classes = nn.Embedding(config.num_classes, config.embedding) if config.num_classes else None
        self.layers = nn.Sequential(
            nn.Unflatten(1, (width, 1, 1)),
            nn.ConvTranspose2d(width, first, 7, bias=False),  # 1x1 -> 7x7
            nn.BatchNorm2d(first),
            nn.ReLU(),
            nn.ConvTranspose2d(first, second, 4, stride=2, padding=1, bias=False),  # -> 14x14
            nn.BatchNorm2d(second),
            nn.ReLU(),
            nn.Conv2d(second, third, 3, padding=1, bias=False),
            nn.BatchNorm2d(third),
            nn.ReLU(),
            nn.ConvTranspose2d(third, 1, 4, stride=2, padding=1),  # -> 28x28
            nn.Sigmoid(),
        )

    def forward(self, code: Tensor, label: Tensor | None = None) -> Tensor:
        if self.classes is None:
            return cast(Tensor, self.layers(code))
        if label is None:
            raise GeneratorError(f"this decoder has {self.config.num_classes} classes: it needs a label per code")
        return cast(Tensor, self.layers(torch.cat([code, self.classes(label)], dim=1)))


class Encoder(nn.Module):
    """Images [n, 1, 28, 28] (and labels int64 [n]) to ``outputs`` numbers each, [n, outputs]: the decoder mirrored."""

    def __init__(
        self, outputs: int, num_classes: int = 0, channels: tuple[int, int, int] = (16, 32, 64), embedding: int = 10
    ) -> None:
        super().__init__()
        first, second, third = channels
        self.features = nn.Sequential(
            nn.Conv2d(1, first, 4, stride=2, padding=1, bias=False),  # 28x28 -> 14x14
            nn.BatchNorm2d(first),
            nn.LeakyReLU(0.2),
            nn.Conv2d(first, second, 4, stride=2, padding=1, bias=False),  # -> 7x7
            nn.BatchNorm2d(second),
            nn.LeakyReLU(0.2),
            nn.Conv2d(second, third, 3, stride=2, padding=1, bias=False),  # -> 4x4
            nn.BatchNorm2d(third),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
        )
        self.classes = nn.Embedding(num_classes, embedding) if num_classes else None
        self.outputs = nn.Linear(third * 4 * 4 + (embedding if num_classes else 0), outputs)

    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        features = self.features(2 * image - 1)
        if self.classes is not None:
            if label is None:
                raise GeneratorError("this encoder is conditional: it needs a label per image")
            features = torch.cat([features, self.classes(label)], dim=1)
        return cast(Tensor, self.outputs(features))


class AutoEncoder(nn.Module):
    """A decoder and the encoder that gives its codes, each coordinate standardised over the training images.

    The batch norm without scale or shift at the encoder's end gives the training images' codes zero mean and unit
    variance, so N(0, I) is the prior whose moments they match: exactly while its statistics are taken, and nearly at
    the end, since they are frozen before the weights are (the models that ship: |mean| up to 0.35 on average over
    coordinates, standard deviations of 0.9 to 1.3).
    """

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.decoder = Decoder(config)
        self.encoder = Encoder(config.dim, config.num_classes)
        self.standardise = nn.BatchNorm1d(config.dim, affine=False)

    def encode(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        """Codes [n, dim] of images [n, 1, 28, 28] in [0, 1]."""
        return cast(Tensor, self.standardise(self.encoder(image, label)))


class Critic(nn.Module):
    """Images [n, 1, 28, 28] (and labels) to scores [n], every layer spectrally normalised unless asked not to.

    With classes the score gains the inner product of the features with a class's vector: the projection
    discriminator of Miyato and Koyama (ICLR 2018). Spectral normalisation: Miyato et al. (ICLR 2018).
    """

    def __init__(
        self, num_classes: int = 0, channels: tuple[int, int, int] = (32, 64, 128), *, normalised: bool = True
    ) -> None:
        super().__init__()
        norm: Callable[[nn.Module], nn.Module] = spectral_norm if normalised else lambda layer: layer
        first, second, third = channels
        width = third * 4 * 4
        self.features = nn.Sequential(
            norm(nn.Conv2d(1, first, 4, stride=2, padding=1)),  # 28x28 -> 14x14
            nn.LeakyReLU(0.2),
            norm(nn.Conv2d(first, second, 4, stride=2, padding=1)),  # -> 7x7
            nn.LeakyReLU(0.2),
            norm(nn.Conv2d(second, third, 3, stride=2, padding=1)),  # -> 4x4
            nn.LeakyReLU(0.2),
            nn.Flatten(),
        )
        self.score = norm(nn.Linear(width, 1))
        self.classes = norm(nn.Embedding(num_classes, width)) if num_classes else None
        self.gain = GAIN if normalised else 1.0

    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        features = self.features(2 * image - 1)
        score = cast(Tensor, self.score(features)).squeeze(1)
        if self.classes is None or label is None:
            return self.gain * score
        return self.gain * (score + cast(Tensor, (self.classes(label) * features).sum(dim=1)))


Network = TypeVar("Network", bound=nn.Module)


def drawn(build: Callable[[], Network], random: torch.Generator) -> Network:
    """A network with weights drawn from ``random``; the global generator, which layers draw from, is left as it was."""
    with torch.random.fork_rng(devices=[]):
        network = build()
    initialise(network, random)
    return network


def initialise(network: nn.Module, random: torch.Generator) -> None:
    """Draw the weights anew as in DCGAN: N(0, 0.02^2), class vectors N(0, 1)."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(layer.weight, 0.0, 0.02, generator=random)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.Embedding):
            nn.init.normal_(layer.weight, 0.0, 1.0, generator=random)
