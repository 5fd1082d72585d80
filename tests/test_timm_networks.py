"""timm's networks: preprocessing as timm's own, weights strictly and without running code, identities, features."""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from preimage.adapters.fashion_mnist.arrays import read_split
from preimage.harness.cards import Weights
from preimage.harness.errors import CardError, GeneratorError, WeightsError
from preimage.harness.timm_networks import (
    TimmNetwork,
    build_timm,
    drawn_weights,
    load_timm,
    read_tensors,
    released_weights,
)
from preimage.harness.timm_preprocessing import Preprocessing

SMALL: dict[str, object] = {
    "model": "resnet10t",
    "num_classes": 5,
    "arguments": {"channels": [4, 4, 8, 8], "stem_width": 8},
}


def small(seed: int = 0, **config: object) -> TimmNetwork:
    settings = {**SMALL, **config}
    return build_timm(settings, drawn_weights(settings, seed))


def photographs(shared: Path, count: int) -> list[Image.Image]:
    """ImageNet images, 256 x 256."""
    held = np.load(shared / "assets" / "data" / "imagenet_250.npz")
    blob, offsets = held["blob"], held["offsets"]
    return [Image.open(io.BytesIO(blob[offsets[i] : offsets[i + 1]].tobytes())).convert("RGB") for i in range(count)]


def as_tensor(image: Image.Image) -> Tensor:
    """[1, c, h, w] float32 in [0, 1]."""
    array = torch.from_numpy(np.array(image)).float() / 255
    return (array[None] if array.ndim == 2 else array.permute(2, 0, 1))[None]


def theirs(ready: Preprocessing, image: Image.Image) -> Tensor:
    """What timm's own evaluation transform makes of the image."""
    transform = timm.data.create_transform(
        input_size=ready.input_size,
        crop_pct=ready.crop_pct,
        crop_mode=ready.crop_mode,
        interpolation=ready.interpolation,
        mean=ready.mean,
        std=ready.std,
        is_training=False,
    )
    found: Tensor = transform(image)
    return found


def levels_apart(ready: Preprocessing, image: Image.Image) -> Tensor:
    """By how many levels of 256 each pixel differs from timm's."""
    ours, wanted = ready(as_tensor(image))[0], theirs(ready, image)
    assert ours.shape == wanted.shape
    return (ours - wanted).abs() * torch.tensor(ready.std).reshape(-1, 1, 1) * 255


@pytest.mark.parametrize(
    ("size", "crop_pct", "mode", "interpolation"),
    [
        ((224, 224), 0.875, "center", "bicubic"),
        ((224, 224), 0.9, "center", "bilinear"),
        ((96, 96), 0.875, "center", "bilinear"),
        ((160, 224), 0.95, "center", "bicubic"),
        ((128, 128), 0.875, "squash", "bicubic"),
        ((128, 128), 1.0, "border", "bilinear"),
        ((300, 300), 1.0, "center", "bicubic"),
    ],
)
def test_preprocessing_is_that_of_timm(
    shared: Path, size: tuple[int, int], crop_pct: float, mode: str, interpolation: str
) -> None:
    """Within the rounding to levels that PIL does twice."""
    ready = Preprocessing((3, *size), crop_pct, mode, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), interpolation)
    shapes = [(256, 256), (333, 200), (190, 251)]
    for image, shape in zip(photographs(shared, 3), shapes, strict=True):
        apart = levels_apart(ready, image.resize(shape))
        assert apart.max() <= 2.01 and apart.mean() < 0.6, (shape, apart.max(), apart.mean())


def test_small_grey_images_are_enlarged_as_timm_enlarges_them() -> None:
    image = Image.fromarray(read_split("test")[0][0])
    grey = Preprocessing((1, 56, 56), 0.875, "center", (0.3,), (0.4,), "bicubic")
    assert levels_apart(grey, image).max() <= 2.01
    colour = Preprocessing((3, 56, 56), 0.875, "center", (0.3, 0.4, 0.5), (0.4, 0.5, 0.6), "bicubic")
    assert levels_apart(colour, image.convert("RGB")).max() <= 2.01
    repeated = colour(as_tensor(image))
    assert torch.equal(repeated, colour(as_tensor(image).expand(-1, 3, -1, -1)))


