"""timm's networks by name, frozen, with their own preprocessing: as classifiers and as extractors of features."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from preimage.harness.cards import Config, Weights
from preimage.harness.checkpoints import held_in, misfits
from preimage.harness.classifiers import Classifier
from preimage.harness.errors import CardError, WeightsError
from preimage.harness.options import guess
from preimage.harness.timm_preprocessing import SETTINGS, Preprocessing, preprocessing

OPTIONS = ("model", "num_classes", "arguments", "remap", *SETTINGS)
COUNTER = "num_batches_tracked"  # of batch norms: no part of what a network computes
WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")  # where checkpoints keep their tensors; timm's order
PREFIXES = ("_orig_mod.", "module.")  # of torch.compile and of parallel training


class TimmNetwork(Classifier):
    """A timm model, frozen, in eval mode, with its preprocessing: images in [0, 1] of any size go in.

    identity: sha256 of its name, settings, tensors and preprocessing. rule: the preprocessing in one line.
    """

    def __init__(self, network: nn.Module, settings: Mapping[str, object], ready: Preprocessing) -> None:
        super().__init__()
        self.network = network
        self.ready = ready
        self.num_classes = int(cast(int, network.num_classes))
        self.rule = f"{settings['model']}: {ready.rule}"
        self.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # a third faster on processors
        self.identity = _identity(network, settings, ready)

    def logits(self, images: Tensor) -> Tensor:
        return cast(Tensor, self.network(self.ready(images)))

    def features(self, images: Tensor) -> Tensor:
        """What the last layer sees, one vector per image, [n, k]."""
        network = cast(Any, self.network)  # nn.Module does not know timm's methods
        return cast(Tensor, network.forward_head(network.forward_features(self.ready(images)), pre_logits=True))


def build_timm(config: Config, weights: Mapping[str, Tensor]) -> TimmNetwork:
    """The network that a config describes, with all its weights.

    config: ``model``, timm's name; ``num_classes``; ``arguments`` of timm's constructor; ``remap``: the file's tensors
    go by their order, not their names; and preprocessing where it is not the released model's own (`SETTINGS`).
    Raises CardError for a config that cannot be meant, WeightsError that lists the tensors that do not fit.
    """
    name, settings = _settings(config)
    network = _created(name, config)
    released = dict(cast("Mapping[str, object]", network.pretrained_cfg))
    channels = _channels(config, released)
    if "input_size" not in config:
        released["input_size"] = (channels, *cast("tuple[int, ...]", released["input_size"])[1:])
    ready = preprocessing(config, released, channels, f"timm model {name!r}")
    _fill(network, weights, name, remap=bool(config.get("remap")))
    return TimmNetwork(network, settings, ready)


def load_timm(config: Config, weights: Weights | None, *, offline: bool = False) -> TimmNetwork:
    """The network with the weights at an address; None: those that timm names on the Hub."""
    from preimage.harness.weights import locate

    found = released_weights(config) if weights is None else weights
    return build_timm(config, read_tensors(locate(found, offline=offline))[1])


def released_weights(config: Config) -> Weights:
    """Where timm keeps the released weights of the model that a config names, on the Hub. Raises CardError."""
    from timm.models import get_pretrained_cfg

    name, _ = _settings(config)
    released = get_pretrained_cfg(name)
    if released is None or not released.hf_hub_id or released.custom_load:
        raise CardError(f"timm names no weights on the Hub for the model {name!r}; give `weights` on the card")
    return Weights(f"hf://{released.hf_hub_id}/{released.hf_hub_filename or 'model.safetensors'}")


def drawn_weights(config: Config, seed: int) -> dict[str, Tensor]:
    """The weights that timm draws for a network before its training."""
    name, _ = _settings(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return dict(_created(name, config, fork=False).state_dict())


def read_tensors(path: Path) -> tuple[Config, Mapping[str, Tensor]]:
    """The tensors of a .safetensors file or a torch checkpoint, by name; a checkpoint runs no code.

    What training wraps around them (``{"state_dict": ...}``, ``module.`` before names) is taken off. Raises
    WeightsError for a file that is something else.
    """
    loaded = held_in(path)
    for key in WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
            break
    if not isinstance(loaded, Mapping) or not loaded or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise WeightsError(f"{str(path)!r} holds no table of tensors. Give the file of a state_dict")
    return {}, {_bare(str(name)): value for name, value in loaded.items()}


def _bare(name: str) -> str:
    for _ in PREFIXES:
        for prefix in PREFIXES:
            name = name.removeprefix(prefix)
    return name


def _settings(config: Config) -> tuple[str, dict[str, object]]:
    """The model's name, and all that is said of it. Raises CardError for an unknown option or model."""
    import timm

    unknown = [key for key in config if key not in OPTIONS]
    name = config.get("model")
    if unknown or not isinstance(name, str):
        said = f"unknown option {unknown[0]!r}.{guess(unknown[0], OPTIONS)}" if unknown else f"`model` is {name!r}."
        raise CardError(f"the config of a timm model: {said} Its options are: {', '.join(OPTIONS)}; model is needed")
    if not timm.is_model(name):
        close = guess(name.split(".")[0], timm.list_models())
        raise CardError(f"timm {timm.__version__} has no model {name!r}.{close} timm.list_models() names them all")
    if not isinstance(config.get("arguments", {}), Mapping):
        raise CardError(f"timm model {name!r}: `arguments` is {config['arguments']!r}; it must be a table of settings")
    return name, dict(config)


