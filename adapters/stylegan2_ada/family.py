"""The family ``stylegan2-ada``: the official generators behind the latent interface, in float32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from preimage.adapters.class_labels import checked_label
from preimage.adapters.exact_load import load_exactly
from preimage.adapters.plain_generator import check_codes
from preimage.adapters.stylegan2_ada.checkpoints import read
from preimage.adapters.stylegan2_ada.networks import MappingNetwork, SynthesisNetwork, fold
from preimage.adapters.stylegan2_ada.settings import FAMILY, Settings, settings_from
from preimage.adapters.stylegan_layers import truncated
from preimage.harness.cards import Config, ImageSpec
from preimage.harness.errors import GeneratorError
from preimage.harness.generator import Generator, LatentSpace
from preimage.harness.priors import StandardNormal

__all__ = ["StyleGAN2", "build", "read"]


class StyleGAN2(Generator):
    """Codes z ~ N(0, I) [n, z_dim], w [n, w_dim], or w+ [n, num_ws * w_dim], a w for every layer in turn.

    Truncation is part of the way from z to w: what is decoded from w or w+ is taken as it is. Only z has a prior, and
    only in z does the label count. Labels: [n] int64, or weights of the classes [n, c_dim] float32.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.mapping = MappingNetwork(settings)
        self.synthesis = SynthesisNetwork(settings)
        spaces = [LatentSpace("z", settings.z_dim, StandardNormal())]
        if not settings.truncates_some:
            spaces.append(LatentSpace("w", settings.w_dim, None))
        spaces.append(LatentSpace("w+", settings.num_ws * settings.w_dim, None))
        self.spaces = {space.name: space for space in spaces}
        self.image = ImageSpec(settings.img_channels, settings.img_resolution, settings.img_resolution)
        self.num_classes = settings.c_dim

    def decode(self, code: Tensor, label: Tensor | None = None, *, space: str = "z") -> Tensor:
        images: Tensor = self.synthesis(self._layers(code, label, space))
        return (images + 1) * 0.5

    def push(self, code: Tensor, label: Tensor | None = None, *, source: str, target: str) -> Tensor:
        """z to w or w+, w to w+. Raises GeneratorError for a way back."""
        order = list(self.spaces)
        if order.index(self.space(source).name) > order.index(self.space(target).name):
            why = {
                ("w", "z"): "the mapping network has no inverse",
                ("w+", "z"): "the mapping network has no inverse",
                ("w+", "w"): "its layers have a w each, and w is one for all of them",
            }[source, target]
            raise GeneratorError(f"StyleGAN2-ADA cannot push codes from space {source!r} to {target!r}: {why}")
        if source == target:
            return code
        layers = self._layers(code, label, source)
        return layers[0] if target == "w" else torch.stack(list(layers), dim=1).flatten(1)

    def space(self, name: str) -> LatentSpace:
        """The space of that name. Raises GeneratorError that lists the ones there are."""
        if name == "w" and name not in self.spaces:
            raise GeneratorError(
                f"no latent space 'w': with `truncation_cutoff` {self.settings.truncation_cutoff} of "
                f"{self.settings.num_ws} layers, no single w makes the images of z. Choose w+, or leave out the cutoff"
            )
        return super().space(name)

    def _layers(self, code: Tensor, label: Tensor | None, space: str) -> Sequence[Tensor]:
        """One w [n, w_dim] for each layer."""
        check_codes(code, self.space(space))
        layers = self.settings.num_ws
        if space == "w+":
            return code.reshape(len(code), layers, self.settings.w_dim).unbind(1)
        if space == "w":
            return [code] * layers
        w: Tensor = self.mapping(code, self._classes(code, label))
        psi, cutoff = self.settings.truncation_psi, self.settings.truncation_cutoff
        if psi == 1 or cutoff == 0:
            return [w] * layers
        nearer = truncated(w.unsqueeze(1), self.mapping.w_avg, psi, None)[:, 0]
        some = layers if cutoff is None else min(cutoff, layers)
        return [nearer] * some + [w] * (layers - some)

    def _classes(self, code: Tensor, label: Tensor | None) -> Tensor | None:
        """Weights of the classes [n, c_dim], one-hot for labels [n]; None where there are no classes."""
        if self.num_classes == 0:
            return None
        given = checked_label(label, code, self.num_classes)
        return given if given.is_floating_point() else functional.one_hot(given, self.num_classes).to(code.dtype)


def build(config: Config, weights: Mapping[str, Tensor]) -> StyleGAN2:
    """The generator, frozen and in eval mode.

    Raises CardError for settings that are none, WeightsError that lists the tensors that do not fit.
    """
    generator = StyleGAN2(settings_from(config))
    load_exactly(generator, weights, f"a {FAMILY}")
    fold(generator)
    return generator.eval().requires_grad_(False)
