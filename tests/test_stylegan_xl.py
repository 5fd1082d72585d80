"""StyleGAN-XL against the official outputs, and against its formulas word for word over many settings."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy.signal import firwin
from scipy.special import j1
from torch import Tensor

from preimage.adapters.stylegan_xl import resampling
from preimage.adapters.stylegan_xl.family import StyleGanXl, build, read
from preimage.adapters.stylegan_xl.filters import kaiser_filter, radial_filter
from preimage.adapters.stylegan_xl.settings import settings_from
from preimage.harness import build as build_prepared
from preimage.harness.generator import prepare

from .stylegan_xl_models import plain, random_weights, settings, told

GOLDEN = ("styleganxl-stem", "styleganxl-sr")
ATTRIBUTES = ("z_dim", "c_dim", "w_dim", "img_resolution", "num_ws", "output_scale", "input", "layers")


class Golden:
    """A set of official outputs: config.json as it stands, weights, inputs and outputs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config: dict[str, Any] = json.loads((folder / "config.json").read_text())
        self.weights = load_file(folder / "weights.safetensors")
        self.io = {name: torch.from_numpy(value) for name, value in np.load(folder / "io.npz").items()}
        self.label = self.io["labels"] if self.config["c_dim"] else None

    def forms(self) -> dict[str, dict[str, Any]]:
        """The settings in every form that they may come in."""
        found = {
            "record": self.config,
            "attributes": {name: self.config[name] for name in ATTRIBUTES},
            "chain": {name: self.config[name] for name in ("stem_init_kwargs", "superres_kwargs")},
        }
        plain_stem = {**self.config["stem_init_kwargs"], "superres_kwargs": self.config["superres_kwargs"]}
        return {**found, "plain": plain_stem}

    def model(self, config: dict[str, Any] | None = None, **own: object) -> StyleGanXl:
        made = build_prepared("stylegan-xl", {**(config or self.config), **own}, self.weights)
        assert isinstance(made, StyleGanXl)
        return made

    def images(self, model: StyleGanXl, code: Tensor, space: str = "z") -> Tensor:
        """In the official range."""
        return 2 * model.decode(code, self.label, space=space) - 1

    def ws(self, model: StyleGanXl) -> Tensor:
        return model.push(self.io["z"], self.label, source="z", target="w+").view_as(self.io["ws"])


@pytest.fixture(params=GOLDEN)
def golden(request: pytest.FixtureRequest, shared: Path) -> Golden:
    return Golden(shared / "golden" / request.param)


def apart(found: Tensor, wanted: Tensor) -> float:
    """The largest difference as a share of the largest value."""
    return float((found.detach() - wanted.detach()).abs().max() / wanted.detach().abs().max())


def slope(images: Tensor, code: Tensor, weights: Tensor) -> Tensor:
    return torch.autograd.grad((images * weights).sum(), code)[0]


@pytest.mark.parametrize("form", ["record", "attributes", "chain", "plain"])
def test_images_and_gradients_are_the_official_ones(golden: Golden, form: str) -> None:
    model, code = golden.model(golden.forms()[form]), golden.io["z"].clone().requires_grad_()
    assert model.settings.synthesis.num_ws == golden.config["num_ws"]
    images = golden.images(model, code)
    assert apart(images, golden.io["img"]) < 1e-5
    assert apart(slope(images, code, golden.io["rand"]), golden.io["grad_z"]) < 2e-4  # 1e-4 by float64 too
    assert apart(golden.ws(model), golden.io["ws"]) < 1e-5
    own = golden.io["ws_plus"].flatten(1).clone().requires_grad_()
    images = golden.images(model, own, space="w+")
    assert apart(images, golden.io["img_ws_plus"]) < 1e-5
    assert apart(slope(images, own, golden.io["rand"]), golden.io["grad_ws_plus"].flatten(1)) < 1e-5


def test_truncation_is_towards_the_average_of_the_class(golden: Golden) -> None:
    seen = 0
    for name in golden.io:
        if not name.startswith("img_psi"):
            continue
        psi, _, cutoff = name.removeprefix("img_psi").partition("_cutoff")
        own = {"truncation_psi": float(psi), **({"truncation_cutoff": int(cutoff)} if cutoff else {})}
        model = golden.model(**own)
        assert apart(golden.images(model, golden.io["z"]), golden.io[name]) < 1e-5
        assert apart(golden.ws(model), golden.io["ws_" + name.removeprefix("img_")]) < 1e-5
        given = golden.images(model, golden.io["ws_plus"].flatten(1), space="w+")
        assert apart(given, golden.io["img_ws_plus"]) < 1e-5, "codes of w+ are taken as they are"
        seen += 1
    assert seen == 2