def _created(name: str, config: Config, *, fork: bool = True) -> Any:
    """The network with weights as they are drawn. fork: the process's own random numbers stay where they were."""
    import timm

    arguments = dict(cast("Mapping[str, Any]", config.get("arguments", {})))
    if config.get("num_classes") is not None:
        arguments["num_classes"] = config["num_classes"]
    if "input_size" in config:
        arguments["in_chans"] = _channels(config, {})
    try:
        with torch.random.fork_rng(devices=[], enabled=fork):
            return timm.create_model(name, pretrained=False, **arguments)
    except Exception as error:  # constructors of many authors raise many kinds
        raise CardError(
            f"timm cannot make the model {name!r} with {arguments}: {type(error).__name__}: {error}. Correct `model`, "
            "`num_classes` or `arguments`"
        ) from error


def _channels(config: Config, released: Mapping[str, object]) -> int:
    """How many channels the network takes: what the config says, else what timm says of the released model."""
    size = config.get("input_size", released.get("input_size", (3,)))
    own = cast("Mapping[str, object]", config.get("arguments", {})).get("in_chans")
    if own is not None and "input_size" not in config:
        size = (own,)
    if not isinstance(size, (list, tuple)) or size[:1] not in ([1], [3], (1,), (3,)):
        raise CardError(f"timm model {config['model']!r}: `input_size` is {size!r}; write [1 or 3, height, width]")
    return int(size[0])


def _fill(network: nn.Module, weights: Mapping[str, Tensor], name: str, *, remap: bool) -> None:
    """Put the weights in, all or none. Names of other releases are translated by timm's own filter, where it has one.

    Raises WeightsError that lists what is missing, left over or of another shape.
    """
    state = {key: value for key, value in network.state_dict().items() if not key.endswith(COUNTER)}
    given = {key: value for key, value in weights.items() if not key.endswith(COUNTER)}
    if remap:
        given = _by_order(state, given, name)
    translate: Callable[..., dict[str, Tensor]] | None
    translate = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    faults = misfits(state, given)
    if faults and translate is not None:
        translated = {key: value for key, value in translate(dict(given), network).items() if not key.endswith(COUNTER)}
        if not misfits(state, translated):
            given, faults = translated, []
    if faults:
        shown = "\n  ".join(faults[:12] + [f"and {len(faults) - 12} more"] * (len(faults) > 12))
        raise WeightsError(
            f"the weights do not fit timm's {name!r}:\n  {shown}\nGive the file that belongs to the config; where only "
            "its names differ and the order is the same, write `remap: true` there"
        )
    with torch.no_grad():
        for key, value in state.items():
            value.copy_(given[key])


def _by_order(state: Mapping[str, Tensor], given: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The file's tensors under the network's names, first to first, where number and shapes are the same."""
    if len(state) != len(given):
        raise WeightsError(f"`remap`: the file has {len(given)} tensors, timm's {name!r} has {len(state)}")
    for (key, value), (other, found) in zip(state.items(), given.items(), strict=True):
        if value.shape != found.shape:
            raise WeightsError(
                f"`remap`: {other} {list(found.shape)} of the file stands where timm's {name!r} has {key} "
                f"{list(value.shape)}. The order is not the same: give a file with timm's names"
            )
    return dict(zip(state, given.values(), strict=True))


def _identity(network: nn.Module, settings: Mapping[str, object], ready: Preprocessing) -> str:
    said = {"settings": settings, "preprocessing": vars(ready)}
    digest = hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode())
    for name, tensor in sorted(network.state_dict().items()):
        if not name.endswith(COUNTER):
            digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
