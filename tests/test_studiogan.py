"""StudioGAN's generators against the official outputs and, elsewhere, against their formulas; YAML, files, errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

import preimage.adapters.studiogan as studiogan_package
from preimage.adapters.studiogan import BACKBONES
from preimage.adapters.studiogan.family import StudioGAN, build, read
from preimage.adapters.studiogan.settings import settings_from
from preimage.harness import StandardNormal, Uniform
from preimage.harness import build as build_family
from preimage.harness.cards import read_cards
from preimage.harness.converted import write_converted
from preimage.harness.errors import CardError, GeneratorError, WeightsError

from .gan_formulas import Held, is_the_formula, random_weights, studiogan
from .golden_sets import Golden, apart, codes, missing_and_left_over, official, passes_check, same_as_official

SETS = ("studiogan-reacgan", "studiogan-deep-legacy", "studiogan-resnet", "studiogan-dcgan")


@pytest.mark.parametrize("name", SETS)
def test_images_and_gradients_are_the_official_ones(shared: Path, name: str) -> None:
    golden = Golden(shared, name)
    model = golden.model()
    conditional = golden.config["init_kwargs"]["g_cond_mtd"] != "W/O"
    same_as_official(golden, model, label="labels" if "labels" in golden.io else None)
    assert model.num_classes == (10 if conditional else 0)


@pytest.mark.parametrize("name", SETS[:2])
def test_vectors_may_stand_for_classes_also_between_two(shared: Path, name: str) -> None:
    golden = Golden(shared, name)
    y = golden.io["y_interp"].clone().requires_grad_()
    images = official(golden.model(), golden.io["z"], y)
    (gradient,) = torch.autograd.grad((images * golden.io["rand"]).sum(), y)
    assert apart(images, golden.io["img_y_interp"]) < 3e-5
    assert apart(gradient, golden.io["grad_y_interp"]) < 2e-4


def test_the_official_file_is_read(shared: Path) -> None:
    golden = Golden(shared, "studiogan-reacgan")
    folder = shared / "golden" / "studiogan-reacgan"
    settings, weights = read(folder / "model=G_ema-best-weights-step=100000.pth")
    assert settings == {} and weights.keys() == golden.weights.keys()
    model = build_family("studiogan", {**golden.config["init_kwargs"], "backbone": "big_resnet"}, weights)
    same_as_official(golden, model, label="labels")


BASE: dict[str, Any] = {
    "z_dim": 10,
    "g_shared_dim": 4,
    "img_size": 64,
    "g_conv_dim": 2,
    "apply_attn": False,
    "attn_g_loc": ["N/A"],
    "g_cond_mtd": "cBN",
    "num_classes": 3,
    "g_depth": "N/A",
    "apply_g_sn": True,
}
SMALL = BASE | {"img_size": 32, "z_dim": 8}
PLAIN = {"g_cond_mtd": "W/O", "g_shared_dim": "N/A", "apply_g_sn": False}


def attended(*stages: int) -> dict[str, Any]:
    return {"apply_attn": True, "attn_g_loc": list(stages), "g_conv_dim": 4}


OTHERS: dict[str, dict[str, Any]] = {
    "big": BASE | {"backbone": "big_resnet"} | attended(1, 2),
    "big-128": BASE | {"backbone": "big_resnet", "img_size": 128, "z_dim": 12},
    "big-unconditional": SMALL | PLAIN | {"backbone": "big_resnet"} | attended(3),
    "resnet": BASE | {"backbone": "resnet"} | attended(2),
    "resnet-plain-sn": SMALL | PLAIN | {"backbone": "resnet", "apply_g_sn": True},
    "resnet-classes-without-sn": SMALL | {"backbone": "resnet", "apply_g_sn": False},
    "legacy": BASE | {"backbone": "big_resnet_deep_legacy", "g_depth": 2} | attended(2),
    "legacy-unconditional": SMALL | PLAIN | {"backbone": "big_resnet_deep_legacy", "g_depth": 3},
    "studiogan": BASE | {"backbone": "big_resnet_deep_studiogan", "g_depth": 2} | attended(1, 3),
    "studiogan-128": BASE | {"backbone": "big_resnet_deep_studiogan", "g_depth": 1, "img_size": 128, "g_conv_dim": 4},
    "deep-conv": SMALL | {"backbone": "deep_conv", "g_conv_dim": "N/A"},
    "deep-conv-attended": SMALL | PLAIN | {"backbone": "deep_conv", "apply_g_sn": True} | attended(1),
}


def tiny(said: dict[str, Any]) -> dict[str, Tensor]:
    return random_weights(StudioGAN(settings_from(said)))


@pytest.mark.parametrize("name", OTHERS)
def test_other_settings_are_the_formula(name: str) -> None:
    said = OTHERS[name]
    weights, label = tiny(said), torch.tensor([2, 0, 1])
    model = build(said, weights)
    limits = (5e-5, 5e-4) if "g_depth" in said and said["g_depth"] != "N/A" else (1e-5, 1e-4)
    is_the_formula(model, lambda code: studiogan(Held(weights), said, code, label), label, limits=limits)
    assert model.num_classes == (0 if said["g_cond_mtd"] == "W/O" else 3)


@pytest.mark.parametrize("name", ["big", "resnet", "legacy", "studiogan", "deep-conv"])
def test_every_backbone_is_a_family_of_its_own(name: str) -> None:
    said = OTHERS[name]
    backbone, weights = said["backbone"], tiny(said)
    model = build_family(f"studiogan-{backbone}", {k: v for k, v in said.items() if k != "backbone"}, weights)
    code, label = codes(1, said["z_dim"]), torch.tensor([1])
    assert torch.allclose(model.decode(code, label), build(said, weights).decode(code, label), atol=1e-5)
    other = next(one for one in BACKBONES if one != backbone)
    with pytest.raises(CardError, match=f"`backbone` is '{backbone}'; write `family: studiogan-{backbone}`"):
        build_family(f"studiogan-{other}", said, {})


@pytest.mark.parametrize("name", ["big", "resnet"])
def test_classes_may_be_weighted(name: str) -> None:
    said = OTHERS[name]
    model, code, label = build(said, tiny(said)), codes(3, 10), torch.tensor([2, 0, 1])
    whole = torch.nn.functional.one_hot(label, 3).float()
    assert torch.allclose(model.decode(code, whole), model.decode(code, label), atol=1e-6)
    between = torch.full((3, 3), 1 / 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(model.decode(code, between).sum(), between)
    assert gradient.abs().min() > 0


@pytest.mark.parametrize(
    "name", ["big-unconditional", "resnet-classes-without-sn", "legacy-unconditional", "deep-conv"]
)
def test_check_passes(name: str) -> None:
    said = OTHERS[name]
    weights = tiny(said)
    passes_check(lambda: build(said, weights))


def test_the_prior_is_the_settings() -> None:
    said = OTHERS["resnet-plain-sn"]
    for name, prior in (("gaussian", StandardNormal()), ("uniform", Uniform(-1.0, 1.0))):
        assert build(said | {"z_prior": name}, tiny(said)).native.prior == prior
    with pytest.raises(CardError, match="`z_prior` is 'cauchy'; choose one of gaussian, uniform"):
        build(said | {"z_prior": "cauchy"}, {})


REACGAN = """
DATA:
  name: CIFAR10
  img_size: 32
  num_classes: 3
