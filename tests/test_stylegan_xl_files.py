"""Files, settings and cards of StyleGAN-XL: what is read from which, and what is told of those that are wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import preimage.adapters.stylegan_xl as stylegan_xl
from preimage.adapters.stylegan_xl.family import build, read
from preimage.harness.cards import read_cards
from preimage.harness.converted import write_converted
from preimage.harness.errors import CardError, GeneratorError, WeightsError
from preimage.harness.loading import load
from preimage.harness.plugins import installed
from tests.reading.written import network, pickled

from .stylegan_xl_models import ROWS, as_module, random_weights, settings, snapshot

HEADS = [{"up_factor": 2, "head_layers": 3}, {"up_factor": 2, "head_layers": 4}]


def same(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> bool:
    return found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize(
    ("changes", "class_name"),
    [
        ({}, "Generator"),
        ({"c_dim": 3, "conv_kernel": 1, "use_radial_filters": True, "conv_clamp": None}, "Generator"),
        ({"channel_base": 128, "superres_kwargs": HEADS}, "SuperresGenerator"),
    ],
)
def test_a_snapshot_gives_the_network_and_the_tensors(tmp_path: Path, changes: dict[str, Any], class_name: str) -> None:
    config = settings(**changes)
    weights = snapshot(tmp_path / "s.pkl", config, class_name)
    found, tensors = read(tmp_path / "s.pkl")
    assert same(tensors, weights)
    found = json.loads(json.dumps(found))
    code, label = torch.randn(2, 6), torch.tensor([0, 2]) if config["c_dim"] else None
    wanted = build(config, weights)
    assert build(found, tensors).settings == wanted.settings, "a record's own words are what its settings design"
    assert torch.equal(build(found, tensors).decode(code, label), wanted.decode(code, label))


def test_converted_files_and_plain_tables_are_read(tmp_path: Path) -> None:
    weights = snapshot(tmp_path / "s.pkl", settings())
    config, _ = read(tmp_path / "s.pkl")
    write_converted(tmp_path / "c.safetensors", "stylegan-xl", config, weights)
    found, tensors = read(tmp_path / "c.safetensors")
    assert found == config and same(tensors, weights)
    save_file(weights, tmp_path / "p.safetensors")
    torch.save(weights, tmp_path / "p.pth")
    for name in ("p.safetensors", "p.pth"):
        found, tensors = read(tmp_path / name)
        assert found == {} and same(tensors, weights)


def test_a_card_needs_no_settings_where_the_file_has_them(tmp_path: Path) -> None:
    config = settings(channel_base=128, superres_kwargs=HEADS)
    weights = snapshot(tmp_path / "s.pkl", config, "SuperresGenerator")
    (tmp_path / "card.yaml").write_text(
        "{name: s, family: stylegan-xl, weights: s.pkl, dataset: d, image: [3, 32, 32], num_classes: 0, "
        "config: {truncation_psi: 0.5}}"
    )
    (card,) = read_cards(tmp_path)
    code = torch.randn(2, 6)
    found = load(card, installed()).decode(code)
    assert torch.equal(found, build({**config, "truncation_psi": 0.5}, weights).decode(code))
    assert not torch.allclose(found, build(config, weights).decode(code), atol=1e-3)


def test_a_chain_may_stand_beside_plain_settings_or_below_a_table() -> None:
    config = settings(channel_base=128)
    weights, code = random_weights({**config, "superres_kwargs": HEADS}), torch.randn(2, 6)
    heads = [{**HEADS[0], "img_resolution": 16, "path_stem": "/private/stem.pkl", "channel_max": 3}, HEADS[1]]
    forms: list[dict[str, Any]] = [
        {**config, "superres_kwargs": heads},
        {"stem_init_kwargs": config, "superres_kwargs": heads},
        {"stem_init_kwargs": config, "superres_kwargs": heads, "family": "stylegan-xl", "notes": "of a record"},
        {"init_kwargs": config, "superres_kwargs": heads, "notes": "of a record"},
    ]
    first, *others = [build(form, weights).decode(code) for form in forms]
    assert first.shape == (2, 3, 32, 32) and all(torch.equal(first, other) for other in others)


def other_network(change: Callable[[dict[str, Any]], None]) -> Any:
    """A snapshot's network, with the attributes of its modules changed."""
    attributes: dict[str, Any] = {"synthesis": {"layer_names": ["L0_8_4"]}, "synthesis.L0_8_4": {}, "mapping": {}}
    change(attributes)
    one = torch.ones(1)
    tensors = {"mapping.embed.weight": one, "mapping.fc0.weight": one, "synthesis.input.freqs": one}
    return as_module("Generator", {**tensors, "synthesis.L0_8_4.weight": one}, attributes)


