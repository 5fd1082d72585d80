"""The family ``sequential``: other people's checkpoints by a card alone, layers against their definitions, errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn

from preimage.adapters.sequential.family import build, read
from preimage.adapters.sequential.layers import KINDS
from preimage.harness import Generator
from preimage.harness.errors import CardError, PreimageError, WeightsError
from preimage.harness.generator import prepare

h5py = pytest.importorskip("h5py", reason="reading .h5 files needs h5py")

OTHERS = {
    "csinva_mnist_mlp/G--300.ckpt": """
        dim: 64
        range: [-1, 1]
        layers: [linear: 256, relu, linear: 256, relu, linear: 784, tanh, reshape: [1, 28, 28]]
    """,
    "csinva_mnist_vae/vae_epoch_25.pth": """
        dim: 20
        layers: [linear: {out: 400, from: fc3}, relu, linear: {out: 784, from: fc4}, sigmoid, reshape: [1, 28, 28]]
        ignore: [fc1.*, fc2*]
    """,
    "ryhan_mnist_wgangp/generator.pth": """
        dim: 64
        range: [-1, 1]
        prefix: gen.
        layers:
        - reshape: [64, 1, 1]
        - conv_transpose: {out: 256, kernel: 3, stride: 2}
        - batch_norm
        - relu
        - conv_transpose: {out: 128, kernel: 4}
        - batch_norm
        - relu
        - conv_transpose: {out: 64, kernel: 3, stride: 2}
        - batch_norm
        - relu
        - conv_transpose: {out: 1, kernel: 4, stride: 2}
        - tanh
    """,
    "hayato_mnist_cwgangp/generator.pth": """
        dim: 10
        label: {as: embedding, classes: 10, size: 10, from: label_emb}
        range: [-1, 1]
        layers:
        - linear: 6272
        - reshape: [128, 7, 7]
        - batch_norm
        - upsample
        - conv: {out: 128, kernel: 3, padding: 1}
        - batch_norm: {eps: 0.8}
        - relu
        - upsample
        - conv: {out: 64, kernel: 3, padding: 1}
        - batch_norm: {eps: 0.8}
        - relu
        - conv: {out: 1, kernel: 3, padding: 1}
        - tanh
    """,
    "fletcher_celeba32/generator.pt": """
        dim: 100
        prior: uniform
        range: [-1, 1]
        layers:
        - reshape: [100, 1, 1]
        - conv_transpose: {out: 256, kernel: 4, bias: false}
        - batch_norm
        - conv: {out: 128, kernel: 3, padding: 1, bias: false}
        - batch_norm
        - leaky_relu: 0.2
        - conv_transpose: {out: 64, kernel: 4, stride: 2, padding: 1, bias: false}
        - batch_norm
        - leaky_relu: 0.2
        - conv_transpose: {out: 32, kernel: 4, stride: 2, padding: 1, bias: false}
        - batch_norm
        - leaky_relu: 0.2
        - conv_transpose: {out: 3, kernel: 4, stride: 2, padding: 1}
        - tanh
    """,
    "darth_anime/generator.h5": "{}",
}


@pytest.mark.parametrize("file", OTHERS)
def test_other_peoples_checkpoints_give_their_images_and_gradients(shared: Path, file: str) -> None:
    path = shared / "assets" / "generators" / file
    config, weights = read(path)
    generator = build({**config, **yaml.safe_load(OTHERS[file])}, weights)
    io = np.load(path.parent / "io.npz")
    code = torch.tensor(io["z"], requires_grad=True)
    label = torch.tensor(io["labels"]) if "labels" in io else None
    images = generator.decode(code, label)
    (images * torch.tensor(io["rand"])).sum().backward()
    assert tuple(images.shape[1:]) == tuple(generator.image)
    np.testing.assert_allclose(images.detach(), io["img"], atol=1e-5)
    smooth = kinks(generator, torch.tensor(io["z"]), label) > 1e-6  # at a kink rounding chooses the slope
    assert smooth.sum() >= len(code) - 1 and code.grad is not None
    np.testing.assert_allclose(code.grad[smooth], io["grad_z"][smooth], atol=1e-4 * np.abs(io["grad_z"]).max())
    with torch.no_grad():
        torch.testing.assert_close(prepare(generator).decode(code, label), images.detach(), atol=1e-5, rtol=0)


def kinks(generator: Any, code: Tensor, label: Tensor | None) -> Tensor:
    """The least distance of a unit before a ReLU from 0, per code, in float64."""
    hidden = generator.double()._input(code.double(), label)
    least = torch.full((len(code),), torch.inf, dtype=torch.float64)
    for layer in generator.layers:
        if isinstance(layer, (nn.ReLU, nn.LeakyReLU)):
            least = torch.minimum(least, hidden.flatten(1).abs().amin(dim=1))
        hidden = layer(hidden)
    generator.float()
    return least


def transposed_same(x: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    """Keras' Conv2DTranspose with padding same, by its definition: every input pixel adds its kernel to the output.

    x: [h, w, in]. kernel: [k, k, out, in]. Returns [h * stride, w * stride, out].
    """
    h, w, _ = x.shape
    k = kernel.shape[0]
    full = np.zeros(((h - 1) * stride + max(k, stride), (w - 1) * stride + max(k, stride), kernel.shape[2]))
    for i in range(h):
        for j in range(w):
            full[i * stride : i * stride + k, j * stride : j * stride + k] += kernel @ x[i, j]
    cut = max(k - stride, 0) // 2
    return full[cut : cut + h * stride, cut : cut + w * stride]


def convolved_same(x: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    """Keras' Conv2D with padding same: ceil(size / stride) pixels, the odd pixel of padding at the end."""
    h, _, _ = x.shape
    k, out = kernel.shape[0], -(-h // stride)
    total = max((out - 1) * stride + k - h, 0)
    padded = np.pad(x, ((total // 2, total - total // 2),) * 2 + ((0, 0),))
    rows = [
        [np.einsum("abi,abio->o", padded[i * stride :, j * stride :][:k, :k], kernel) for j in range(out)]
        for i in range(out)
    ]
    return np.array(rows)


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kind", ["Conv2D", "Conv2DTranspose"])
def test_padding_same_is_that_of_keras(tmp_path: Path, kind: str, kernel: int, stride: int) -> None:
    rng = np.random.default_rng(0)
    shape = (kernel, kernel, 3, 2) if kind == "Conv2D" else (kernel, kernel, 2, 3)
    weights, bias = rng.standard_normal(shape).astype(np.float32), rng.standard_normal(2).astype(np.float32)
    settings = {"filters": 2, "kernel_size": [kernel] * 2, "strides": [stride] * 2, "padding": "same", "use_bias": True}
    layers = [
        ("Reshape", {"name": "r", "batch_input_shape": [None, 75], "target_shape": [5, 5, 3]}, {}),
        (kind, {"name": "c", **settings}, {"kernel": weights, "bias": bias}),
    ]
    config, tensors = read(keras_file(tmp_path / "a.h5", layers))
    z = rng.standard_normal((2, 75)).astype(np.float32)
    ours = build(config, tensors).decode(torch.from_numpy(z)).permute(0, 2, 3, 1)
    by_hand = convolved_same if kind == "Conv2D" else transposed_same
    theirs = np.stack([by_hand(one.reshape(5, 5, 3), weights, stride) + bias for one in z])
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def keras_file(
    path: Path, layers: list[tuple[str, dict[str, Any], dict[str, np.ndarray]]], described: bool = True
) -> Path:
    """A file as Keras saves it: layers with their settings, and their arrays by name."""
    with h5py.File(path, "w") as file:
        entries = [{"class_name": kind, "config": settings} for kind, settings, _ in layers]
        if described:
            file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": {"layers": entries}})
        group = file.create_group("model_weights") if described else file
        group.attrs["layer_names"] = [settings["name"] for _, settings, _ in layers]
        for _, settings, arrays in layers:
            own = group.create_group(settings["name"])
            own.attrs["weight_names"] = [f"{settings['name']}/{name}:0" for name in arrays]
            for name, values in arrays.items():
                own.create_dataset(f"{settings['name']}/{name}:0", data=values)
    return path


def test_a_keras_stack_is_read_with_its_layers(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    dense, bias = rng.standard_normal((3, 8)), rng.standard_normal(8)
    norm = {name: rng.random(2) + 0.5 for name in ("beta", "moving_mean", "moving_variance")}
    layers = [
        ("Dense", {"name": "d", "units": 8, "use_bias": True, "activation": "relu", "batch_input_shape": [None, 3]},
         {"kernel": dense, "bias": bias}),
        ("Dropout", {"name": "o"}, {}),
        ("Reshape", {"name": "r", "target_shape": [2, 2, 2]}, {}),
        ("BatchNormalization", {"name": "b", "axis": [3], "epsilon": 0.001, "scale": False, "center": True}, norm),
        ("LeakyReLU", {"name": "l"}, {}),
        ("UpSampling2D", {"name": "u", "size": [2, 2]}, {}),
        ("Cropping2D", {"name": "c", "cropping": [[0, 1], [1, 0]]}, {}),
        ("ZeroPadding2D", {"name": "p", "padding": [[1, 0], [0, 0]]}, {}),
    ]  # fmt: skip
    config, tensors = read(keras_file(tmp_path / "a.h5", layers))
    z = rng.standard_normal((4, 3))
    hidden = np.maximum(z @ dense + bias, 0).reshape(4, 2, 2, 2)
    hidden = (hidden - norm["moving_mean"]) / np.sqrt(norm["moving_variance"] + 0.001) + norm["beta"]
    hidden = np.where(hidden > 0, hidden, 0.3 * hidden).repeat(2, axis=1).repeat(2, axis=2)
    hidden = np.pad(hidden[:, :3, 1:], ((0, 0), (1, 0), (0, 0), (0, 0)))
    images = build(config, tensors).decode(torch.tensor(z, dtype=torch.float32))
    np.testing.assert_allclose(images.permute(0, 2, 3, 1), hidden, atol=1e-5)


def test_a_keras_file_of_weights_alone_takes_its_layers_from_the_card(tmp_path: Path) -> None:
    kernel = np.random.default_rng(2).standard_normal((3, 4))
    layers = [("Dense", {"name": "d"}, {"kernel": kernel})]
    config, tensors = read(keras_file(tmp_path / "a.h5", layers, described=False))
    assert config == {}
    card = {
        "dim": 3,
        "layers": [{"linear": {"out": 4, "bias": False}}, {"reshape": {"to": [2, 2, 1], "order": "channels_last"}}],
    }
    np.testing.assert_allclose(build(card, tensors).decode(torch.eye(3)).flatten(1), kernel, atol=1e-6)


def test_a_keras_file_must_hold_its_own_values(tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(b"x" * 64)
    path = keras_file(tmp_path / "a.h5", [("Dense", {"name": "d"}, {})], described=False)
    with h5py.File(path, "a") as file:
        file["d"].attrs["weight_names"] = ["d/kernel:0"]
        file["d"].create_dataset("d/kernel:0", (4, 4), "f4", external=[(str(tmp_path / "secret.bin"), 0, 64)])
    with pytest.raises(WeightsError, match=r"'/d/d/kernel:0' keeps its values in another file"):
        read(path)
    with h5py.File(path, "a") as file:
        del file["d/d/kernel:0"]
        file["d/d/kernel:0"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/x")
    with pytest.raises(WeightsError, match="'d/d/kernel:0' is a link, maybe into another file"):
        read(path)
    with h5py.File(path, "a") as file:
        del file["d/d/kernel:0"]
        file["d"].create_dataset("d/kernel:0", (2**20, 2**20), "f4", chunks=(1024, 1024))
    with pytest.raises(WeightsError, match=r"would take 4,398,046,511,104 bytes"):
        read(path)


ONE = [{"linear": 4}, {"reshape": [1, 2, 2]}]
FILE = {"0.weight": torch.ones(4, 3), "0.bias": torch.zeros(4)}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, "`dim` is None; write the length of a code"),
        ({"dim": 3}, r"`layers` is None; list the layers"),
        ({"dim": 3, "layers": [{"linaer": 4}]}, r"layers\[0\] \(linaer\): unknown layer `linaer` \(did you mean"),
        ({"dim": 3, "layers": [{"linear": {"uot": 4}}]}, r"unknown setting `uot` \(did you mean `out`\?\)"),
        ({"dim": 3, "layers": [{"linear": {}}]}, "`out` is missing"),
        ({"dim": 3, "layers": [{"linear": "many"}]}, "`out` is 'many'; write a whole number"),
        ({"dim": 3, "layers": [{"relu": 3}]}, "it takes no value, and 3 is given"),
        ({"dim": 3, "layers": [{"conv": {"out": 1, "kernel": 3}}]}, r"takes an image .*gives \[3\]. Put `reshape`"),
        ({"dim": 3, "layers": [{"linear": 4}]}, r"the last one gives \[4\], no image"),
        ({"dim": 3, "layers": [{"reshape": [2, 2]}]}, r"`to` is \[2, 2\] \(4 values\)"),
        ({"dim": 4, "layers": [{"reshape": [1, 2, 2]}, {"conv": {"out": 1, "kernel": 5}}]}, r"cannot take \[1, 2, 2\]"),
        ({"dim": 4, "layers": [{"reshape": [1, 2, 2]}, {"upsample": {"mode": "cubic"}}]}, "one of nearest, bilinear"),
        ({"dim": 4, "layers": [{"reshape": [1, 2, 2]}, {"crop": [1, 1]}]}, "write one or 4 whole numbers"),
        ({"dim": 3, "layers": [{"leaky_relu": "x"}]}, "`slope` is 'x'; write a finite number"),
        ({"dim": 3, "layers": [{"linear": {"out": 4, "bias": 1}}]}, "`bias` is 1; write true or false"),
        ({"dim": 3, "layers": [{"relu": {"from": "a"}}]}, "it has no tensors, and `from` says 'a'"),
        ({"dim": 3, "layers": [["relu"]]}, r"layers\[0\] is \['relu'\]; write a layer's name"),
        ({"dim": 3, "layers": [{"linear": {"out": 4, "from": 3}}]}, "`from` is 3; write the name"),
        ({"dim": 3, "layers": ONE, "range": [1, -1]}, r"`range` is \[1, -1\]"),
        ({"dim": 3, "layers": ONE, "prior": "gauss"}, "`prior` is 'gauss'; write one of normal"),
        ({"dim": 3, "layers": ONE, "prior": {"uniform": {"low": 2, "high": 1}}}, "low must be below high"),
        ({"dim": 3, "layers": ONE, "prior": {"uniform": 3}}, "uniform is 3; write a table"),
        ({"dim": 3, "layers": ONE, "prior": ["normal"]}, "`prior` is .*; write a name"),
        ({"dim": 3, "layers": ONE, "prefix": 3}, "`prefix` is 3; write a text"),
        ({"dim": 3, "layers": ONE, "ignore": 3}, "`ignore` is 3; write a list"),
        ({"dim": 3, "layers": ONE, "label": "one_hot"}, "`label` is 'one_hot'; write e.g."),
        ({"dim": 3, "layers": ONE, "label": {"as": "one_hot"}}, "`classes` is None"),
        ({"dim": 3, "layers": ONE, "label": {"as": "one_hot", "classes": 2, "clases": 2}}, "did you mean `classes`"),
        ({"dim": 3, "layers": ONE, "label": {"as": "one_hot", "classes": 2, "size": 2}}, "have no `size`"),
        ({"dim": 3, "layers": ONE, "label": {"as": "one_hot", "classes": 2, "join": "add"}}, "`join` is 'add'"),
        ({"dim": 3, "layers": ONE, "label": {"as": "one_hot", "classes": 2, "join": "multiply"}}, "cannot multiply"),
        ({"dim": 3, "layers": ONE, "label": {"as": "embedding", "classes": 2}}, "`size` is None"),
        ({"dim": 3, "layers": ONE, "layer": []}, r"unknown setting in `config`: `layer` \(did you mean `layers`\?\)"),
    ],
)  # fmt: skip
def test_a_card_that_cannot_be_says_what_is_wrong(config: Mapping[str, object], said: str) -> None:
    with pytest.raises(CardError, match=said):
        build(config, FILE)


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({}, r"layers\[0\] \(linear\): no tensors left in the file; it needs weight \[4, 3\], bias \[4\]"),
        ({"0.weight": torch.ones(4, 3)}, r"missing: bias \[4\] \(of '0'\)"),
        ({**FILE, "0.weight": torch.ones(3, 4)}, r"wrong shape: weight is \[3, 4\], should be \[4, 3\]"),
        ({**FILE, "enc.weight": torch.ones(2)}, r"left over: enc.weight \[2\]"),
        ({**FILE, "0.running_mean": torch.ones(4)}, r"left over: running_mean \[4\] \(of '0'\)"),
    ],
)
def test_weights_that_do_not_fit_are_listed(weights: Mapping[str, Tensor], said: str) -> None:
    with pytest.raises(WeightsError, match=said) as caught:
        build({"dim": 3, "layers": ONE}, weights)
    assert "`from`" in str(caught.value) and "`ignore`" in str(caught.value)
    with pytest.raises(WeightsError, match=r"layers\[0\] \(linear\): no tensors named 'fc'"):
        build({"dim": 3, "layers": [{"linear": {"out": 4, "from": "fc"}}, ONE[1]]}, FILE)


@pytest.mark.parametrize(
    ("label", "joined"),
    [
        ({"as": "one_hot", "classes": 2}, [1.0, 2.0, 0.0, 1.0]),
        ({"as": "one_hot", "classes": 2, "join": "before"}, [0.0, 1.0, 1.0, 2.0]),
        ({"as": "embedding", "classes": 2, "join": "multiply", "from": "e"}, [7.0, 16.0]),
    ],
)
def test_a_label_joins_the_code(label: Mapping[str, object], joined: list[float]) -> None:
    weights = {"e.weight": torch.tensor([[5.0, 6.0], [7.0, 8.0]])} if "from" in label else {}
    shape = [1, 1, len(joined)]
    generator = build({"dim": 2, "layers": [{"reshape": shape}], "label": label}, weights)
    assert generator.num_classes == 2
    assert generator.decode(torch.tensor([[1.0, 2.0]]), torch.tensor([1])).flatten().tolist() == joined
    with pytest.raises(PreimageError, match="2 classes: give decode a label"):
        generator.decode(torch.zeros(1, 2))


def test_tables_within_tables_get_dotted_names(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "net": {"state": FILE}}, tmp_path / "a.pth")
    _, tensors = read(tmp_path / "a.pth")
    assert set(tensors) == {"net.state.0.weight", "net.state.0.bias"}
    generator: Generator = build({"dim": 3, "layers": ONE, "prefix": "net.state."}, tensors)
    assert generator.decode(torch.ones(1, 3)).flatten().tolist() == [3.0] * 4
    torch.save({"epoch": 3}, tmp_path / "b.pth")
    with pytest.raises(WeightsError, match="hold no table of tensors"):
        read(tmp_path / "b.pth")


@pytest.mark.parametrize(
    ("kind", "settings", "said"),
    [
        ("LSTM", {"name": "x"}, r"has the layer LSTM \(x\), which family 'sequential' does not know"),
        ("Activation", {"name": "x", "activation": "softmax"}, "the activation 'softmax'; known are relu"),
        ("UpSampling2D", {"name": "x", "size": [2, 3]}, r"scales its sides by \[2, 3\]"),
        ("UpSampling2D", {"name": "x", "size": [2, 2], "data_format": "channels_first"}, "has its channels first"),
        ("BatchNormalization", {"name": "x", "axis": [2]}, r"normalises axis \[2\]"),
        ("Conv2D", {"name": "x", "dilation_rate": [2, 2]}, "is dilated or grouped"),
    ],
)
def test_a_keras_layer_that_is_not_known_is_named(tmp_path: Path, kind: str, settings: Any, said: str) -> None:
    with pytest.raises(WeightsError, match=said):
        read(keras_file(tmp_path / "a.h5", [(kind, settings, {})]))


def test_an_hdf5_file_of_something_else_is_an_error(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = np.zeros(3)
    with pytest.raises(WeightsError, match="none that Keras has saved"):
        read(tmp_path / "a.h5")
    (tmp_path / "b.h5").write_bytes(b"no such thing")
    with pytest.raises(WeightsError, match="cannot read"):
        read(tmp_path / "b.h5")


def test_reading_h5_needs_h5py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(WeightsError, match=r"pip install 'preimage\[keras\]'"):
        read(tmp_path / "a.h5")


def test_every_layer_can_be_listed() -> None:
    """Each kind once, in a stack that ends in an image, with weights of the shapes it asks for."""
    layers: list[Any] = [
        {"linear": 16}, "relu", {"leaky_relu": 0.2}, {"elu": 1.0}, "selu", {"gelu": "tanh"}, "silu", "softplus",
        "flatten", {"reshape": [4, 2, 2]}, {"conv": {"out": 4, "kernel": 3, "padding": "same"}}, "batch_norm",
        {"upsample": 2}, {"conv_transpose": {"out": 4, "kernel": 4, "stride": 2, "padding": 1}}, {"pixel_shuffle": 2},
        "tanh", "sigmoid", {"crop": [1, 1, 0, 2]},
    ]  # fmt: skip
    assert {entry if isinstance(entry, str) else next(iter(entry)) for entry in layers} == set(KINDS)
    shapes = {"0": (16, 3), "1": (4, 4, 3, 3), "3": (4, 4, 4, 4)}
    weights = {f"{name}.weight": torch.randn(*shape) for name, shape in shapes.items()}
    weights |= {f"{name}.bias": torch.randn(shape[0]) for name, shape in shapes.items()}
    weights |= {f"2.{name}": torch.rand(4) for name in ("weight", "bias", "running_mean", "running_var")}
    ordered = {name: weights[name] for name in sorted(weights)}
    generator = build({"dim": 3, "layers": layers}, ordered)
    assert tuple(generator.image) == (1, 14, 14)
    assert torch.isfinite(generator.decode(torch.randn(2, 3))).all()