def test_activations_are_the_official_ones(golden: Golden) -> None:
    network, ws = golden.model().synthesis, golden.io["ws"][:1]
    x = network.input(ws[:, 0])
    assert apart(x, golden.io["act_input"]) < 1e-5
    for number, layer in enumerate(network.layers):
        x = layer(x, ws[:, number + 1])
        if number == 0:
            assert apart(x[:, :4], golden.io["act_layer0"]) < 1e-5
        seen = torch.stack([x.mean(), x.std(), x.abs().max()])
        assert torch.allclose(seen, golden.io["act_stats"][number].float(), rtol=1e-3, atol=1e-4)
    assert apart(x * network.output_scale, golden.io["img"][:1]) < 1e-5


def test_the_layers_are_those_of_the_official_network(golden: Golden) -> None:
    network = settings_from(golden.forms()["chain"]).synthesis
    assert [layer.name for layer in network.layers] == golden.config["layer_names"]
    for layer, official in zip(network.layers, golden.config["layers"], strict=True):
        for name, value in vars(layer).items():
            wanted = official[name]
            if isinstance(wanted, list):
                wanted = tuple(wanted[:2]) if name == "padding" else wanted[0]
            assert value == (pytest.approx(wanted, rel=1e-12) if isinstance(value, float) else wanted), name
    entry = golden.config["input"]
    assert vars(network.input) == {**entry, "size": entry["size"][0]}


def test_a_snapshot_is_read_bit_for_bit(shared: Path) -> None:
    golden = Golden(shared / "golden" / "styleganxl-sr")
    config, weights = read(golden.folder / "snapshot_nosrc.pkl")
    assert weights.keys() == golden.weights.keys()
    assert all(torch.equal(weights[name], value) for name, value in golden.weights.items())
    config = json.loads(json.dumps(config))  # plain data
    for name in ("z_dim", "c_dim", "w_dim", "num_ws", "img_resolution", "output_scale", "input"):
        assert config[name] == golden.config[name], name
    for found, official in zip(config["layers"], golden.config["layers"], strict=True):
        assert found == {name: official[name] for name in found}, "to the last bit"
    assert apart(golden.images(build(config, weights), golden.io["z"]), golden.io["img"]) < 1e-5


def test_preparing_a_model_changes_nothing(golden: Golden) -> None:
    raw = build(golden.config, golden.weights)
    before = raw.decode(golden.io["z"], golden.label)
    after = prepare(raw).decode(golden.io["z"], golden.label)
    assert torch.allclose(before, after, atol=1e-5)
    state = raw.state_dict()
    assert state.keys() == golden.weights.keys()
    assert all(torch.equal(state[name], value) for name, value in golden.weights.items())


def test_images_do_not_depend_on_their_batch(golden: Golden) -> None:
    model, code = golden.model(), golden.io["z"]
    label = torch.arange(3)
    together = model.decode(code, label)
    alone = torch.cat([model.decode(code[i : i + 1], label[i : i + 1]) for i in range(3)])
    assert apart(alone, together) < 1e-6
    other = model.decode(torch.cat([code[:1], 50 * code[1:]]), label)
    assert apart(other[:1], together[:1]) < 1e-6


def test_w_is_one_vector_for_all_layers(golden: Golden) -> None:
    model = golden.model(truncation_psi=0.7)
    w = model.push(golden.io["z"], golden.label, source="z", target="w")
    images = model.decode(golden.io["z"], golden.label)
    assert torch.allclose(model.decode(w, space="w"), images, atol=1e-6)
    layers = model.push(w, source="w", target="w+")
    assert torch.equal(layers, w.repeat(1, golden.config["num_ws"]))
    assert torch.allclose(model.decode(layers, space="w+"), images, atol=1e-6)


def test_the_largest_score_of_a_class_counts(golden: Golden) -> None:
    model, scores = golden.model(), golden.io["c"].clone().requires_grad_()
    images = model.decode(golden.io["z"], 0.3 * scores)
    assert torch.equal(images, model.decode(golden.io["z"], golden.label))
    assert not images.requires_grad


def any_settings(draw: random.Random) -> dict[str, Any]:
    """Settings drawn over all there are, images up to 64 pixels."""
    stem = settings(
        c_dim=draw.choice([0, 3]),
        img_resolution=draw.choice([8, 16]),
        img_channels=draw.choice([1, 3, 4]),
        mapping_kwargs={
            "num_layers": draw.randint(1, 3),
            "lr_multiplier": draw.choice([0.01, 0.1]),
            "rand_embedding": draw.random() < 0.5,
        },
        channel_base=draw.choice([64, 128]),
        channel_max=draw.choice([5, 8]),
        num_layers=draw.choice([4, 6]),
        num_critical=draw.choice([1, 2]),
        margin_size=draw.choice([4, 10]),
        first_cutoff=draw.choice([1, 2]),
        last_stopband_rel=draw.choice([2**0.3, 2**0.5]),
        output_scale=draw.choice([0.25, 1.0]),
        conv_kernel=draw.choice([1, 3]),
        use_radial_filters=draw.random() < 0.5,
        filter_size=draw.choice([4, 6]),
        conv_clamp=draw.choice([256, None, 0.8]),
        truncation_psi=draw.choice([1, 0.7]),
        truncation_cutoff=draw.choice([None, 0, 3, 100]),
    )
    factors = draw.choice([[], [], [2], [4], [2, 2]])
    heads = [{"up_factor": factor, "head_layers": draw.choice([3, 4, 7])} for factor in factors]
    return {**stem, "superres_kwargs": heads}


