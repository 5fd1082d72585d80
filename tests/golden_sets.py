"""Reference outputs of official generators, and what tests of small generators share: random weights, state dicts."""

from __future__ import annotations

import json
import pickle
import sys
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from preimage.harness import Generator, ModelCard, build
from preimage.harness.check import check_model
from preimage.harness.errors import WeightsError
from preimage.harness.plugins import Registry, Sources


class Golden:
    """A set of official outputs: config.json as it stands, weights, inputs and outputs."""

    def __init__(self, shared: Path, name: str) -> None:
        folder = shared / "golden" / name
        self.config: dict[str, Any] = json.loads((folder / "config.json").read_text())
        self.family: str = self.config["family"]
        self.io = {name: torch.from_numpy(value) for name, value in np.load(folder / "io.npz").items()}
        if "weights_recipe" in self.config:
            self.weights = dict(_by_recipe(*row) for row in self.config["weights_recipe"])
            total = sum(float(value.double().abs().sum()) for value in self.weights.values())
            assert total == pytest.approx(self.config["weights_checksum_abs_sum"], rel=1e-12)
        else:
            self.weights = load_file(folder / "weights.safetensors")

    def model(self, **own: object) -> Generator:
        """The prepared generator of the whole config, as a stranger would build it; own: settings that win."""
        return build(self.family, {**self.config, **own}, self.weights)


def _by_recipe(name: str, shape: list[int], kind: str, a: float, b: float) -> tuple[str, Tensor]:
    if kind == "fill":
        return name, torch.full(shape, a)
    drawn = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)
    moved = np.float32(a) * drawn + np.float32(b)
    return name, torch.as_tensor(np.exp(moved) if kind == "exp" else moved)


def apart(found: Tensor, wanted: Tensor) -> float:
    """The largest difference as a share of the largest value."""
    return float((found.detach() - wanted).abs().max() / wanted.abs().max())


def official(model: Generator, code: Tensor, label: Tensor | None = None) -> Tensor:
    """Images in the official range."""
    return 2 * model.decode(code, label) - 1


def same_as_official(golden: Golden, model: Generator, *, image: str = "img", label: str | None = None) -> None:
    """Images, and the gradient where they are the main ones, within a tenth of what a checker allows."""
    code = golden.io["z"].clone().requires_grad_()
    images = official(model, code, None if label is None else golden.io[label])
    assert tuple(images.shape[1:]) == tuple(model.image)
    assert apart(images, golden.io[image]) < 3e-5
    if image == "img":
        (gradient,) = torch.autograd.grad((images * golden.io["rand"]).sum(), code)
        assert apart(gradient, golden.io["grad_z"]) < 2e-4


def codes(count: int, dim: int, seed: int = 0) -> Tensor:
    """Draws from N(0, I), [count, dim]."""
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))


def drawn(shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> dict[str, Tensor]:
    """Random weights: batch norms near the identity, the rest at the scale that keeps activations of order 1."""
    stream, found = torch.Generator().manual_seed(seed), {}
    for name, shape in shapes.items():
        value = torch.randn(shape, generator=stream)
        if name.endswith("running_var"):
            value = (0.4 * value).exp()
        elif len(shape) == 1:
            value = 0.2 * value + (name.endswith("weight"))
        else:
            value = value / (value[0].numel() / 2) ** 0.5
        found[name] = value
    return found


def missing_and_left_over(make: Callable[[Mapping[str, Tensor]], object], weights: Mapping[str, Tensor]) -> None:
    """Weights that do not fit are listed: one too few, one too many, one of another shape."""
    first, second = [name for name, value in weights.items() if value.ndim][:2]
    spoilt = {name: weights[name] for name in weights if name != first}
    spoilt |= {"extra.weight": torch.zeros(2), second: torch.zeros(1, 2, 3)}
    with pytest.raises(WeightsError) as caught:
        make(spoilt)
    said = str(caught.value)
    assert f"missing: {first.replace('.module.', '.')} {list(weights[first].shape)}" in said
    assert "left over: extra.weight [2]" in said
    assert f"wrong shape: {second.replace('.module.', '.')} is [1, 2, 3], should be" in said


def verdicts(model: Callable[[], Generator]) -> dict[str, str]:
    """What `preimage check` says of a generator, by rule."""
    one = model()
    card = ModelCard(
        name="m", family="f", dataset="d", image=one.image, num_classes=one.num_classes, load=lambda device: model()
    )
    return {f.rule: f"{f.verdict}: {f.detail}" for f in check_model(card, Registry(Sources(entry_points=False)))}


def passes_check(model: Callable[[], Generator]) -> None:
    """`preimage check` breaks nothing of it."""
    assert [(rule, said) for rule, said in verdicts(model).items() if said.startswith("broken")] == []


def zoo_file(path: Path, settings: Mapping[str, object] | None, **networks: Mapping[str, Tensor]) -> Path:
    """A checkpoint as the GAN zoo saves it: an instance of its own class of settings beside the networks."""
    package = [ModuleType(name) for name in ("models", "models.utils", "models.utils.config")]
    record = type("BaseConfig", (), {"__module__": "models.utils.config", "__qualname__": "BaseConfig"})
    package[-1].BaseConfig = record  # type: ignore[attr-defined]  # that is how a module is made by hand
    before = {module.__name__: sys.modules.get(module.__name__) for module in package}
    sys.modules.update({module.__name__: module for module in package})
    try:
        held: dict[str, object] = {name: dict(tensors) for name, tensors in networks.items()}
        if settings is not None:
            one = record()
            one.__dict__.update(settings)
            held["config"] = one
        torch.save(held, path, pickle_module=pickle)
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
    return path