def test_other_settings_would_be_seen(shared: Path) -> None:
    """The comparison above fails for the interpolation, size or crop of another transform."""
    image = photographs(shared, 1)[0].resize((333, 200))
    wanted = Preprocessing((3, 128, 128), 0.875, "center", (0.5,) * 3, (0.5,) * 3, "bicubic")
    for other in (
        Preprocessing((3, 128, 128), 0.875, "center", (0.5,) * 3, (0.5,) * 3, "bilinear"),
        Preprocessing((3, 128, 128), 0.9, "center", (0.5,) * 3, (0.5,) * 3, "bicubic"),
        Preprocessing((3, 128, 128), 0.875, "squash", (0.5,) * 3, (0.5,) * 3, "bicubic"),
        Preprocessing((3, 128, 128), 0.875, "center", (0.45,) * 3, (0.5,) * 3, "bicubic"),
    ):
        assert (wanted(as_tensor(image))[0] - theirs(other, image)).abs().max() * 127.5 > 5


def test_pixels_are_clamped_and_channels_checked() -> None:
    ready = Preprocessing((3, 8, 8), 1.0, "center", (0.0,) * 3, (1.0,) * 3, "bicubic")
    far = ready(torch.full((1, 3, 8, 8), 7.0))
    assert float(far.max()) == 1.0
    with pytest.raises(GeneratorError, match="images have 3 channels, the network takes 1"):
        Preprocessing((1, 8, 8), 1.0, "center", (0.0,), (1.0,), "bicubic")(torch.zeros(1, 3, 8, 8))


def test_logits_and_features_are_those_of_timm(shared: Path) -> None:
    network = small()
    image = photographs(shared, 1)[0]
    plain = timm.create_model("resnet10t", num_classes=5, channels=(4, 4, 8, 8), stem_width=8).eval()
    plain.load_state_dict(drawn_weights(SMALL, 0))
    ready = theirs(network.ready, image)[None]
    assert network.ready.input_size == (3, 176, 176) and network.ready.crop_pct == 0.875  # timm's, of this release
    with torch.no_grad():
        assert torch.allclose(network.logits(as_tensor(image)), plain(ready), atol=1e-2)
        features = network.features(as_tensor(image))
        assert torch.allclose(plain.get_classifier()(features), network.logits(as_tensor(image)), atol=1e-5)
    assert features.shape == (1, 8)


def test_the_network_is_frozen_and_differentiable_in_the_images() -> None:
    network = small()
    assert not network.training and not any(p.requires_grad for p in network.parameters())
    images = torch.rand(2, 3, 40, 40, requires_grad=True)
    (gradient,) = torch.autograd.grad(network.features(images).square().sum(), images)
    assert bool(torch.isfinite(gradient).all()) and float(gradient.abs().max()) > 0


def test_drawn_weights_leave_the_random_numbers_of_the_process_alone() -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    one, same, other = drawn_weights(SMALL, 1), drawn_weights(SMALL, 1), drawn_weights(SMALL, 2)
    build_timm(SMALL, one)
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_the_identity_is_of_everything_that_answers_depend_on() -> None:
    network = small()
    assert network.identity == small().identity and len(network.identity) == 64
    weights = drawn_weights(SMALL, 0)
    weights["fc.bias"] = weights["fc.bias"] + 1e-4
    others = [
        small(seed=1),
        build_timm(SMALL, weights),
        small(mean=[0.5]),
        small(std=[0.5]),
        small(crop_pct=0.9),
        small(interpolation="bilinear"),
        small(input_size=[3, 96, 96]),
        small(crop_mode="squash"),
        small(arguments={"channels": [4, 4, 8, 8], "stem_width": 8, "global_pool": "max"}),
    ]
    assert len({one.identity for one in (network, *others)}) == 10


