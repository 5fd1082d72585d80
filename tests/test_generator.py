"""The latent interface: its errors, and the folding of batch norms."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import TypeVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from preimage.harness import Generator, ImageSpec, LatentSpace, StandardNormal, prepare
from preimage.harness.errors import GeneratorError
from preimage.harness.generator import check_images, fold_batch_norms

M = TypeVar("M", bound=nn.Module)


class Toy(Generator):
    """A DCGAN in small: one linear, one transposed and one plain convolution, each before a batch norm."""

    spaces = MappingProxyType({"z": LatentSpace("z", 6, StandardNormal()), "w": LatentSpace("w", 8, None)})
    image = ImageSpec(3, 8, 8)
    num_classes = 0

    def __init__(self) -> None:
        super().__init__()
        self.start = nn.Sequential(nn.Linear(6, 32), nn.BatchNorm1d(32), nn.ReLU())
        self.body = nn.Sequential(
            nn.ConvTranspose2d(8, 5, 4, 2, 1, bias=False),
            nn.BatchNorm2d(5),
            nn.ReLU(),
            nn.Sequential(nn.Conv2d(5, 3, 3, 1, 1), nn.BatchNorm2d(3, eps=0.8)),
            nn.Upsample(scale_factor=2),
        )

    def decode(self, code: Tensor, label: Tensor | None = None, *, space: str = "z") -> Tensor:
        images: Tensor = self.body(self.start(code).reshape(-1, 8, 2, 2))
        return images


def shaken(module: M, seed: int = 0) -> M:
    """The module in eval mode with statistics and affine parameters that a training run could have left."""
    torch.manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            for values, low, high in (
                (part.running_mean, -1, 1),
                (part.running_var, 0.1, 3),
                (part.weight, -2, 2),
                (part.bias, -1, 1),
            ):
                if values is not None:
                    values.data.uniform_(low, high)
    return module.eval()


def folds(module: nn.Module, code: Tensor, count: int) -> None:
    """Folding merges ``count`` layers and changes nothing but rounding; where nothing is merged, nothing at all."""
    with torch.no_grad():
        before = module(code)
        assert fold_batch_norms(module) == count
        after = module(code)
    assert torch.allclose(after, before, rtol=1e-5, atol=1e-5)
    assert float(before.std()) > 1e-3
    if count == 0:
        assert torch.equal(after, before)


def norms(module: nn.Module) -> int:
    return sum(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in module.modules())


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**31), bias=st.booleans(), affine=st.booleans(), groups=st.sampled_from([1, 2]))
def test_folded_layers_give_the_same_images(seed: int, bias: bool, affine: bool, groups: int) -> None:
    torch.manual_seed(seed)
    code = torch.randn(3, 4, 5, 5)
    conv = nn.Sequential(nn.Conv2d(4, 6, 3, 2, 1, bias=bias, groups=groups), nn.BatchNorm2d(6, affine=affine))
    folds(shaken(conv, seed), code, 1)
    assert norms(conv) == 0
    transposed = nn.Sequential(nn.ConvTranspose2d(4, 6, 4, 2, 1, bias=bias), nn.BatchNorm2d(6, affine=affine))
    folds(shaken(transposed, seed), code, 1)
    assert norms(transposed) == 0
    linear = nn.Sequential(nn.Linear(4, 6, bias=bias), nn.BatchNorm1d(6))
    folds(shaken(linear, seed), code[:, :, 0, 0], 1)
    assert norms(linear) == 0


def test_a_generator_is_folded_all_through() -> None:
    toy = shaken(Toy())
    code = torch.randn(4, 6)
    before = toy.decode(code)
    assert norms(toy) == 3
    assert fold_batch_norms(toy) == 3
    assert norms(toy) == 0
    assert torch.allclose(toy.decode(code), before, rtol=1e-5, atol=1e-5)
    assert fold_batch_norms(toy) == 0


def conv() -> nn.Conv2d:
    return nn.Conv2d(4, 4, 3, 1, 1)


class Shared(nn.Module):
    """A layer that is used once before its batch norm and once without it."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.stack = nn.Sequential(layer, nn.BatchNorm2d(4))

    def forward(self, code: Tensor) -> Tensor:
        images: Tensor = self.layer(self.stack(code))
        return images


def hooked() -> nn.Module:
    layer = conv()
    layer.register_forward_hook(lambda module, inputs, output: output * 2)
    return layer


def pre_hooked() -> nn.Module:
    layer = conv()
    layer.register_forward_pre_hook(lambda module, inputs: inputs[0] * 2)
    return layer


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize(
    "layer",
    [
        hooked,
        pre_hooked,
        lambda: nn.utils.spectral_norm(conv()),
        lambda: nn.utils.parametrizations.spectral_norm(conv()),
        lambda: nn.utils.parametrizations.weight_norm(conv()),
        lambda: nn.utils.weight_norm(conv()),
        lambda: nn.ConvTranspose2d(4, 4, 3, 1, 1, groups=2),
        nn.ReLU,
        lambda: nn.Sequential(conv()),
    ],
    ids=[
        "hooked",
        "pre-hooked",
        "spectral norm",
        "spectral norm, parametrised",
        "weight norm, parametrised",
        "weight norm",
        "grouped transposed",
        "no weights",
        "sequence",
    ],
)
def test_other_layers_are_left_alone(layer: Callable[[], nn.Module]) -> None:
    folds(shaken(nn.Sequential(layer(), nn.BatchNorm2d(4))), torch.randn(2, 4, 5, 5), 0)


