"""The families of StudioGAN: its generators behind the latent interface, at eval."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from preimage.adapters.class_labels import checked_label, class_vectors
from preimage.adapters.exact_load import load_exactly
from preimage.adapters.gan_layers import SelfAttention, Stored, fold, table
from preimage.adapters.plain_generator import check_codes
from preimage.adapters.state_files import generator_tensors
from preimage.adapters.studiogan.networks import Parts
from preimage.adapters.studiogan.settings import DEEP, FAMILY, ONE_HOT, Settings, settings_from
from preimage.harness.cards import Config, ImageSpec
from preimage.harness.converted import read_converted
from preimage.harness.generator import Generator, LatentSpace

STATE = ("state_dict",)


class StudioGAN(Generator):
    """Codes z [n, z_dim] from N(0, I), or uniform on [-1, 1] where the settings say so.

    Labels: [n] int64, weights of the classes [n, num_classes], or, where classes share vectors, those
    [n, g_shared_dim].
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        parts = Parts(settings)
        self.shared: nn.Module | None = None
        if settings.shared_dim:
            rows = (settings.classes, settings.shared_dim)
            self.shared = Stored(table, {"weight": rows})
        self.linear0 = parts.linear()
        self.blocks = parts.blocks()
        if settings.backbone == "deep_conv":
            self.conv4 = parts.to_colours()
        else:
            self.bn4, self.conv2d5 = parts.last_norm(), parts.to_colours()
        self.spaces = {"z": LatentSpace("z", settings.z_dim, settings.prior)}
        self.image = ImageSpec(3, settings.side, settings.side)
        self.num_classes = settings.classes

    def decode(self, code: Tensor, label: Tensor | None = None, *, space: str = "z") -> Tensor:
        check_codes(code, self.space(space))
        z, conditions = self._inputs(code, label)
        x: Tensor = self.linear0(z).unflatten(1, (self.settings.widths[0], 4, 4))
        told = iter(conditions)
        for entry in self.blocks:
            part = cast(nn.ModuleList, entry)[0]
            x = part(x) if isinstance(part, SelfAttention) else part(x, next(told))
        last = self.conv4(x) if self.settings.backbone == "deep_conv" else self.conv2d5(self.bn4(x))
        return (torch.tanh(last) + 1) * 0.5

    def _inputs(self, code: Tensor, label: Tensor | None) -> tuple[Tensor, list[Tensor] | repeat[Tensor | None]]:
        """What the linear layer gets, and each of the blocks."""
        if self.settings.backbone in ONE_HOT:
            return code, repeat(checked_label(label, code, self.num_classes) if self.num_classes else None)
        vectors = []
        if self.shared is not None:
            vectors.append(class_vectors(label, code, cast(nn.Embedding, self.shared).weight))
        if self.settings.backbone in DEEP:
            both = torch.cat([*vectors, code], dim=1)
            return both, repeat(both)
        first, *others = torch.split(code, self.settings.chunk, dim=1)
        return first, [torch.cat([*vectors, chunk], dim=1) for chunk in others]


def build(config: Config, weights: Mapping[str, Tensor]) -> StudioGAN:
    """The generator of the backbone that the settings name, frozen and in eval mode.

    Raises CardError for settings that are none, WeightsError that lists the tensors that do not fit.
    """
    return _built(None, config, weights)


def _built(backbone: str | None, config: Config, weights: Mapping[str, Tensor]) -> StudioGAN:
    settings = settings_from(config, backbone)
    generator = StudioGAN(settings)
    load_exactly(generator, weights, f"a {FAMILY}-{settings.backbone}")
    fold(generator)
    return generator.eval().requires_grad_(False)


build_big_resnet = partial(_built, "big_resnet")
build_big_resnet_deep_legacy = partial(_built, "big_resnet_deep_legacy")
build_big_resnet_deep_studiogan = partial(_built, "big_resnet_deep_studiogan")
build_resnet = partial(_built, "resnet")
build_deep_conv = partial(_built, "deep_conv")


def read(path: Path) -> tuple[Config, Mapping[str, Tensor]]:
    """Settings and weights of a converted .safetensors; of a released .pth the weights alone.

    Its architecture is in a YAML file of StudioGAN, whose sections belong on the card.
    """
    if path.suffix == ".safetensors":
        return read_converted(path)
    return {}, generator_tensors(path, STATE)
