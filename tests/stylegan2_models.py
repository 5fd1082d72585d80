"""Small StyleGAN2-ADA models for tests: settings, random weights, cards, and their images by the plain formulas."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

from safetensors.torch import save_file
from torch import Tensor


def transcription() -> ModuleType:
    """The formulas word for word, which the speed benchmark times the family against."""
    path = Path(__file__).resolve().parents[1] / "benchmarks" / "speed" / "plain_stylegan2.py"
    spec = importlib.util.spec_from_file_location("plain_stylegan2", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


plain = transcription()


def settings(**changes: Any) -> dict[str, Any]:
    """A tiny unconditional model of 8x8 images; what is given of the two tables is added to theirs."""
    basis: dict[str, Any] = {
        "z_dim": 6,
        "c_dim": 0,
        "w_dim": 5,
        "img_resolution": 8,
        "img_channels": 3,
        "mapping_kwargs": {"num_layers": 2},
        "synthesis_kwargs": {"channel_base": 64, "channel_max": 8, "num_fp16_res": 4, "conv_clamp": 256},
    }
    for name, value in changes.items():
        basis[name] = {**basis[name], **value} if name in ("mapping_kwargs", "synthesis_kwargs") else value
    return basis


def random_weights(config: dict[str, Any], seed: int = 0) -> dict[str, Tensor]:
    """Every tensor of the official names drawn, filters too."""
    found: dict[str, Tensor] = plain.tensors_of(config, seed=seed)
    return found


def told(config: dict[str, Any], weights: dict[str, Tensor], code: Tensor, classes: Tensor | None = None) -> Tensor:
    """Images [n, c, h, w] in [-1, 1] by the transcription, in float64, differentiable in the code."""
    exact = {name: value.double() for name, value in weights.items()}
    ws = plain.layers_of(code, None if classes is None else classes.double(), config, exact)
    images: Tensor = plain.synthesised(ws, config, exact)
    return images


def write_card(folder: Path, name: str = "tiny-ada", dataset: str = "tiny", **changes: Any) -> Path:
    """A card, and its weights as a .safetensors file, in the folder."""
    config = settings(**changes)
    save_file(random_weights(config), folder / f"{name}.safetensors")
    side = config["img_resolution"]
    card = {
        "name": name,
        "family": "stylegan2-ada",
        "config": config,
        "weights": f"{name}.safetensors",
        "dataset": dataset,
        "image": [config["img_channels"], side, side],
        "num_classes": config["c_dim"],
    }
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps(card))  # JSON is YAML
    return path
