"""Files and cards of StyleGAN2-ADA: what is read from which, and what is told of files that hold something else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import preimage.adapters.stylegan2_ada as stylegan2_ada
from preimage.adapters.stylegan2_ada.family import build, read
from preimage.harness.cards import read_cards
from preimage.harness.converted import write_converted
from preimage.harness.errors import WeightsError
from preimage.harness.loading import load
from preimage.harness.plugins import installed
from tests.reading.written import network, pickled
from tests.stylegan2_models import random_weights, settings

from .tiny_world import Shell
from .tiny_world import shell as shell


def as_network(name: str, tensors: Mapping[str, Tensor], attributes: Mapping[str, Any], at: str = "") -> Any:
    """A module with those of the tensors that are under a name, pickled as training does.

    attributes: of the modules, by their dotted names.
    """
    own, children = {}, dict[str, dict[str, Tensor]]()
    for key, value in tensors.items():
        first, dot, rest = key.partition(".")
        if dot:
            children.setdefault(first, {})[rest] = value
        else:
            own[f"buffer.{key}" if key in ("w_avg", "resample_filter", "noise_const") else key] = value
    modules = {
        child: as_network("Module", held, attributes, f"{at}.{child}".lstrip(".")) for child, held in children.items()
    }
    return network(name, own, modules, **attributes.get(at, {}))


def snapshot(path: Path, config: dict[str, Any], attributes: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
    """Write a snapshot of a generator so constructed; its tensors."""
    weights = random_weights(config)
    made = {"": {"_init_args": (), "_init_kwargs": config}, **(attributes or {})}
    path.write_bytes(pickled({"G": None, "D": None, "G_ema": as_network("Generator", weights, made)}))
    return weights


def same(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> bool:
    return found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("c_dim", [0, 3])
@pytest.mark.parametrize("architecture", ["skip", "resnet", "orig"])
def test_a_snapshot_gives_the_settings_and_the_tensors(tmp_path: Path, architecture: str, c_dim: int) -> None:
    config = settings(c_dim=c_dim, synthesis_kwargs={"architecture": architecture})
    weights = snapshot(tmp_path / "s.pkl", config)
    read_config, tensors = read(tmp_path / "s.pkl")
    assert read_config == config and same(tensors, weights)
    label = torch.tensor([1]) if c_dim else None
    assert build(read_config, tensors).decode(torch.zeros(1, 6), label).shape == (1, 3, 8, 8)


def test_settings_given_by_position_are_named(tmp_path: Path) -> None:
    config = settings()
    positional = {"": {"_init_args": (6, 0, 5), "_init_kwargs": {k: config[k] for k in list(config)[3:]}}}
    snapshot(tmp_path / "s.pkl", config, positional)
    assert read(tmp_path / "s.pkl")[0] == config


def test_a_bound_that_was_the_default_of_the_code_is_taken_from_the_layers(tmp_path: Path) -> None:
    config = settings()
    del config["synthesis_kwargs"]["conv_clamp"]
    snapshot(tmp_path / "s.pkl", config, {"synthesis.b4.conv1": {"conv_clamp": 256}})
    found, _ = read(tmp_path / "s.pkl")
    assert found == settings(synthesis_kwargs={"conv_clamp": 256})
    snapshot(tmp_path / "s.pkl", config, {"synthesis.b4.conv1": {"conv_clamp": None}})
    assert read(tmp_path / "s.pkl")[0] == config


OTHERS: dict[str, tuple[Any, str]] = {
    "a discriminator": (
        as_network("Discriminator", {"b8.conv0.weight": torch.ones(1), "b4.fc.weight": torch.ones(1)}, {}),
        "a network 'Discriminator' with the parts b8, b4",
    ),
    "stylegan3": (
        as_network("Generator", {"mapping.w_avg": torch.ones(1), "synthesis.input.freqs": torch.ones(1)}, {}),
        "a network 'Generator' of StyleGAN3 or StyleGAN-XL (the family `stylegan-xl` reads the latter)",
    ),
    "something else": (
        as_network("Generator", {"mapping.w_avg": torch.ones(1), "synthesis.main.weight": torch.ones(1)}, {}),
        "a network 'Generator' whose synthesis has the parts main",
    ),
    "bare": (network("Linear", {"weight": torch.ones(1)}), "a network 'Linear' with the parts none"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_networks_are_named(name: str, tmp_path: Path) -> None:
    other, said = OTHERS[name]
    (tmp_path / "other.pkl").write_bytes(pickled({"G_ema": other}))
    with pytest.raises(WeightsError) as raised:
        read(tmp_path / "other.pkl")
    assert said in str(raised.value) and "not a generator of stylegan2-ada" in str(raised.value)


def test_the_other_family_s_snapshot_is_named(shared: Path) -> None:
    with pytest.raises(WeightsError, match="of StyleGAN3 or StyleGAN-XL"):
        read(shared / "golden" / "styleganxl-sr" / "snapshot_nosrc.pkl")


def test_converted_files_and_plain_tables_are_read(tmp_path: Path) -> None:
    config = settings()
    weights = random_weights(config)
    write_converted(tmp_path / "c.safetensors", "stylegan2-ada", config, weights)
    found, tensors = read(tmp_path / "c.safetensors")
    assert found == config and same(tensors, weights)
    save_file(weights, tmp_path / "p.safetensors")
    torch.save(weights, tmp_path / "p.pth")
    for name in ("p.safetensors", "p.pth"):
        found, tensors = read(tmp_path / name)
        assert found == {} and same(tensors, weights)


def test_the_cards_are_of_models_on_the_hub_and_say_so() -> None:
    assert stylegan2_ada.__file__ is not None
    cards = read_cards(Path(stylegan2_ada.__file__).parent)
    assert [card.name.removeprefix("stylegan2-ada-") for card in cards] == [
        "afhqcat", "afhqdog", "afhqwild", "brecahad", "cifar10", "ffhq", "metfaces"
    ]  # fmt: skip
    for card in cards:
        assert card.family == "stylegan2-ada" and "unverified" in card.tags and card.weights is not None
        assert card.weights.uri.startswith("hf://ZeqiangLai/StyleGAN2-pkl@main/ada/") and card.reported["fid"] > 0
        assert installed().models[card.name] == card
    (cifar10,) = [card for card in cards if card.dataset == "cifar10"]
    assert cifar10.num_classes == installed().datasets["cifar10"].num_classes == 10
    assert tuple(cifar10.image) == tuple(installed().datasets["cifar10"].image)


@pytest.mark.usefixtures("no_network")
def test_nothing_is_downloaded_to_show_a_card(shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    shown = shell("show", "stylegan2-ada-ffhq")
    assert shown.status == 0 and "hf://ZeqiangLai/StyleGAN2-pkl@main/ada/ffhq.pkl" in shown.said
    assert "told once its weights are here: type `preimage fetch stylegan2-ada-ffhq`" in shown.said
    planned = shell("run", "-b", "recovery", "-m", "stylegan2-ada-ffhq", "--dry-run")
    assert "its data set is not installed: unknown dataset 'ffhq'" in planned.said


def test_a_card_needs_no_settings_where_the_file_has_them(tmp_path: Path) -> None:
    config = settings(truncation_psi=0.5)
    own = {name: value for name, value in config.items() if name != "truncation_psi"}
    weights = snapshot(tmp_path / "s.pkl", own)
    (tmp_path / "card.yaml").write_text(
        "{name: s, family: stylegan2-ada, weights: s.pkl, dataset: d, image: [3, 8, 8], num_classes: 0, "
        "config: {truncation_psi: 0.5}}"
    )
    (card,) = read_cards(tmp_path)
    code = torch.randn(2, 6)
    assert torch.allclose(load(card, installed()).decode(code), build(config, weights).decode(code), atol=1e-6)