def test_one_channel_is_taken_where_the_config_says_so() -> None:
    grey: dict[str, object] = {**SMALL, "input_size": [1, 56, 56], "mean": [0.3], "std": [0.4]}
    network = build_timm(grey, drawn_weights(grey, 0))
    assert network.logits(torch.rand(2, 1, 28, 28)).shape == (2, 5)
    assert network.rule == (
        "resnet10t: clamped to [0, 1], shorter side to 64 (bicubic, antialiased), centre crop to 56x56, 1 channel, "
        "minus 0.3, over 0.4"
    )
    arguments = {**SMALL, "arguments": {"channels": [4, 4, 8, 8], "stem_width": 8, "in_chans": 1}, "mean": 0.3}
    with pytest.raises(CardError, match="`std` has 3 values, images have 1 channels"):
        build_timm(arguments, drawn_weights(arguments, 0))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model": "resnet10tt"}, r"timm \S+ has no model 'resnet10tt'. Did you mean 'resnet10t'\?"),
        ({"model": "resnet10t.no_such_tag"}, "resnet10t.no_such_tag"),
        ({"model": "hf-hub:org/repo"}, "has no model 'hf-hub:org/repo'"),
        ({"model": 3}, "`model` is 3"),
        ({"crop_percent": 0.9}, "unknown option 'crop_percent'. Did you mean 'crop_pct'?"),
        ({"arguments": [1]}, "`arguments` is .1.; it must be a table"),
        ({"arguments": {"chanels": [4]}}, "timm cannot make the model 'resnet10t' with .*chanels"),
        ({"crop_pct": 1.5}, "`crop_pct` is 1.5; it must be above 0 and at most 1"),
        ({"interpolation": "lanczos"}, "`interpolation` is 'lanczos'; choose one of bicubic, bilinear"),
        ({"crop_mode": "centre"}, "`crop_mode` is 'centre'; choose one of"),
        ({"mean": "grey"}, "`mean` is 'grey'; write a list of numbers"),
        ({"mean": [0.1, 0.2]}, "`mean` has 2 values, images have 3 channels"),
        ({"std": [0.0]}, "`std` is .*; every value must be above 0"),
        ({"input_size": [2, 56, 56]}, "`input_size` is .2, 56, 56.; write .1 or 3, height, width."),
        ({"input_size": [3, 56]}, "`input_size` is .*; write .channels, height, width."),
    ],
)
def test_a_config_that_cannot_be_meant_is_an_error(config: dict[str, Any], said: str) -> None:
    with pytest.raises(CardError, match=said):
        build_timm({**SMALL, **config}, drawn_weights(SMALL, 0))


def test_weights_that_do_not_fit_are_listed() -> None:
    weights = drawn_weights(SMALL, 0)
    weights["fc.bias"] = torch.zeros(7)
    weights["extra"] = weights.pop("fc.weight")
    with pytest.raises(WeightsError) as error:
        build_timm(SMALL, weights)
    for fault in ("missing: fc.weight [5, 8]", "left over: extra [5, 8]", "wrong shape: fc.bias is [7], should be [5]"):
        assert fault in str(error.value)
    with pytest.raises(WeightsError, match=r"and \d+ more"):
        build_timm(SMALL, {})


def test_weights_go_by_their_order_where_the_config_says_so() -> None:
    weights = drawn_weights(SMALL, 0)
    renamed = {f"other.{number}": value for number, value in enumerate(weights.values()) if value.ndim}
    remapped = build_timm({**SMALL, "remap": True}, renamed)
    images = torch.rand(2, 3, 64, 64)
    assert torch.equal(remapped.logits(images), small().logits(images))
    with pytest.raises(WeightsError, match="write `remap: true`"):
        build_timm(SMALL, renamed)
    first, *rest = renamed
    with pytest.raises(WeightsError, match=r"the file has .* tensors, timm's 'resnet10t' has"):
        build_timm({**SMALL, "remap": True}, {name: renamed[name] for name in rest})
    with pytest.raises(WeightsError, match="stands where timm's 'resnet10t' has conv1"):
        build_timm({**SMALL, "remap": True}, {name: renamed[name] for name in [*rest, first]})