OTHERS: dict[str, tuple[Any, str]] = {
    "a discriminator": (network("ProjectedDiscriminator", {"w": torch.ones(1)}), "a ProjectedDiscriminator of nothing"),
    "stylegan2": (
        as_module("Generator", {"mapping.w_avg": torch.ones(1), "synthesis.b4.const": torch.ones(1)}, {}),
        "a generator without Fourier features, as those of StyleGAN2",
    ),
    "stylegan3": (
        as_module(
            "Generator",
            {"mapping.embed.weight": torch.ones(1), "mapping.embed.bias": torch.ones(1),
             "synthesis.input.freqs": torch.ones(1)},
            {"synthesis": {"layer_names": []}},
        ),
        "a generator without embeddings of classes, as those of StyleGAN3",
    ),
    "layers": (
        other_network(lambda found: found["synthesis"].update(layer_names=["L0_8_4", "L1_8_3"])),
        "a generator that lacks some of its layers: fc0, L0_8_4, L1_8_3",
    ),
    "attributes": (other_network(lambda found: None), "a Module without z_dim, c_dim, w_dim"),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_other_networks_are_named(name: str, tmp_path: Path) -> None:
    other, said = OTHERS[name]
    (tmp_path / "other.pkl").write_bytes(pickled({"G_ema": other}))
    with pytest.raises(WeightsError) as raised:
        read(tmp_path / "other.pkl")
    assert f"other.pkl' holds {said}; this family reads the networks of StyleGAN-XL" in str(raised.value)


def test_the_other_family_s_snapshot_is_named(shared: Path) -> None:
    with pytest.raises(WeightsError, match="as those of StyleGAN2"):
        read(shared / "golden" / "stylegan2ada-cond" / "snapshot_nosrc.pkl")


def layered(**changes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Changes of the first layer of a record."""
    return lambda config: {**config, "layers": [{**config["layers"][0], **changes}, *config["layers"][1:]]}


WRONG_SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown": (settings(zdim=3), "unknown setting in `config`: `zdim` (did you mean `z_dim`?)"),
    "unknown below": (
        {"stem_init_kwargs": settings(depth=3)},
        "unknown in `stem_init_kwargs`: depth. Known are: c_dim",
    ),
    "mapping": (settings(mapping_kwargs={"layers": 3}), "unknown in `config` (and its `mapping_kwargs`): layers"),
    "no table": (settings(mapping_kwargs=3), "`mapping_kwargs` is 3; it must be a table of settings"),
    "no list": (settings(superres_kwargs={"up_factor": 2}), "it must be a list of tables of settings"),
    "missing": ({"z_dim": 3, "img_channels": 3}, "`config` lacks img_resolution; it needs img_resolution, img_cha"),
    "missing dims": (
        {k: v for k, v in settings().items() if k != "w_dim"},
        "lacks w_dim; it needs z_dim, c_dim, w_dim",
    ),
    "fraction": (settings(img_resolution=8.5), "`img_resolution` in `config` is 8.5; it must be a whole number from 1"),
    "much": (settings(channel_max=10**9), "it must be a whole number from 1 to 16384"),
    "text": (settings(first_cutoff="two"), "`first_cutoff` in `config` is 'two'; it must be a finite number"),
    "negative": (settings(first_cutoff=-2), "`first_cutoff` in `config` is -2; it must be larger than 0"),
    "flag": (settings(use_radial_filters=1), "`use_radial_filters` in `config` is 1; it must be true or false"),
    "few": (
        settings(num_layers=2),
        "2 layers, of which 2 are critically sampled: at least 3 are needed (`num_layers`)",
    ),
    "few in a head": (settings(superres_kwargs=[{"up_factor": 2, "head_layers": 1}]), "at least 3 are needed (`head_l"),
    "nothing left": (
        settings(num_layers=5, num_critical=0, first_cutoff=0.001, channel_base=0.001),
        "`channel_base` is 0.001: no channel is left at 8 pixels",
    ),
    "factor": (
        settings(superres_kwargs=[{"up_factor": 3}]),
        "`up_factor` in `superres_kwargs[0]` is 3; it must be 2, 4",
    ),
    "resolution": (
        settings(channel_base=128, superres_kwargs=[{"up_factor": 2, "img_resolution": 32}]),
        "`img_resolution` in `superres_kwargs[0]` is 32, `up_factor` makes it 16",
    ),
    "psi": (settings(truncation_psi="half"), "`truncation_psi` in `config` is 'half'; it must be a finite number"),
    "cutoff": (
        settings(truncation_cutoff=-1),
        "`truncation_cutoff` in `config` is -1; it must be a whole number from 0",
    ),
    "whole resolution": (
        {"stem_init_kwargs": settings(), "img_resolution": 16},
        "`img_resolution` is 16, the layers make 8",
    ),
    "num_ws": (settings(num_ws=3), "`num_ws` is 3, and 5 layers make it 6"),
}


@pytest.mark.parametrize("name", WRONG_SETTINGS)
def test_a_wrong_setting_is_told(name: str) -> None:
    config, said = WRONG_SETTINGS[name]
    with pytest.raises(CardError) as raised:
        build(config, {})
    assert said in str(raised.value)


WRONG_RECORDS: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], str]] = {
    "name": (layered(name="../L0"), "`layers` has a layer called '../L0'; names are unique, and like L0_36_512"),
    "twice": (lambda c: {**c, "layers": [c["layers"][0]] * 2}, "names are unique"),
    "lacking": (lambda c: {**c, "layers": [{"name": "L0_8_4"}]}, "`layers[0]` lacks is_torgb, is_critically_sampled"),
    "none": (lambda c: {**c, "layers": []}, "the last of `layers`, and no other, has `is_torgb` true; there are 0"),
    "order": (lambda c: {**c, "layers": c["layers"][::-1]}, "the last of `layers`, and no other, has `is_torgb` true"),
    "input": (lambda c: {**c, "input": {**c["input"], "channels": 3}}, "`input` makes 3 channels of 16 pixels; L0_"),
    "channels": (layered(out_channels=3), "makes 3 channels of 16 pixels; L1_16_6 takes others"),
    "padding": (layered(padding=[1, 2, 1, 2]), "its padding and factors make 9 pixels of 16, not its `out_size` 16"),
    "axes": (layered(padding=[1, 2, 3, 4]), "`padding` in `layers[0]` is [1, 2, 3, 4]; it must be two whole numbers"),
    "oblong": (layered(in_size=[16, 8]), "`in_size` in `layers[0]` is [16, 8]; it must be a whole number"),
    "no name": (layered(name=3), "`name` in `layers[0]` is 3; it must be a text"),
}


@pytest.mark.parametrize("name", WRONG_RECORDS)
def test_layers_that_do_not_follow_from_one_another_are_told(name: str, tmp_path: Path) -> None:
    change, said = WRONG_RECORDS[name]
    snapshot(tmp_path / "s.pkl", settings())
    config, weights = read(tmp_path / "s.pkl")
    with pytest.raises(CardError) as raised:
        build(change(dict(config)), weights)
    assert said in str(raised.value)


def test_tensors_that_do_not_fit_are_listed() -> None:
    config = settings(c_dim=3)
    weights = random_weights(config)
    weights["more"] = weights.pop("mapping.w_avg")
    weights["synthesis.input.freqs"] = torch.zeros(3)
    with pytest.raises(WeightsError) as raised:
        build(config, weights)
    said = str(raised.value)
    assert "missing: mapping.w_avg [3, 5]" in said and "left over: more [3, 5]" in said
    assert "wrong shape: synthesis.input.freqs is [3], should be [8, 2]" in said
    assert "mapping.embed_proj.weight" not in random_weights(settings()) and ROWS > 3


def test_embeddings_and_filters_that_do_not_belong_are_told() -> None:
    config = settings(c_dim=3)
    weights = random_weights(config)
    (first,) = [name for name in weights if name.startswith("synthesis.L0") and name.endswith("down_filter")]
    for embedding in (torch.zeros(2, 4), torch.zeros(4)):
        with pytest.raises(WeightsError, match=r"it must be \[rows, features\], a row for each of 3 classes"):
            build(config, {**weights, "mapping.embed.weight": embedding})
    with pytest.raises(WeightsError, match=r"`mapping.embed.weight` is missing"):
        build(config, {name: value for name, value in weights.items() if "embed.weight" not in name})
    with pytest.raises(WeightsError, match=rf"not those that the settings design: {first} is .* away\. Give the set"):
        build(config, {**weights, first: weights[first].roll(1)})
    rounded = weights[first] + 1e-7
    assert torch.equal(build(config, {**weights, first: rounded}).state_dict()[first], rounded), "the file's is used"


def test_wrong_codes_spaces_and_labels_are_told() -> None:
    config = settings(c_dim=3)
    model, code = build(config, random_weights(config)), torch.zeros(2, 6)
    label = torch.tensor([0, 2])
    with pytest.raises(GeneratorError, match="unknown latent space 'v'; this model has z, w, w\\+"):
        model.decode(code, label, space="v")
    with pytest.raises(GeneratorError, match=r"codes of space 'w' are \[n, 5\], not \[2, 6\]"):
        model.decode(code, space="w")
    with pytest.raises(GeneratorError, match=r"3 classes: give decode a label per code"):
        model.decode(code)
    with pytest.raises(GeneratorError, match=r"labels are \[0, 3\]; they must be from 0 to 2"):
        model.decode(code, torch.tensor([0, 3]))
    with pytest.raises(GeneratorError, match=r"of which the largest counts, not \[2\] torch.float32"):
        model.decode(code, torch.tensor([0.0, 1.0]))
    w = model.push(code, label, source="z", target="w")
    assert model.decode(w, space="w").shape == (2, 3, 8, 8), "no label is needed past the mapping"
    assert model.push(w, source="w", target="w") is w
    for source, target in (("w", "z"), ("w+", "w"), ("w+", "z")):
        with pytest.raises(GeneratorError, match=rf"cannot be pushed from '{source[0]}.*only from z to w to w\+"):
            model.push(torch.zeros(2, model.spaces[source].dim), source=source, target=target)


def test_a_cutoff_leaves_no_w_for_all_layers() -> None:
    config = settings(truncation_psi=0.5, truncation_cutoff=2)
    model = build(config, random_weights(config))
    assert list(model.spaces) == ["z", "w+"]
    with pytest.raises(GeneratorError, match="with `truncation_cutoff` 2 of 6 layers, no single w makes"):
        model.decode(torch.zeros(1, 5), space="w")
    assert list(build({**config, "truncation_cutoff": 6}, random_weights(config)).spaces) == ["z", "w", "w+"]


def test_the_cards_are_of_models_on_the_hub_and_say_so() -> None:
    assert stylegan_xl.__file__ is not None
    cards = {card.name.removeprefix("stylegan-xl-"): card for card in read_cards(Path(stylegan_xl.__file__).parent)}
    sizes = {"imagenet": (16, 32, 64, 128, 256, 512, 1024), "ffhq": (256, 512, 1024), "pokemon": (256, 512, 1024)}
    assert set(cards) == {"cifar10", *(f"{data}{size}" for data, found in sizes.items() for size in found)}
    for name, card in cards.items():
        assert card.family == "stylegan-xl" and "unverified" in card.tags and card.weights is not None
        assert card.weights.uri == f"hf://public-data/StyleGAN-XL@main/models/{name}.pkl"
        assert card.num_classes == {"imagenet": 1000, "cifar10": 10}.get(card.dataset, 0)
        assert name == "cifar10" or name == f"{card.dataset}{card.image.height}"
        assert (card.weights.sha256 is not None) == (name == "imagenet64")
        assert installed().models[card.name] == card
    assert tuple(cards["cifar10"].image) == tuple(installed().datasets["cifar10"].image)