MODEL:
  backbone: big_resnet
  g_cond_mtd: cBN
  d_cond_mtd: D2DCE
  normalize_d_embed: True
  d_embed_dim: 512
  apply_g_sn: True
  apply_d_sn: True
  apply_attn: True
  attn_g_loc: [2]
  attn_d_loc: [1]
  z_prior: gaussian
  z_dim: 8
  g_shared_dim: 4
  g_conv_dim: 4
  d_conv_dim: 96
  apply_g_ema: True
  g_ema_decay: 0.9999
  g_ema_start: 1000
LOSS:
  adv_loss: hinge
OPTIMIZATION:
  g_lr: 0.0002
"""


def test_settings_are_those_of_upstreams_yaml_files(tmp_path: Path) -> None:
    plain = SMALL | {"backbone": "big_resnet"} | attended(2)
    weights = tiny(plain)
    code, label = codes(2, 8), torch.tensor([0, 2])
    wanted = build(plain, weights).decode(code, label)
    file = tmp_path / "ReACGAN.yaml"
    file.write_text(REACGAN)
    for config in (yaml.safe_load(REACGAN), {"yaml": str(file)}, {"yaml": str(file), "z_dim": 8}):
        model = build(config, weights)
        assert torch.equal(model.decode(code, label), wanted)
    assert settings_from({"yaml": str(file), "z_dim": 12}).z_dim == 12, "plain names win"
    model_alone = {"MODEL": {**yaml.safe_load(REACGAN)["MODEL"], "z_dim": 16}}
    assert settings_from({"yaml": str(file), **model_alone}).z_dim == 16, "sections of the card win over the file's"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"yaml": 3}, "`yaml` is 3; write the path of a YAML file of StudioGAN"),
        ({"MODEL": [1]}, "the section `MODEL` is [1]; it must be a table of settings"),
        ({"MODEL": {"g_novel": 1, "d_novel": 2}}, "unknown in `MODEL`: g_novel. Known are: "),
        ({"z_dims": 3}, "unknown setting in `config`: `z_dims` (did you mean `z_dim`?)"),
        ({"backbone": "stylegan2"}, "`backbone` is 'stylegan2'; choose one of big_resnet, "),
        ({}, "`backbone` is None; choose one of big_resnet, "),
        ({"backbone": "resnet", "eval_mode": False}, "`eval_mode` is false; with batch statistics an image depends"),
        ({"backbone": "resnet", "g_cond_mtd": "cAdaIN"}, "`g_cond_mtd` is 'cAdaIN'; choose one of cBN, W/O"),
        ({"backbone": "resnet", "g_act_fn": "ELU"}, "`g_act_fn` is 'ELU'; choose one of ReLU"),
        (
            {"backbone": "resnet", "info_type": "discrete"},
            "`info_type` is 'discrete'; generators that take information",
        ),
        ({"backbone": "resnet", "g_info_injection": "cBN"}, "`g_info_injection` is 'cBN'; generators that take"),
        ({"backbone": "resnet", "img_size": 48}, "`img_size` is 48; with this backbone it is one of 32, 64, 128, 256"),
        ({"backbone": "deep_conv", "img_size": 64}, "`img_size` is 64; with this backbone it is one of 32"),
        ({"backbone": "big_resnet", "z_dim": 9}, "`z_dim` is 9; it is cut into 4 parts of one size"),
        ({"backbone": "big_resnet", "g_cond_mtd": "cBN"}, "`config` lacks `g_shared_dim`"),
        ({"backbone": "big_resnet_deep_legacy"}, "`config` lacks `g_depth`"),
        ({"backbone": "resnet", "apply_attn": True}, "`config` lacks `attn_g_loc`"),
        ({"backbone": "resnet", "apply_attn": True, "attn_g_loc": ["N/A"]}, "`attn_g_loc[0]` is 'N/A'; it must be"),
    ],
)
def test_settings_that_cannot_be_are_told(config: dict[str, Any], said: str) -> None:
    with pytest.raises(CardError, match="family 'studiogan': ") as caught:
        build(config, {})
    assert said in str(caught.value)


def test_a_yaml_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(CardError, match=r"cannot read the card '.*none\.yaml'"):
        build({"yaml": str(tmp_path / "none.yaml")}, {})


def test_weights_that_do_not_fit_are_listed() -> None:
    for name in ("big", "deep-conv"):
        said = OTHERS[name]
        missing_and_left_over(lambda weights, said=said: build(said, weights), tiny(said))  # type: ignore[misc]  # bound


def test_attention_elsewhere_does_not_fit() -> None:
    said = OTHERS["big"]
    with pytest.raises(WeightsError) as caught:
        build(said | {"attn_g_loc": [1, 3]}, tiny(said))
    told = str(caught.value)
    assert "missing: blocks.4.0.sigma [1]" in told and "left over: blocks.3.0.sigma [1]" in told


def test_counts_of_batches_are_no_part_of_the_model() -> None:
    said = OTHERS["big"]
    weights = tiny(said)
    counted = weights | {
        "bn4.num_batches_tracked": torch.tensor(7),
        "blocks.0.0.bn1.bn.num_batches_tracked": torch.tensor(7),
    }
    code, label = codes(1, 10), torch.tensor([1])
    assert torch.equal(build(said, counted).decode(code, label), build(said, weights).decode(code, label))


def test_other_layouts_of_files_are_read(tmp_path: Path) -> None:
    said = OTHERS["big"]
    weights = tiny(said)
    torch.save({"state_dict": weights, "optimizer": {"state": {}}, "epoch": 3}, tmp_path / "model=G-best.pth")
    torch.save({f"module.{name}": value for name, value in weights.items()}, tmp_path / "bare.pth")
    write_converted(tmp_path / "c.safetensors", "studiogan", said, weights)
    for file in ("model=G-best.pth", "bare.pth", "c.safetensors"):
        settings, found = read(tmp_path / file)
        assert found.keys() == weights.keys() and all(torch.equal(found[name], weights[name]) for name in weights)
        assert settings == (said if file == "c.safetensors" else {})
    torch.save({"seed": 1, "best_fid": 3.0}, tmp_path / "model=D.pth")
    with pytest.raises(WeightsError, match="holds a table of seed, best_fid; no generator is in it"):
        read(tmp_path / "model=D.pth")


def test_labels_and_codes_that_cannot_be_are_told() -> None:
    for name, vectors in (("big", " float32, or class vectors [2, 4] float32"), ("resnet", " float32; not")):
        model = build(OTHERS[name], tiny(OTHERS[name]))
        with pytest.raises(GeneratorError, match="this model has 3 classes: give decode a label per code"):
            model.decode(torch.zeros(2, 10))
        with pytest.raises(GeneratorError) as caught:
            model.decode(torch.zeros(2, 10), torch.zeros(2, 5))
        assert f"weights of the classes [2, 3]{vectors}" in str(caught.value)
        with pytest.raises(GeneratorError, match=r"codes of space 'z' are \[n, 10\], not \[2, 8\]"):
            model.decode(torch.zeros(2, 8), torch.tensor([0, 1]))


def test_cards_of_released_files_are_of_networks_of_their_size() -> None:
    megabytes = {}
    for card in read_cards(Path(studiogan_package.__file__).parent):
        model = StudioGAN(settings_from(card.config))
        assert tuple(card.image) == tuple(model.image) and card.num_classes == model.num_classes
        assert card.config["eval_mode"] is True and "unverified" in card.tags and card.licence
        megabytes[card.name] = sum(value.numel() for value in model.state_dict().values()) * 4 / 1e6
    assert megabytes["studiogan-reacgan-tac-cifar10"] == pytest.approx(37.86, abs=0.05), "as the released file has"
    assert set(megabytes) == {"studiogan-reacgan-tac-cifar10", "studiogan-dcgan-cifar10"}
