"""StyleGAN2-ADA against the official outputs, and against its formulas word for word over many settings."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import one_hot

from preimage.adapters.stylegan2_ada.family import StyleGAN2, build, read
from preimage.adapters.stylegan2_ada.networks import fold
from preimage.adapters.stylegan2_ada.resampling import stored
from preimage.adapters.stylegan2_ada.settings import settings_from
from preimage.adapters.stylegan_layers import truncated
from preimage.harness import build as build_prepared
from preimage.harness.errors import CardError, GeneratorError, WeightsError
from preimage.harness.generator import prepare

from .stylegan2_models import random_weights, settings, told

GOLDEN = ("stylegan2ada-uncond", "stylegan2ada-cond")


class Golden:
    """A set of official outputs: config.json as it stands, weights, inputs and outputs."""

    def __init__(self, folder: Path) -> None:
        self.config: dict[str, Any] = json.loads((folder / "config.json").read_text())
        self.weights = load_file(folder / "weights.safetensors")
        self.io = {name: torch.from_numpy(value) for name, value in np.load(folder / "io.npz").items()}
        self.w_dim: int = self.config["init_kwargs"]["w_dim"]
        self.label = self.io["labels"] if self.config["init_kwargs"]["c_dim"] else None

    def model(self, **own: object) -> StyleGAN2:
        made = build_prepared("stylegan2-ada", {**self.config, **own}, self.weights)
        assert isinstance(made, StyleGAN2)
        return made

    def images(self, model: StyleGAN2, code: Tensor, label: Tensor | None = None, space: str = "z") -> Tensor:
        """In the official range."""
        return 2 * model.decode(code, label, space=space) - 1

    def ws(self, model: StyleGAN2) -> Tensor:
        return model.push(self.io["z"], self.label, source="z", target="w+").view(len(self.io["z"]), -1, self.w_dim)


@pytest.fixture(params=GOLDEN)
def golden(request: pytest.FixtureRequest, shared: Path) -> Golden:
    return Golden(shared / "golden" / request.param)


def apart(found: Tensor, wanted: Tensor) -> float:
    """The largest difference as a share of the largest value."""
    return float((found.detach() - wanted).abs().max() / wanted.abs().max())


def slope(images: Tensor, code: Tensor, weights: Tensor) -> Tensor:
    return torch.autograd.grad((images * weights).sum(), code)[0]


def test_images_and_gradients_are_the_official_ones(golden: Golden) -> None:
    model, code = golden.model(), golden.io["z"].clone().requires_grad_()
    images = golden.images(model, code, golden.label)
    assert apart(images, golden.io["img"]) < 1e-5
    assert apart(slope(images, code, golden.io["rand"]), golden.io["grad_z"]) < 1e-5
    assert apart(golden.ws(model), golden.io["ws"]) < 1e-5
    own = golden.io["ws_plus"].flatten(1).clone().requires_grad_()
    images = golden.images(model, own, space="w+")
    assert apart(images, golden.io["img_ws_plus"]) < 1e-5
    gradient = slope(images, own, golden.io["rand"])
    assert apart(gradient, golden.io["grad_ws_plus"].flatten(1)) < 1e-5
    assert apart(golden.images(golden.model(noise_mode="none"), golden.io["z"], golden.label),
                 golden.io["img_noise_none"]) < 1e-5  # fmt: skip
    assert apart(golden.io["img_noise_none"], golden.io["img"]) > 1e-3, "noise must matter here"


def test_truncation_is_the_official_one(golden: Golden) -> None:
    seen = 0
    for name in golden.io:
        if not name.startswith("img_psi"):
            continue
        psi, _, cutoff = name.removeprefix("img_psi").partition("_cutoff")
        own = {"truncation_psi": float(psi), **({"truncation_cutoff": int(cutoff)} if cutoff else {})}
        model = golden.model(**own)
        assert apart(golden.images(model, golden.io["z"], golden.label), golden.io[name]) < 1e-5
        assert apart(golden.ws(model), golden.io["ws_" + name.removeprefix("img_")]) < 1e-5
        assert apart(golden.images(model, golden.io["ws_plus"].flatten(1), space="w+"), golden.io["img_ws_plus"]) < 1e-5
        seen += 1
    assert seen == 2


def test_labels_may_be_weights_of_the_classes(shared: Path) -> None:
    golden = Golden(shared / "golden" / "stylegan2ada-cond")
    model, soft = golden.model(), golden.io["c_soft"].clone().requires_grad_()
    images = golden.images(model, golden.io["z"], soft)
    assert apart(images, golden.io["img_c_soft"]) < 1e-5
    assert float(slope(images, soft, golden.io["rand"]).abs().max()) > 0
    hard = golden.images(model, golden.io["z"], golden.io["c"])
    assert torch.equal(hard, golden.images(model, golden.io["z"], golden.label))


def test_w_is_one_vector_for_all_layers(golden: Golden) -> None:
    model = golden.model(truncation_psi=0.7)
    w = model.push(golden.io["z"], golden.label, source="z", target="w")
    assert w.shape == (len(golden.io["z"]), golden.w_dim)
    images = model.decode(golden.io["z"], golden.label)
    assert torch.allclose(model.decode(w, space="w"), images, atol=1e-6)
    layers = model.push(w, source="w", target="w+")
    assert torch.equal(layers, w.repeat(1, model.settings.num_ws))
    assert torch.allclose(model.decode(layers, space="w+"), images, atol=1e-6)
    assert model.push(w, source="w", target="w") is w


def test_preparing_a_model_changes_nothing(golden: Golden) -> None:
    raw = build(golden.config, golden.weights)
    before = raw.decode(golden.io["z"], golden.label)
    after = prepare(raw).decode(golden.io["z"], golden.label)
    assert torch.allclose(before, after, atol=1e-5)
    state = raw.state_dict()
    assert state.keys() == golden.weights.keys()
    assert all(torch.equal(state[name], value) for name, value in golden.weights.items())
    fold(raw)  # twice is as good as once
    assert torch.equal(raw.decode(golden.io["z"], golden.label), after)


def any_settings(draw: random.Random) -> dict[str, Any]:
    """Settings drawn over all there are."""
    c_dim = draw.choice([0, 0, 3])
    taps = [draw.random() + 0.1 for _ in range(draw.randint(1, 10))]
    return {
        "z_dim": draw.choice([0, 5, 16]) if c_dim else draw.choice([5, 16]),
        "c_dim": c_dim,
        "w_dim": draw.choice([8, 12]),
        "img_resolution": draw.choice([4, 8, 16, 32]),
        "img_channels": draw.choice([1, 3, 4]),
        "mapping_kwargs": {
            "num_layers": draw.randint(1, 4),
            "embed_features": draw.choice([None, 7]),
            "layer_features": draw.choice([None, 9]),
            "activation": draw.choice(["lrelu", "linear"]),
            "lr_multiplier": draw.choice([0.01, 0.1, 1]),
            "w_avg_beta": draw.choice([0.995, 0.9]),
        },
        "synthesis_kwargs": {
            "channel_base": draw.choice([64, 128]),
            "channel_max": draw.choice([8, 16]),
            "num_fp16_res": draw.choice([0, 4]),
            "conv_clamp": draw.choice([None, 256, 0.7]),
            "architecture": draw.choice(["skip", "resnet", "orig"]),
            "resample_filter": draw.choice([[1, 3, 3, 1], taps]),
            "use_noise": draw.random() < 0.7,
            "activation": draw.choice(["lrelu", "lrelu", "linear"]),
        },
        "noise_mode": draw.choice(["const", "none"]),
        "truncation_psi": draw.choice([1, 0.7]),
        "truncation_cutoff": draw.choice([None, 0, 1, 3, 100]),
    }


@pytest.mark.parametrize("seed", range(24))
def test_every_setting_is_as_the_formulas_say(seed: int) -> None:
    config = any_settings(random.Random(seed))
    weights, stream = random_weights(config, seed), torch.Generator().manual_seed(seed)
    model = prepare(build(config, weights))
    code = torch.randn(3, config["z_dim"], generator=stream)
    label = torch.randint(config["c_dim"], (3,), generator=stream) if config["c_dim"] else None
    classes = None if label is None else one_hot(label, config["c_dim"])
    exact, ours = code.double().requires_grad_(), code.clone().requires_grad_()
    wanted = told(config, weights, exact, classes)
    found = 2 * model.decode(ours, label) - 1
    assert found.dtype == torch.float32 and tuple(found.shape[1:]) == tuple(model.image)
    assert apart(found, wanted.detach()) < 3e-5
    along = torch.randn(wanted.shape, generator=stream)
    gradient = slope(found, ours, along)
    if config["z_dim"]:
        assert apart(gradient, slope(wanted, exact, along)) < 1e-4
    else:
        assert gradient.shape == (3, 0), "images depend on the label alone"


def test_a_record_of_a_release_and_plain_settings_say_the_same() -> None:
    config = settings()
    weights, code = random_weights(config), torch.randn(2, 6)
    record = {"init_kwargs": config, "class_name": "training.networks.Generator", "truncation_psi": 0.5}
    plain_config = {**config, "truncation_psi": 0.5}
    assert torch.equal(build(record, weights).decode(code), build(plain_config, weights).decode(code))
    # what a converted file has beside it: every setting, null where the default follows from another
    converted = settings(
        mapping_kwargs={"embed_features": None, "layer_features": None, "activation": "lrelu", "lr_multiplier": 0.01,
                        "w_avg_beta": 0.995},
        synthesis_kwargs={"architecture": "skip", "resample_filter": [1, 3, 3, 1], "use_noise": True,
                          "activation": "lrelu"},
    )  # fmt: skip
    assert torch.equal(build(converted, weights).decode(code), build(config, weights).decode(code))


def test_filters_are_stored_as_upstream_stores_them() -> None:
    kernel = stored((1, 3, 3, 1))
    assert kernel.shape == (4, 4) and float(kernel.sum()) == pytest.approx(1)
    assert torch.allclose(kernel * 64, torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])))
    assert stored(tuple(float(i) for i in range(1, 8))).shape == (7, 7)
    assert stored(tuple(float(i) for i in range(1, 9))).shape == (8,)
    assert torch.equal(stored(((1, 2), (3, 4))), torch.tensor([[0.1, 0.2], [0.3, 0.4]]))
    state = StyleGAN2(settings_from(settings(synthesis_kwargs={"resample_filter": [1, 2, 1]}))).state_dict()
    assert state["synthesis.b8.conv0.resample_filter"].shape == (3, 3)
    assert state["synthesis.b8.conv1.resample_filter"].shape == (4, 4), "not used there, and never set"
    none = StyleGAN2(settings_from(settings(synthesis_kwargs={"resample_filter": None}))).state_dict()
    assert torch.equal(none["synthesis.b8.resample_filter"], torch.ones(1, 1))


def test_shared_truncation_moves_the_first_layers() -> None:
    ws, centre = torch.randn(2, 4, 3), torch.randn(3)
    moved = truncated(ws, centre, 0.5, 3)
    assert torch.allclose(moved[:, :3], (ws[:, :3] + centre) / 2) and torch.equal(moved[:, 3], ws[:, 3])
    assert torch.allclose(truncated(ws, centre, 0.5, None), (ws + centre) / 2)
    assert truncated(ws, centre, 1, None) is ws and truncated(ws, centre, 0.5, 0) is ws
    rows = torch.randn(2, 3)  # a centre per code
    assert torch.allclose(truncated(ws, rows, 0.5, None)[1], (ws[1] + rows[1]) / 2)


WRONG_SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown": ({"zdim": 3}, "`zdim` (did you mean `z_dim`?)"),
    "unknown inside": ({"synthesis_kwargs": {"kernel": 3}}, "unknown in `synthesis_kwargs`: kernel. Known are: activ"),
    "no table": ({"mapping_kwargs": {}, "synthesis_kwargs": {}, "c_dim": "x"}, "`c_dim` is 'x'"),
    "resolution": ({"img_resolution": 12}, "it must be a power of two from 4 up"),
    "too small": ({"img_resolution": 2}, "it must be a power of two from 4 up"),
    "negative": ({"w_dim": 0}, "`w_dim` is 0; it must be a whole number from 1 up"),
    "nothing": ({"z_dim": 0}, "images must depend on something"),
    "random noise": ({"noise_mode": "random"}, "an image must follow from its code alone: choose const or none"),
    "noise": ({"noise_mode": "pink"}, "`noise_mode` is 'pink'; choose one of const, none"),
    "architecture": ({"synthesis_kwargs": {"architecture": "unet"}}, "choose one of skip, resnet, orig"),
    "activation": ({"synthesis_kwargs": {"activation": "swish"}}, "`activation` is 'swish'; choose one of linear, lre"),
    "mapping": ({"mapping_kwargs": {"activation": "relu"}}, "`activation` is 'relu'; choose one of linear, lrelu"),
    "use_noise": ({"synthesis_kwargs": {"use_noise": 1}}, "`use_noise` is 1; it must be true or false"),
    "clamp": ({"synthesis_kwargs": {"conv_clamp": -1}}, "`conv_clamp` is -1.0; it must be at least 0"),
    "taps": ({"synthesis_kwargs": {"resample_filter": [1, -1]}}, "write its taps, whose sum is not 0"),
    "ragged": ({"synthesis_kwargs": {"resample_filter": [[1, 2], [1]]}}, "write its taps"),
    "no taps": ({"synthesis_kwargs": {"resample_filter": []}}, "write its taps"),
    "text": ({"synthesis_kwargs": {"resample_filter": "box"}}, "write its taps"),
    "psi": ({"truncation_psi": "half"}, "`truncation_psi` is 'half'; it must be a finite number"),
    "cutoff": ({"truncation_cutoff": -1}, "`truncation_cutoff` is -1; it must be a whole number from 0 up"),
    "no average": ({"truncation_psi": 0.5, "mapping_kwargs": {"w_avg_beta": None}}, "needs the average w"),
    "no channel": ({"synthesis_kwargs": {"channel_base": 4}}, "no channel is left at 8 pixels"),
}


@pytest.mark.parametrize("name", WRONG_SETTINGS)
def test_a_wrong_setting_is_told(name: str) -> None:
    changes, said = WRONG_SETTINGS[name]
    with pytest.raises(CardError) as raised:
        build(settings(**changes), {})
    assert said in str(raised.value) and "'stylegan2-ada'" in str(raised.value)


def test_settings_that_are_not_there_are_told() -> None:
    with pytest.raises(CardError, match="lacks z_dim, img_resolution; it needs z_dim, c_dim"):
        build({"c_dim": 0, "w_dim": 4, "img_channels": 3}, {})
    with pytest.raises(CardError, match="`mapping_kwargs` is 3; it must be a table"):
        build({**settings(), "mapping_kwargs": 3}, {})


def test_tensors_that_do_not_fit_are_listed() -> None:
    config = settings()
    weights = random_weights(config)
    weights["more"] = weights.pop("mapping.w_avg")
    weights["synthesis.b4.const"] = torch.zeros(8, 2, 2)
    with pytest.raises(WeightsError) as raised:
        build(config, weights)
    said = str(raised.value)
    assert "missing: mapping.w_avg [5]" in said and "left over: more [5]" in said
    assert "wrong shape: synthesis.b4.const is [8, 2, 2], should be [8, 4, 4]" in said
    no_average = settings(mapping_kwargs={"w_avg_beta": None})
    assert "mapping.w_avg" not in random_weights(no_average)
    assert build(no_average, random_weights(no_average)).decode(torch.zeros(1, 6)).shape == (1, 3, 8, 8)


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
    with pytest.raises(GeneratorError, match=r"weights of the classes \[2, 3\] float32; not \[2\] torch.float32"):
        model.decode(code, torch.tensor([0.0, 1.0]))
    with pytest.raises(GeneratorError, match=r"not \[3\] torch.int64"):
        model.decode(code, torch.tensor([0, 1, 2]))
    w = model.push(code, label, source="z", target="w")
    assert model.decode(w, space="w").shape == (2, 3, 8, 8), "no label is needed past the mapping"
    assert torch.equal(model.decode(w, label, space="w"), model.decode(w, space="w"))
    for source, target, why in (
        ("w", "z", "has no inverse"),
        ("w+", "z", "has no inverse"),
        ("w+", "w", "have a w each"),
    ):
        with pytest.raises(GeneratorError, match=why):
            model.push(torch.zeros(2, model.spaces[source].dim), source=source, target=target)


def test_a_cutoff_leaves_no_w_for_all_layers() -> None:
    config = {**settings(), "truncation_psi": 0.5, "truncation_cutoff": 2}
    model = build(config, random_weights(config))
    assert list(model.spaces) == ["z", "w+"]
    with pytest.raises(GeneratorError, match="with `truncation_cutoff` 2 of 4 layers, no single w makes"):
        model.decode(torch.zeros(1, 5), space="w")
    whole = {**config, "truncation_cutoff": 4}
    assert list(build(whole, random_weights(whole)).spaces) == ["z", "w", "w+"]


def test_a_snapshot_is_read_bit_for_bit(shared: Path) -> None:
    folder = shared / "golden" / "stylegan2ada-cond"
    config, weights = read(folder / "snapshot_nosrc.pkl")
    golden = Golden(folder)
    assert config == golden.config["init_kwargs"]
    assert weights.keys() == golden.weights.keys()
    assert all(torch.equal(weights[name], value) for name, value in golden.weights.items())
    images = golden.images(build(config, weights), golden.io["z"], golden.label)
    assert apart(images, golden.io["img"]) < 1e-5