def test_names_of_the_first_release_are_translated_by_timm() -> None:
    """ConvNeXt's authors named tensors otherwise; timm's module has the translation."""
    config = {"model": "test_convnext", "num_classes": 5}
    weights = drawn_weights(config, 0)
    original = {_as_released(name): value for name, value in weights.items()}
    assert original.keys() != weights.keys()
    images = torch.rand(1, 3, 64, 64)
    assert torch.equal(build_timm(config, original).logits(images), build_timm(config, weights).logits(images))


def _as_released(name: str) -> str:
    name = re.sub(r"^stem\.", "downsample_layers.0.", name)
    name = re.sub(r"^stages\.(\d+)\.downsample\.", r"downsample_layers.\1.", name)
    name = re.sub(r"^stages\.(\d+)\.blocks\.(\d+)\.", r"stages.\1.\2.", name)
    for ours, released in (("conv_dw", "dwconv"), ("mlp.fc", "pwconv"), ("head.fc.", "head."), ("head.norm.", "norm.")):
        name = name.replace(ours, released)
    return name


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_files_are_read_with_or_without_what_training_wraps_around(tmp_path: Path, suffix: str, wrapped: bool) -> None:
    weights, path = drawn_weights(SMALL, 0), tmp_path / f"weights{suffix}"
    held = {f"module.{name}": value for name, value in weights.items()} if wrapped else weights
    if suffix == ".pth":
        torch.save({"state_dict": held, "epoch": 3} if wrapped else held, path)
    else:
        save_file(held, path)
    read = read_tensors(path)[1]
    assert read.keys() == weights.keys() and all(torch.equal(read[name], weights[name]) for name in weights)
    assert load_timm(SMALL, Weights(str(path))).identity == small().identity


class Bomb:
    """What runs code when it is unpickled freely."""

    def __reduce__(self) -> tuple[Any, Sequence[Any]]:
        return Path.touch, (Path("exploded"),)


def test_a_checkpoint_runs_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Bomb()}, "bomb.pth")
    Path("bare.bin").write_bytes(pickle.dumps(Bomb(), protocol=2))
    Path("text.safetensors").write_text("nothing")
    Path("text.pth").write_text("hello")
    Path("empty.pth").touch()
    for name in ("bomb.pth", "bare.bin", "text.safetensors", "text.pth", "empty.pth", "absent.pth"):
        with pytest.raises(WeightsError, match=f"cannot read the weights '{name}'"):
            read_tensors(Path(name))
    assert not Path("exploded").exists()
    torch.save({"state_dict": {"epoch": 3}}, "numbers.pth")
    with pytest.raises(WeightsError, match="holds no table of tensors"):
        read_tensors(Path("numbers.pth"))


def test_released_weights_are_those_that_timm_names() -> None:
    assert released_weights({"model": "tf_efficientnet_lite0"}) == Weights(
        "hf://timm/tf_efficientnet_lite0.in1k/model.safetensors"
    )
    tagged = released_weights({"model": "resnet50.a1_in1k"})
    assert tagged.uri == "hf://timm/resnet50.a1_in1k/model.safetensors"
    without = next(n for n in timm.list_models() if not timm.models.get_pretrained_cfg(n).hf_hub_id)
    with pytest.raises(CardError, match="timm names no weights on the Hub"):
        released_weights({"model": without})


def test_offline_without_weights_the_error_says_what_to_type(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match=r"hf://timm/resnet50.a1_in1k/model.safetensors.*offline.*preimage fetch"):
        load_timm({"model": "resnet50.a1_in1k"}, None, offline=True)
