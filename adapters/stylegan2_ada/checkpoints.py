"""Files of StyleGAN2-ADA: pickles as NVIDIA's code writes them, converted files, plain tables of tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from preimage.adapters.stylegan2_ada.settings import DIMS, FAMILY
from preimage.harness.cards import Config
from preimage.harness.checkpoints import network_in, read_tensors
from preimage.harness.converted import read_converted
from preimage.harness.errors import WeightsError
from preimage.harness.reading.networks import NetworkRecord

PICKLES = (".pkl", ".pickle")
POSITIONS = (*DIMS, "mapping_kwargs", "synthesis_kwargs")  # of the constructor's arguments


def read(path: Path) -> tuple[Config, Mapping[str, Tensor]]:
    """Settings and weights of a released .pkl or a converted .safetensors; of any other file the weights alone.

    No code of the file is run. Raises WeightsError where it cannot be read or holds another network.
    """
    if path.suffix == ".safetensors":
        return read_converted(path)
    if path.suffix not in PICKLES:
        return {}, read_tensors(path)
    network = network_in(path)
    if (other := _another(network)) is not None:
        raise WeightsError(f"{str(path)!r} holds {other}, not a generator of {FAMILY}. Give the generator's file")
    return _settings(network), network.tensors()


def _another(network: NetworkRecord) -> str | None:
    """What the network is, where it is no generator of StyleGAN2-ADA."""
    synthesis = network.children.get("synthesis")
    if synthesis is None or "mapping" not in network.children:
        return f"a network {network.class_name!r} with the parts {', '.join(network.children) or 'none'}"
    if "input" in synthesis.children:
        return (
            f"a network {network.class_name!r} of StyleGAN3 or StyleGAN-XL (the family `stylegan-xl` reads the latter)"
        )
    if "b4" not in synthesis.children:
        return f"a network {network.class_name!r} whose synthesis has the parts {', '.join(synthesis.children)}"
    return None


def _settings(network: NetworkRecord) -> Config:
    """What the generator was constructed with; a bound that its code had by default, and it recorded, is added."""
    settings = {**dict(zip(POSITIONS, network.init_args, strict=False)), **network.init_kwargs}
    own = settings.get("synthesis_kwargs", {})
    first = network.children["synthesis"].children["b4"].children.get("conv1")
    recorded = {} if first is None else first.attributes
    if isinstance(own, Mapping) and recorded.get("conv_clamp") != own.get("conv_clamp") and "conv_clamp" in recorded:
        settings["synthesis_kwargs"] = {**own, "conv_clamp": recorded["conv_clamp"]}
    return settings
