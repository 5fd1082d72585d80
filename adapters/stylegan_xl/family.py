"""The family ``stylegan-xl``: Sauer, Schwarz and Geiger, SIGGRAPH 2022, on the layers of StyleGAN3."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from preimage.adapters.exact_load import load_exactly
from preimage.adapters.plain_generator import check_codes
from preimage.adapters.stylegan_layers import truncated
from preimage.adapters.stylegan_xl.filters import check_filters
from preimage.adapters.stylegan_xl.mapping import MappingNetwork
from preimage.adapters.stylegan_xl.released import described
from preimage.adapters.stylegan_xl.settings import Settings, settings_from
from preimage.adapters.stylegan_xl.synthesis import SynthesisNetwork
from preimage.harness.cards import Config, ImageSpec
from preimage.harness.checkpoints import network_in, read_tensors
from preimage.harness.converted import read_converted
from preimage.harness.errors import GeneratorError, WeightsError
from preimage.harness.generator import Generator, LatentSpace
from preimage.harness.priors import StandardNormal

EMBEDDING = "mapping.embed.weight"
SNAPSHOTS = (".pkl", ".pickle")


class StyleGanXl(Generator):
    """Codes z ~ N(0, I) [n, z_dim] and classes [n] to images.

    Spaces: z; w [n, w_dim], one for all layers; w+ [n, num_ws * w_dim], one for each. Truncation draws the w of a z to
    the average of its class: codes of w and w+ are taken as they are, and ``push`` gives truncated ones, so they make
    the image of their z. There is no space w where some layers only are truncated.
    """

    def __init__(self, settings: Settings, rows: int, features: int) -> None:
        super().__init__()
        network, mapping = settings.synthesis, settings.mapping
        self.settings = settings
        self.mapping = MappingNetwork(mapping, rows, features)
        self.synthesis = SynthesisNetwork(network, mapping.w_dim)
        self.image = ImageSpec(network.img_channels, network.img_resolution, network.img_resolution)
        self.num_classes = mapping.c_dim
        self.spaces = {"z": LatentSpace("z", mapping.z_dim, StandardNormal())}
        if not settings.truncates_some:
            self.spaces["w"] = LatentSpace("w", mapping.w_dim, None)
        self.spaces["w+"] = LatentSpace("w+", network.num_ws * mapping.w_dim, None)

    def space(self, name: str) -> LatentSpace:
        """The space of that name. Raises GeneratorError that lists the ones there are."""
        if name == "w" and name not in self.spaces:
            raise GeneratorError(
                f"no latent space 'w': with `truncation_cutoff` {self.settings.truncation_cutoff} of "
                f"{self.settings.synthesis.num_ws} layers, no single w makes the images of z. Choose w+, or leave out "
                "the cutoff"
            )
        return super().space(name)

    def decode(self, code: Tensor, label: Tensor | None = None, *, space: str = "z") -> Tensor:
        """Labels are classes [n], or [n, c_dim] of which the largest counts, as upstream; w and w+ need none."""
        images: Tensor = self.synthesis(self.layer_codes(code, label, space))
        return (images + 1) / 2

    def push(self, code: Tensor, label: Tensor | None = None, *, source: str, target: str) -> Tensor:
        """From z to w or w+, from w to w+, and from a space to itself."""
        order = list(self.spaces)
        self.space(source)
        self.space(target)
        if order.index(target) < order.index(source):
            raise GeneratorError(f"codes cannot be pushed from {source!r} to {target!r}; only from z to w to w+")
        if source == target:
            return code
        ws = self.layer_codes(code, label, source)
        return ws[:, 0] if target == "w" else ws.flatten(1)

    def layer_codes(self, code: Tensor, label: Tensor | None, space: str) -> Tensor:
        """The w of the input and of each layer, [n, num_ws, w_dim]. Raises GeneratorError for codes of another size."""
        check_codes(code, self.space(space))
        settings, num_ws = self.settings, self.settings.synthesis.num_ws
        if space == "w+":
            return code.reshape(-1, num_ws, settings.mapping.w_dim)
        if space == "w":
            return code.unsqueeze(1).expand(-1, num_ws, -1)
        classes = self._classes(label, len(code))
        ws = self.mapping(code, classes).unsqueeze(1).expand(-1, num_ws, -1)
        return truncated(ws, self.mapping.centre(classes), settings.truncation_psi, settings.truncation_cutoff)

    def _classes(self, label: Tensor | None, images: int) -> Tensor | None:
        if not self.num_classes:
            return None
        if label is None:
            raise GeneratorError(f"this model has {self.num_classes} classes: give decode a label per code, [n] int64")
        if tuple(label.shape) == (images, self.num_classes):
            return label.argmax(dim=1)
        if tuple(label.shape) != (images,) or label.is_floating_point():
            raise GeneratorError(
                f"labels are [{images}] int64, or [{images}, {self.num_classes}] of which the largest counts, not "
                f"{list(label.shape)} {label.dtype}"
            )
        if images and not 0 <= int(label.min()) <= int(label.max()) < self.num_classes:
            raise GeneratorError(
                f"labels are {sorted(set(label.tolist()))}; they must be from 0 to {self.num_classes - 1}"
            )
        return label


def build(config: Config, weights: Mapping[str, Tensor]) -> StyleGanXl:
    """The generator, frozen and in eval mode.

    Raises CardError for settings that are none, WeightsError that lists the tensors that do not fit, or filters that
    are not the ones of the settings.
    """
    settings = settings_from(config)
    embedding = weights.get(EMBEDDING)
    if embedding is None or embedding.ndim != 2 or len(embedding) < settings.mapping.c_dim:
        seen = "missing" if embedding is None else f"{list(embedding.shape)}"
        classes = settings.mapping.c_dim
        raise WeightsError(f"`{EMBEDDING}` is {seen}; it must be [rows, features], a row for each of {classes} classes")
    generator = StyleGanXl(settings, *embedding.shape)
    load_exactly(generator, weights, f"a StyleGAN-XL of {settings.synthesis.img_resolution} pixels")
    check_filters(generator.synthesis.state_dict(), settings.synthesis)
    with torch.no_grad():
        generator.mapping.fold()
        generator.synthesis.fold()
    return generator.eval().requires_grad_(False)


def read(path: Path) -> tuple[Config, Mapping[str, Tensor]]:
    """Settings and weights of an official snapshot (.pkl), whose code is not run, or of a converted file.

    A file of tensors alone has no settings: the card gives them.
    """
    if path.suffix == ".safetensors":
        return read_converted(path)
    if path.suffix not in SNAPSHOTS:
        return {}, read_tensors(path)
    network = network_in(path)
    return described(network, str(path)), network.tensors()
