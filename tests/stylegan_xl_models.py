"""Small StyleGAN-XL models for tests: settings, random weights, snapshots, cards, and images by the plain formulas."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from preimage.adapters.stylegan_xl.layer_table import LayerSpec
from preimage.adapters.stylegan_xl.settings import settings_from
from preimage.harness.converted import write_converted
from tests.reading.written import Global, Instance, network, pickled

ROWS, FEATURES = 5, 4


def transcription() -> ModuleType:
    """The formulas word for word, which the speed benchmark times the family against."""
    path = Path(__file__).resolve().parents[1] / "benchmarks" / "speed" / "plain_stylegan_xl.py"
    spec = importlib.util.spec_from_file_location("plain_stylegan_xl", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


plain = transcription()


def settings(**changes: Any) -> dict[str, Any]:
    """A tiny unconditional stem of 8x8 images."""
    return {
        "z_dim": 6,
        "c_dim": 0,
        "w_dim": 5,
        "img_resolution": 8,
        "img_channels": 3,
        "mapping_kwargs": {"num_layers": 2, "rand_embedding": False},
        "channel_base": 32,
        "channel_max": 8,
        "num_layers": 4,
        "margin_size": 4,
        "magnitude_ema_beta": 0.999,
        **changes,
    }


def random_weights(config: Mapping[str, Any], seed: int = 0) -> dict[str, Tensor]:
    """Every tensor under its official name, drawn; filters designed."""
    stem, heads = parts_of(config)
    found: dict[str, Tensor] = plain.tensors_of(stem, heads, rows=ROWS, features=FEATURES, seed=seed)
    return found


def parts_of(config: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]]:
    """The stem's settings and the heads'."""
    return {**config, **config.get("stem_init_kwargs", {})}, config.get("superres_kwargs", [])


def told(config: Mapping[str, Any], weights: Mapping[str, Tensor], code: Tensor, label: Tensor | None) -> Tensor:
    """Images [n, c, h, w] in [-1, 1] by the transcription, in float64, differentiable in the code."""
    stem, heads = parts_of(config)
    exact = {name: value.double() for name, value in weights.items()}
    images: Tensor = plain.synthesised(plain.layers_of(code, label, stem, heads, exact), stem, heads, exact)
    return images


def snapshot(path: Path, config: dict[str, Any], class_name: str = "Generator") -> dict[str, Tensor]:
    """Write a model as training does, its attributes as those of a released file; its tensors."""
    weights, made = random_weights(config), settings_from(config)
    entry = made.synthesis.input
    attributes: dict[str, dict[str, Any]] = {
        "synthesis.input": {**vars(entry), "size": np.array([entry.size] * 2), "bandwidth": np.float64(entry.bandwidth)}
    }
    for layer in made.synthesis.layers:
        attributes[f"synthesis.{layer.name}"] = as_attributes(layer)
    attributes["synthesis"] = {
        "layer_names": [layer.name for layer in made.synthesis.layers],
        "num_ws": made.synthesis.num_ws,
        "output_scale": made.synthesis.output_scale,
        "img_resolution": made.synthesis.img_resolution,
        "img_channels": made.synthesis.img_channels,
        "num_layers": 99,  # stale, as those of a superresolution network are
    }
    attributes["mapping"] = {name: getattr(made.mapping, name) for name in ("z_dim", "c_dim", "w_dim", "num_layers")}
    attributes["mapping.fc0"] = {"bias_gain": made.mapping.lr_multiplier}
    path.write_bytes(pickled({"G": None, "D": None, "G_ema": as_module(class_name, weights, attributes)}))
    return weights


def as_attributes(layer: LayerSpec) -> dict[str, Any]:
    """What the official layer keeps of itself, in its types."""
    own = {name: value for name, value in vars(layer).items() if name != "name"}
    for name in ("in_size", "out_size"):
        own[name] = np.array([own[name]] * 2)
    for name in ("in_cutoff", "out_cutoff", "in_half_width", "out_half_width"):
        own[name] = np.float64(own[name])
    return {**own, "padding": [*layer.padding, *layer.padding], "use_fp16": np.True_, "filter_size": 6}


def as_module(name: str, tensors: Mapping[str, Tensor], attributes: Mapping[str, Any], at: str = "") -> Any:
    """A module with those of the tensors that are under a name, and the attributes of its modules by dotted names."""
    own, children = {}, dict[str, dict[str, Tensor]]()
    for key, value in tensors.items():
        first, dot, rest = key.partition(".")
        if dot:
            children.setdefault(first, {})[rest] = value
        else:
            own[key if key in ("weight", "bias") else f"buffer.{key}"] = value
    if at == "mapping.embed" and "bias" not in own:
        parameters = {"weight": torch.nn.Parameter(own["weight"])}
        state = {"_parameters": parameters, "_buffers": {}, "_modules": {}}
        return Instance(Global("torch.nn.modules.sparse", "Embedding"), (), state)
    modules = {
        child: as_module("Module", held, attributes, f"{at}.{child}".lstrip(".")) for child, held in children.items()
    }
    return network(name, own, modules, **attributes.get(at, {}))


def write_card(folder: Path, name: str = "tiny-xl", dataset: str = "tiny", **changes: Any) -> Path:
    """A card, and beside it its weights as a converted file that holds the settings."""
    config = settings(**changes)
    write_converted(folder / f"{name}.safetensors", "stylegan-xl", config, random_weights(config))
    made = settings_from(config).synthesis
    card = {
        "name": name,
        "family": "stylegan-xl",
        "weights": f"{name}.safetensors",
        "dataset": dataset,
        "image": [made.img_channels, made.img_resolution, made.img_resolution],
        "num_classes": config["c_dim"],
    }
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps(card))  # JSON is YAML
    return path