@pytest.mark.parametrize("seed", range(20))
def test_every_setting_is_as_the_formulas_say(seed: int) -> None:
    config = any_settings(random.Random(seed))
    weights, stream = random_weights(config, seed), torch.Generator().manual_seed(seed)
    model = prepare(build(config, weights))
    code = torch.randn(3, config["z_dim"], generator=stream)
    label = torch.randint(config["c_dim"], (3,), generator=stream) if config["c_dim"] else None
    exact, ours = code.double().requires_grad_(), code.clone().requires_grad_()
    wanted, found = told(config, weights, exact, label), 2 * model.decode(ours, label) - 1
    assert found.dtype == torch.float32 and tuple(found.shape[1:]) == tuple(model.image)
    assert apart(found, wanted) < 1e-4
    along = torch.randn(wanted.shape, generator=stream)
    assert apart(slope(found, ours, along), slope(wanted, exact, along)) < 1e-3


def test_the_design_is_that_of_the_formulas_word_for_word() -> None:
    for seed in range(60):
        config = any_settings(random.Random(1000 + seed))
        found = settings_from(config).synthesis.layers
        wanted = plain.designed(config, config["superres_kwargs"])
        assert [layer.name for layer in found] == [layer.name for layer in wanted]
        for ours, theirs in zip(found, wanted, strict=True):
            assert (ours.is_torgb, ours.is_critically_sampled, ours.conv_clamp) == (theirs.rgb, *theirs[4:])
            assert (ours.in_size, ours.in_channels) == (theirs.given.size, theirs.given.channels)
            assert ours.out_half_width == pytest.approx(theirs.made.half, rel=1e-12)


@pytest.mark.parametrize(("taps", "cutoff", "width", "rate"), [(12, 2, 12, 32), (24, 6.7, 4.3, 64), (10, 3, 0.1, 16)])
def test_filters_are_those_of_scipy(taps: int, cutoff: float, width: float, rate: float) -> None:
    assert np.allclose(kaiser_filter(taps, cutoff, width, rate), firwin(taps, cutoff, width=width, fs=rate), atol=1e-12)


@pytest.mark.parametrize("taps", [12, 9])
def test_a_radial_filter_is_a_jinc_about_its_centre(taps: int) -> None:
    f = radial_filter(taps, 4.0, 0.01, 32.0)  # a transition that narrow leaves no window
    assert f.sum() == pytest.approx(1) and np.allclose(f, f.T) and np.allclose(f, f[::-1])
    near = np.sort(f.ravel())[::-1]
    if taps % 2:
        assert near[0] == f[4, 4] > near[1]
        assert f[4, 4] / f[4, 5] == pytest.approx(0.5 * (2 * np.pi * 4 / 32) / j1(2 * np.pi * 4 / 32), rel=1e-9)
    else:
        assert np.allclose(near[:4], f[5:7, 5:7].ravel())


@pytest.mark.parametrize("up", [1, 2, 4])
@pytest.mark.parametrize("down", [1, 2, 4])
@pytest.mark.parametrize("padding", [(9, 8), (-6, -9), (0, 0), (3, -2)])
@pytest.mark.parametrize("whole", [40, 1000])
def test_resampling_by_matrices_is_resampling_by_convolution(
    up: int, down: int, padding: tuple[int, int], whole: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resampling, "WHOLE", whole)
    monkeypatch.setattr(resampling, "BLOCK", 20)
    for taps, pixels in ((12, 30), (24, 61), (12, 150)):
        stream = torch.Generator().manual_seed(pixels)
        f = torch.randn(taps, generator=stream, dtype=torch.float64)
        x = torch.randn(1, 2, pixels, pixels, generator=stream, dtype=torch.float64)
        resampler = resampling.Resampler(pixels, taps, resampling.Resampling(up, padding, down))
        resampler.fold(f, 2.0)
        stuffed = torch.zeros(1, 2, pixels, up, pixels, up, dtype=torch.float64)
        stuffed[:, :, :, 0, :, 0] = x
        around = torch.nn.functional.pad(stuffed.reshape(1, 2, pixels * up, pixels * up), (*padding, *padding))
        wanted = plain.filtered(around, f, 2.0 * up**2)[:, :, ::down, ::down]
        found = resampler(x)
        assert found.shape == wanted.shape and torch.allclose(found, wanted, atol=1e-12)
        assert (resampler.blocks > 1) == (wanted.shape[-1] > whole)