@pytest.mark.parametrize(
    "stack",
    [
        lambda: Shared(conv()),
        lambda: nn.Sequential(conv(), nn.ReLU(), nn.BatchNorm2d(4)),
        lambda: nn.Sequential(nn.BatchNorm2d(4), conv()),
        lambda: nn.Sequential(conv(), nn.BatchNorm2d(4, track_running_stats=False)),
        lambda: nn.ModuleDict({"a": conv(), "b": nn.BatchNorm2d(4)})["a"],
    ],
    ids=["shared", "activation between", "norm first", "norm of the batch", "no sequence"],
)
def test_other_arrangements_are_left_alone(stack: Callable[[], nn.Module]) -> None:
    folds(shaken(stack()), torch.randn(2, 4, 5, 5), 0)


def test_a_norm_in_training_is_left_alone() -> None:
    stack = shaken(nn.Sequential(conv(), nn.BatchNorm2d(4)))
    stack[1].train()
    assert fold_batch_norms(stack) == 0


def test_a_norm_that_is_hooked_is_left_alone() -> None:
    stack = shaken(nn.Sequential(conv(), nn.BatchNorm2d(4)))
    stack[1].register_forward_hook(lambda module, inputs, output: output + 1)
    folds(stack, torch.randn(2, 4, 5, 5), 0)


def test_a_layer_or_norm_twice_in_one_sequence() -> None:
    layer, norm = conv(), nn.BatchNorm2d(4)
    stack = shaken(nn.Sequential(layer, nn.BatchNorm2d(4), layer, norm, conv(), norm, layer))
    code = torch.randn(2, 4, 5, 5)
    with torch.no_grad():
        before = stack(code)
        fold_batch_norms(stack)
        assert torch.allclose(stack(code), before, rtol=1e-5, atol=1e-5)


def test_a_norm_over_tokens_after_a_linear_layer_is_left_alone() -> None:
    tokens = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(3))  # [n, 3, 4] -> [n, 3, 6]: the norm is over the 3
    folds(shaken(tokens), torch.randn(2, 3, 4), 0)


def test_a_norm_without_scale_after_a_linear_layer_is_left_alone() -> None:
    folds(shaken(nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6, affine=False))), torch.randn(2, 4), 0)


def test_prepare_freezes_folds_and_lays_out() -> None:
    toy = shaken(Toy()).train()
    code = torch.randn(4, 6)
    expected = toy.eval().decode(code).detach()
    toy.train()
    ready = prepare(toy)
    assert ready is toy
    assert not any(part.training for part in toy.modules())
    assert not any(values.requires_grad for values in toy.parameters())
    assert norms(toy) == 0
    convolutions = [part for part in toy.modules() if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d))]
    assert len(convolutions) == 2
    assert all(part.weight.is_contiguous(memory_format=torch.channels_last) for part in convolutions)
    code.requires_grad_(True)
    images = toy.decode(code)
    assert torch.allclose(images, expected, rtol=1e-5, atol=1e-5)
    (gradient,) = torch.autograd.grad(images.square().sum(), code)
    assert float(gradient.abs().min()) > 0


def test_the_first_space_is_native() -> None:
    toy = Toy()
    assert toy.native.name == "z"
    assert toy.space("w").dim == 8
    with pytest.raises(GeneratorError, match=r"unknown latent space 'w\+'; this model has z, w"):
        toy.space("w+")


def test_what_a_generator_need_not_have_says_so() -> None:
    toy = Toy()
    assert not toy.has_encoder
    with pytest.raises(GeneratorError, match="Toy has no encoder"):
        toy.encode(torch.zeros(1, 3, 8, 8))
    with pytest.raises(GeneratorError, match="Toy cannot push codes from space 'z' to 'w'"):
        toy.push(torch.zeros(1, 6), source="z", target="w")
    with pytest.raises(NotImplementedError, match="Generator does not define decode"):
        Generator().decode(torch.zeros(1, 6))


def test_an_encoder_is_noticed() -> None:
    class Encoding(Toy):
        def encode(self, image: Tensor, label: Tensor | None = None) -> Tensor:
            return image.flatten(1)[:, :6]

    assert Encoding().has_encoder


def test_images_that_keep_the_promise_pass() -> None:
    images = torch.full((2, 3, 8, 4), 7.0)
    assert check_images(images, 2, ImageSpec(3, 8, 4), "m") is images


@pytest.mark.parametrize("shape", [(2, 3, 4, 8), (1, 3, 8, 4), (2, 1, 8, 4), (2, 96)])
def test_another_shape_is_told(shape: tuple[int, ...]) -> None:
    with pytest.raises(GeneratorError) as caught:
        check_images(torch.zeros(shape), 2, ImageSpec(3, 8, 4), "m")
    assert str(caught.value) == (
        f"m: decode returned shape {shape}; the card says (2, 3, 8, 4). Correct `image` on the card, or decode"
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.uint8])
def test_another_type_is_told(dtype: torch.dtype) -> None:
    with pytest.raises(GeneratorError, match=rf"m: decode returned {dtype}; images are torch.float32: end decode"):
        check_images(torch.zeros(2, 3, 8, 4, dtype=dtype), 2, ImageSpec(3, 8, 4), "m")


def test_something_else_than_a_tensor_is_told() -> None:
    with pytest.raises(GeneratorError, match="m: decode returned tuple, not a tensor of images"):
        check_images((torch.zeros(2, 3, 8, 4),), 2, ImageSpec(3, 8, 4), "m")  # type: ignore[arg-type]  # that is tested
