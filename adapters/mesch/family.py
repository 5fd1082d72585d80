"""The families ``mesch-resnet``, ``mesch-resnet2``, ``mesch-resnet3`` and ``mesch-resnet4``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import cast

from torch import Tensor

from preimage.adapters.checked_settings import CheckedSettings
from preimage.adapters.class_labels import checked_label
from preimage.adapters.exact_load import load_exactly
from preimage.adapters.mesch.network import PLANS, ResidualNetwork
from preimage.adapters.plain_generator import check_codes
from preimage.adapters.state_files import generator_tensors
from preimage.harness.cards import Config, ImageSpec
from preimage.harness.converted import read_converted
from preimage.harness.generator import Generator, LatentSpace
from preimage.harness.priors import StandardNormal

SETTINGS = ("z_dim", "nlabels", "size", "embed_size", "nfilter")
TABLES = ("generator_test", "generator", "state_dict")
"""What a checkpoint calls its networks: the first is the average over training steps, which images are drawn from."""
LEAST = {"mesch-resnet": 4, "mesch-resnet2": 32, "mesch-resnet3": 64, "mesch-resnet4": 64}


class Mesch(Generator):
    """Codes z ~ N(0, I) [n, z_dim]. Labels: [n] int64, vectors in the place of embeddings [n, embed_size] float (as
    official code takes float labels), or weights of the classes [n, nlabels] float where that is another size.

    A model of one class is unconditional: it needs no label.
    """

    def __init__(self, network: ResidualNetwork, dim: int) -> None:
        super().__init__()
        self.network = network
        self.spaces = {"z": LatentSpace("z", dim, StandardNormal())}
        side = network.plan.final_side
        self.image = ImageSpec(3, side, side)
        classes = network.embedding.num_embeddings
        self.num_classes = classes if classes > 1 else 0

    def decode(self, code: Tensor, label: Tensor | None = None, *, space: str = "z") -> Tensor:
        check_codes(code, self.space(space))
        return (cast(Tensor, self.network(code, self._embeddings(code, label))) + 1) * 0.5

    def _embeddings(self, code: Tensor, label: Tensor | None) -> Tensor:
        """One for each code, [n, embed_size]."""
        vectors = self.network.embedding.weight
        classes, size = vectors.shape
        if label is None and not self.num_classes:
            return vectors.expand(len(code), -1)
        label = checked_label(label, code, classes, size)
        if not label.is_floating_point():
            return vectors[label]
        return label if label.shape[1] == size else label @ vectors


def build(family: str, config: Config, weights: Mapping[str, Tensor]) -> Mesch:
    """The generator, frozen and in eval mode.

    Raises CardError for settings that are none, WeightsError that lists the tensors that do not fit.
    """
    network, dim = network_from(family, config)
    load_exactly(network.official(), weights, f"a {family}")
    network.fold()
    return Mesch(network, dim).eval().requires_grad_(False)


def network_from(family: str, config: Config) -> tuple[ResidualNetwork, int]:
    """The network of the settings, before weights, and the dimension of its codes. Raises CardError."""
    known = (*SETTINGS, "nfilter_max") if family == "mesch-resnet" else SETTINGS
    said = CheckedSettings.of(config, known, family)
    size = said.count("size", least=LEAST[family])
    width, most = said.count("nfilter", 64), said.count("nfilter_max", 512)
    if width > most:
        raise said.wrong(f"`nfilter` is {width}, more than `nfilter_max`, {most}")
    plan = PLANS[family](size, width, most)
    dim = said.count("z_dim")
    return ResidualNetwork(plan, dim, said.count("nlabels"), said.count("embed_size", 256)), dim


build_resnet = partial(build, "mesch-resnet")
build_resnet2 = partial(build, "mesch-resnet2")
build_resnet3 = partial(build, "mesch-resnet3")
build_resnet4 = partial(build, "mesch-resnet4")


def read(path: Path) -> tuple[Config, Mapping[str, Tensor]]:
    """The weights of a checkpoint (its ``generator_test``) or a state dict; settings are in converted files alone."""
    if path.suffix == ".safetensors":
        return read_converted(path)
    return {}, generator_tensors(path, TABLES)
