"""BigGAN and BigGAN-deep against the official outputs and, elsewhere, against their formulas; files, errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from preimage.adapters.biggan.family import BigGAN, build, build_deep, read
from preimage.adapters.biggan.settings import settings_from
from preimage.adapters.gan_layers import Stored
from preimage.harness import Generator
from preimage.harness.cards import read_card
from preimage.harness.converted import write_converted
from preimage.harness.errors import CardError, GeneratorError, WeightsError
from preimage.harness.generator import prepare

from .gan_formulas import Held, biggan, is_the_formula, random_weights
from .golden_sets import Golden, apart, codes, missing_and_left_over, official, passes_check, same_as_official

CARDS = Path(__file__).resolve().parents[1] / "docs" / "cards"
SETS = ("biggan-cifar", "biggan-hier", "biggan-deep")


@pytest.mark.parametrize("name", SETS)
def test_images_and_gradients_are_the_official_ones(shared: Path, name: str) -> None:
    golden = Golden(shared, name)
    model = golden.model()
    same_as_official(golden, model, label="labels")
    assert apart(official(model, golden.io["z_scaled"], golden.io["labels"]), golden.io["img_z_scaled"]) < 3e-5
    assert model.num_classes == 10 and model.native.dim == golden.config["dim_z"]


@pytest.mark.parametrize("name", SETS[1:])
def test_vectors_may_stand_for_classes_also_between_two(shared: Path, name: str) -> None:
    golden = Golden(shared, name)
    model = golden.model()
    same_as_official(golden, model, label="y_shared")
    for dtype, near in ((torch.float32, 1e-3), (torch.float64, 2e-5)):  # at a kink rounding chooses the slope
        y = golden.io["y_interp"].to(dtype).requires_grad_()
        images = official(model.to(dtype), golden.io["z"].to(dtype), y)
        (gradient,) = torch.autograd.grad((images * golden.io["rand"].to(dtype)).sum(), y)
        assert apart(images, golden.io["img_y_interp"]) < 3e-5
        assert apart(gradient, golden.io["grad_y_interp"]) < near


def test_it_is_the_network_in_eval_mode(shared: Path) -> None:
    golden = Golden(shared, "biggan-cifar")
    images = official(golden.model(), golden.io["z_train8"], golden.io["labels_train8"])
    assert apart(images, golden.io["img_eval8"]) < 3e-5
    assert apart(images, golden.io["img_train8"]) > 0.1, "which batch statistics are not"
    with pytest.raises(CardError, match="`eval_mode` is false; with batch statistics an image depends on the others"):
        golden.model(eval_mode=False)


def test_the_official_file_is_read(shared: Path) -> None:
    golden = Golden(shared, "biggan-cifar")
    settings, weights = read(shared / "golden" / "biggan-cifar" / "G_ema_best.pth")
    assert settings == {} and weights.keys() == golden.weights.keys()
    model = prepare(build(golden.config["init_kwargs"], weights))
    same_as_official(golden, model, label="labels")


PLAIN: dict[str, Any] = {"resolution": 32, "G_ch": 2, "dim_z": 6, "n_classes": 3, "G_attn": "0", "G_shared": False}
DEEP: dict[str, Any] = {"resolution": 32, "G_ch": 4, "dim_z": 5, "n_classes": 3, "G_attn": "0", "hier": True}
OTHERS: list[dict[str, Any]] = [
    PLAIN,
    PLAIN | {"BN_eps": 0.1, "SN_eps": 2.0, "bottom_width": 8},
    PLAIN | {"G_shared": True, "shared_dim": 7, "G_attn": "8_32", "mybn": True},
    PLAIN | {"G_shared": True, "resolution": 64, "G_ch": 4, "G_attn": "16_32", "hier": True, "dim_z": 13},
    PLAIN | {"G_shared": True, "resolution": 128, "G_ch": 1, "hier": True, "dim_z": 13, "shared_dim": 2},
    DEEP | {"G_depth": 2},
    DEEP | {"G_depth": 1, "G_attn": "32", "shared_dim": 2},
    DEEP | {"G_depth": 3, "resolution": 64, "G_ch": 2, "G_attn": "8_16", "mybn": True, "BN_eps": 0.1},
    DEEP | {"G_depth": 2, "resolution": 128},
]


def tiny(said: dict[str, Any], seed: int = 0) -> dict[str, Tensor]:
    return random_weights(BigGAN(settings_from(said, deep="G_depth" in said)), seed)


def made(said: dict[str, Any], weights: dict[str, Tensor] | None = None) -> BigGAN:
    make = build_deep if "G_depth" in said else build
    return make(said, tiny(said) if weights is None else weights)


@pytest.mark.parametrize("said", OTHERS, ids=str)
def test_other_settings_are_the_formula(said: dict[str, Any]) -> None:
    weights, label = tiny(said), torch.tensor([2, 0, 1])
    held, settings = Held(weights, said.get("SN_eps", 1e-12)), {"G_attn": "0", **said}
    limits = (5e-5, 5e-4) if "G_depth" in said else (1e-5, 1e-4)
    is_the_formula(made(said, weights), lambda code: biggan(held, settings, code, label), label, limits=limits)


def test_a_code_is_cut_into_whole_chunks() -> None:
    said = PLAIN | {"G_shared": True, "hier": True, "dim_z": 11, "shared_dim": 0}
    model = made(said)
    assert model.native.dim == 8, "four chunks of two"
    assert tiny(said)["shared.weight"].shape == (3, 11), "vectors of classes are as long as was asked for"
    record = {"init_kwargs": said, "dim_z": 8, "shared_dim": None, "seed": 3, "eval_mode": True}
    assert torch.equal(
        build(record, tiny(said)).decode(codes(1, 8), torch.tensor([0])), model.decode(codes(1, 8), torch.tensor([0]))
    )


@pytest.mark.parametrize("said", [OTHERS[0], OTHERS[2], OTHERS[5]], ids=str)
def test_classes_may_be_weighted(said: dict[str, Any]) -> None:
    model, code, label = made(said), codes(3, 6 if "G_depth" not in said else 5), torch.tensor([2, 0, 1])
    whole = torch.nn.functional.one_hot(label, 3)
    assert torch.allclose(model.decode(code, whole.double()), model.decode(code, label), atol=1e-6)
    between = torch.full((3, 3), 1 / 3, requires_grad=True)
    images = model.decode(code, between)
    assert not torch.allclose(images, model.decode(code, label), atol=1e-3)
    (gradient,) = torch.autograd.grad(images.sum(), between)
    assert gradient.abs().min() > 0


def test_what_upstream_records_is_no_part_of_the_model() -> None:
    said = PLAIN | {"mybn": True, "num_G_SVs": 2}
    weights = tiny(said)
    recorded = {name.replace(".u0", f".{one}"): value for name, value in weights.items() for one in ("sv0", "sv1", "u1")
                if name.endswith(".u0")}  # fmt: skip
    recorded |= {"blocks.0.0.bn1.bn.accumulation_counter": torch.zeros(1)}
    code, label = codes(2, 6), torch.tensor([0, 1])
    same = build(said, weights).decode(code, label)
    assert torch.equal(build(said, weights | recorded).decode(code, label), same)
    with pytest.raises(WeightsError, match=r"left over: .*\.u1"):
        build(said | {"num_G_SVs": 1}, weights | recorded)
    halves = {name: value.half() for name, value in weights.items()}
    assert torch.allclose(build(said, halves).decode(code, label), same, atol=5e-3)
    assert build(said, halves).decode(code, label).dtype == torch.float32


def test_nothing_is_left_to_fold() -> None:
    model = made(OTHERS[3])
    assert not [name for name, part in model.named_modules() if isinstance(part, (Stored, nn.BatchNorm2d))]
    assert not [name for name in model.state_dict() if name.endswith((".u0", "stored_mean", "gamma"))]
    assert not [name for name, value in model.named_parameters() if value.requires_grad]


SMALL = OTHERS[3] | {"resolution": 32, "G_attn": "16"}


@pytest.mark.parametrize("said", [OTHERS[0], SMALL, OTHERS[6]], ids=str)
def test_check_passes(said: dict[str, Any]) -> None:
    passes_check(lambda: made(said))


def test_making_a_model_draws_nothing_from_the_global_generator() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    build(PLAIN, tiny(PLAIN))
    assert torch.equal(torch.get_rng_state(), before)


def test_weights_that_do_not_fit_are_listed() -> None:
    missing_and_left_over(lambda weights: build(PLAIN, weights), tiny(PLAIN))
    missing_and_left_over(lambda weights: build_deep(OTHERS[5], weights), tiny(OTHERS[5]))


def test_a_layer_without_a_spectral_norm_is_named() -> None:
    weights = tiny(PLAIN)
    weights["blocks.1.0.conv2.weight"] = torch.zeros_like(weights["blocks.1.0.conv2.weight"])
    with pytest.raises(WeightsError, match=r"the spectral norm of 'blocks\.1\.0\.conv2' is 0\.0; weights cannot"):
        build(PLAIN, weights)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"resolution": 48}, "`resolution` is 48; it must be one of 32, 64, 128, 256, 512"),
        ({"hier": True}, "`G_shared` is false; codes can only be joined to vectors that the classes share"),
        ({"hier": True, "G_shared": True, "dim_z": 3}, "`dim_z` is 3; with `hier` it is cut into 4 parts"),
        ({"cross_replica": True}, "`cross_replica` is true; on one device upstream's code for it adds the gain"),
        ({"G_attn": "x"}, "`G_attn` is 'x'; write resolutions, e.g. '64' or '32_64', or '0' for none"),
        ({"G_attn": True}, "`G_attn` is True; write resolutions"),
        ({"G_nl": "elu"}, "`G_nl` is 'elu'; choose one of relu, inplace_relu, ir"),
        ({"G_param": "WN"}, "`G_param` is 'WN'; choose one of SN"),
        ({"norm_style": "in"}, "`norm_style` is 'in'; choose one of bn"),
        ({"G_kernel_size": 5}, "`G_kernel_size` is 5; only 3 is known"),
        ({"G_ch": 0}, "`G_ch` is 0; it must be a whole number from 1 up"),
        ({"shared_dim": -1}, "`shared_dim` is -1; it must be a whole number from 0 up"),
        ({"mybn": 1}, "`mybn` is 1; it must be true or false"),
        ({"G_chs": 2}, "unknown setting in `config`: `G_chs` (did you mean `G_ch`?)"),
    ],
)
def test_settings_that_cannot_be_are_told(changed: dict[str, Any], said: str) -> None:
    shared = {"shared_dim": 4, "G_shared": True} if "shared_dim" in changed else {}
    with pytest.raises(CardError, match="family 'biggan': ") as caught:
        build(PLAIN | shared | changed, {})
    assert said in str(caught.value)


def test_what_the_deep_one_needs_is_told() -> None:
    for changed, said in (({"hier": False}, "`hier` is false; BigGAN-deep gives"), ({"G_shared": False}, "`G_shared`")):
        with pytest.raises(CardError, match=f"family 'biggan-deep': {said}"):
            build_deep(DEEP | changed, {})


def test_layers_without_a_channel_are_told() -> None:
    with pytest.raises(CardError, match=r"a layer with weights \[0, 4, 1, 1\]: no channel is left"):
        build(PLAIN | {"G_ch": 1, "G_attn": "8"}, {})


def test_attention_may_be_a_number_as_yaml_has_it() -> None:
    assert settings_from(PLAIN | {"G_attn": 16}, deep=False).attention == (False, True, False)


@pytest.mark.parametrize(
    ("label", "said"),
    [
        (None, "this model has 3 classes: give decode a label per code"),
        (torch.tensor([0]), r"labels are [2] int64, weights of the classes [2, 3] float32, or class vectors [2, 7]"),
        (torch.zeros(2, 4), "not [2, 4] torch.float32"),
        (torch.tensor([0, 3]), "labels are [0, 3]; they must be from 0 to 2"),
        (torch.tensor([-1, 0]), "labels are [-1, 0]; they must be from 0 to 2"),
    ],
)
def test_labels_that_cannot_be_are_told(label: Tensor | None, said: str) -> None:
    model: Generator = made(OTHERS[2])
    with pytest.raises(GeneratorError) as caught:
        model.decode(torch.zeros(2, 6), label)
    assert said in str(caught.value)


def test_codes_are_flat() -> None:
    with pytest.raises(GeneratorError, match=r"codes of space 'z' are \[n, 6\], not \[2, 5\]"):
        made(PLAIN).decode(torch.zeros(2, 5), torch.tensor([0, 1]))


def test_a_converted_file_tells_its_settings(tmp_path: Path) -> None:
    weights = tiny(PLAIN)
    write_converted(tmp_path / "b.safetensors", "biggan", PLAIN, weights)
    settings, found = read(tmp_path / "b.safetensors")
    assert settings == PLAIN and found.keys() == weights.keys()


def test_the_record_of_a_training_is_no_generator(tmp_path: Path) -> None:
    torch.save({"itr": 5, "best_IS": 8.0}, tmp_path / "state_dict.pth")
    with pytest.raises(WeightsError, match="holds a table of itr, best_IS; no generator is in it"):
        read(tmp_path / "state_dict.pth")


@pytest.mark.parametrize(
    ("card", "megabytes"),
    [("diffaugment-biggan-cifar10", 17.3), ("diffaugment-biggan-cifar100", 18.4), ("biggan-imagenet128", 282.0)],
)
def test_cards_of_released_files_are_of_networks_of_their_size(card: str, megabytes: float) -> None:
    said = read_card(CARDS / f"{card}.yaml")
    model = BigGAN(settings_from(said.config, deep=False))
    held = sum(value.numel() for value in model.state_dict().values()) * 4 / 1e6
    assert held == pytest.approx(megabytes, abs=0.1), "of tensors; a file has a head too"
    assert (tuple(said.image), said.num_classes) == (tuple(model.image), model.num_classes)
    assert said.config["eval_mode"] is True and "unverified" in said.tags and said.licence
