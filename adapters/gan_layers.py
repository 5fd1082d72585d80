"""What BigGAN and its relatives share: spectral norm in its two conventions, conditional batch norm, self-attention.

At eval neither norm depends on the code. So a network is made twice: of `Stored` parts, which hold the tensors that
a checkpoint has, under its names; and, by `fold`, of what computes: plain convolutions with their spectral norm
divided out, and one scale and shift per channel for a whole batch norm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import TypeAlias, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from preimage.adapters.checked_settings import CheckedSettings
from preimage.harness.errors import CardError, GeneratorError, WeightsError

L = TypeVar("L", nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


Part: TypeAlias = nn.Module | Sequence[int]
"""Of what a checkpoint holds: a network, or the shape of a tensor."""


class Stored(nn.Module):
    """Tensors and parts under the names of a checkpoint, dots in them too, until ``make`` makes of them what computes.

    parts: in the order of ``make``'s arguments; a shape stands for a tensor.
    """

    def __init__(self, make: Callable[..., nn.Module], parts: Mapping[str, Part]) -> None:
        super().__init__()
        self.make, self.order = make, tuple(parts)
        for name, part in parts.items():
            *path, last = name.split(".")
            home: nn.Module = self
            for step in path:
                if step not in home._modules:
                    home.add_module(step, nn.Module())
                home = cast(nn.Module, home._modules[step])
            if isinstance(part, nn.Module):
                home.add_module(last, part)
            else:
                home.register_buffer(last, torch.zeros(tuple(part)))

    def parts(self) -> list[nn.Module | Tensor]:
        """What is held, in order."""
        found: list[nn.Module | Tensor] = []
        for name in self.order:
            home, _, last = name.rpartition(".")
            found.append(getattr(self.get_submodule(home), last))
        return found

    def folded(self, path: str) -> nn.Module:
        """What computes; its own stored parts are folded already. path: what to call it in errors."""
        return self.make(*self.parts())


def fold(network: nn.Module, path: str = "") -> None:
    """Put what computes in the place of every stored part. Raises WeightsError for a spectral norm that is none."""
    for name, child in list(network.named_children()):
        here = f"{path}.{name}" if path else name
        fold(child, here)
        if isinstance(child, Stored):
            setattr(network, name, child.folded(here))


class Convention(Enum):
    """How a checkpoint holds the weights of a linear layer or a convolution, and what they are divided by."""

    PLAIN = "as they are"
    BIGGAN = "by the norm after one power step from u0, as at every forward of ajbrock's code"
    TORCH = "by u . W v with the stored u and v, whatever their lengths (torch.nn.utils.spectral_norm at eval)"


class StoredLayer(Stored):
    """Weights, perhaps with what their spectral norm follows from, and perhaps a bias. axis: that of the outputs."""

    def __init__(
        self, make: Callable[..., nn.Module], shape: Sequence[int], layers: Layers, *, bias: bool, axis: int = 0
    ) -> None:
        if 0 in shape:
            raise CardError(f"the settings ask for a layer with weights {list(shape)}: no channel is left. Widen it")
        rows = shape[axis]
        columns = torch.Size(shape).numel() // rows
        parts: dict[str, Sequence[int]] = {
            Convention.PLAIN: {"weight": shape},
            Convention.BIGGAN: {"weight": shape, "u0": (1, rows)},
            Convention.TORCH: {"weight_orig": shape, "weight_u": (rows,), "weight_v": (columns,)},
        }[layers.convention]
        super().__init__(make, {**parts, "bias": (rows,)} if bias else parts)
        self.layers, self.bias_held, self.axis = layers, bias, axis

    def folded(self, path: str) -> nn.Module:
        held = cast(list[Tensor], self.parts())
        bias = held.pop() if self.bias_held else None
        weight, *vectors = held
        if vectors:
            rows = weight.double().transpose(0, self.axis).flatten(1)
            sigma = self._sigma(rows, [vector.double() for vector in vectors])
            if not torch.isfinite(sigma) or sigma == 0:
                raise WeightsError(
                    f"the spectral norm of {path!r} is {float(sigma)}; weights cannot be divided by it. The file is "
                    "damaged, or was written before the first training step"
                )
            weight = (weight.double() / sigma).float()
        return self.make(weight, bias)

    def _sigma(self, rows: Tensor, vectors: Sequence[Tensor]) -> Tensor:
        if self.layers.convention is Convention.TORCH:
            u, v = vectors
            return u @ (rows @ v)
        v = functional.normalize(vectors[0] @ rows, eps=self.layers.eps)
        u = functional.normalize(v @ rows.T, eps=self.layers.eps)
        return (v @ rows.T @ u.T).squeeze()


@dataclass(frozen=True)
class Layers:
    """Makes the layers of a network whose checkpoint follows a convention."""

    convention: Convention
    eps: float = 1e-12  # least length that a vector of the power step is divided by

    def linear(self, inputs: int, outputs: int, *, bias: bool = True) -> StoredLayer:
        """``W x + b``."""
        return StoredLayer(_linear, (outputs, inputs), self, bias=bias)

    def conv(self, inputs: int, outputs: int, side: int, *, bias: bool = True, kept: int | None = None) -> StoredLayer:
        """A convolution that keeps the size, ``side`` 1 or 3. kept: outputs that are computed, the first so many."""
        return StoredLayer(partial(_conv, kept=kept), (outputs, inputs, side, side), self, bias=bias)

    def doubling(self, inputs: int, outputs: int) -> StoredLayer:
        """A transposed convolution 4x4 that doubles the size."""
        return StoredLayer(_doubling, (inputs, outputs, 4, 4), self, bias=True, axis=1)


def table(weight: Tensor) -> nn.Embedding:
    """The vectors of classes [classes, dim], frozen."""
    classes, dim = weight.shape
    return nn.Embedding(classes, dim, _weight=weight, _freeze=True)


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    return _filled(nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta"), weight, bias)


def _conv(weight: Tensor, bias: Tensor | None, kept: int | None = None) -> nn.Conv2d:
    weight, bias = weight[:kept], None if bias is None else bias[:kept]
    outputs, inputs, side, _ = weight.shape
    layer = nn.Conv2d(inputs, outputs, side, padding=side // 2, bias=bias is not None, device="meta")
    return _filled(layer, weight, bias)


def _doubling(weight: Tensor, bias: Tensor | None) -> nn.ConvTranspose2d:
    inputs, outputs, *_ = weight.shape
    layer = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=bias is not None, device="meta")
    return _filled(layer, weight, bias)


def _filled(layer: L, weight: Tensor, bias: Tensor | None) -> L:
    layer.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias, requires_grad=False)
    return layer


class ScaledReLU(nn.Module):
    """``relu(x * scale + shift)`` per channel of x [n, c, h, w]: a batch norm at eval, and the activation after it.

    scale and shift are ``offset`` [2 c], plus ``condition @ matrix`` [in, 2 c] where there is a matrix. condition:
    [n, in], or [n] int64, which stands for one-hot vectors.
    """

    offset: Tensor
    matrix: Tensor | None

    def __init__(self, offset: Tensor, matrix: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("offset", offset.float().contiguous())
        self.register_buffer("matrix", None if matrix is None else matrix.float().contiguous())
        self.absorbed = False  # whether the layer before it scales and shifts already

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        if self.absorbed:
            return functional.relu(x)
        scale, shift = self._both(condition)[..., None, None].chunk(2, dim=-3)
        return torch.addcmul(shift, x, scale).relu_()

    def _both(self, condition: Tensor | None) -> Tensor:
        if self.matrix is None:
            return self.offset
        if condition is None:
            raise GeneratorError("this layer is conditional, and was given no condition")
        if condition.is_floating_point():
            return torch.addmm(self.offset, condition, self.matrix)
        return functional.embedding(condition, self.matrix) + self.offset

    def absorb_into(self, layer: nn.Module) -> None:
        """Let the convolution right before it scale and shift, where both do not depend on anything."""
        if self.matrix is not None or not isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)) or layer.bias is None:
            return
        scale, shift = self.offset.chunk(2)
        outputs = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
        sides = [-1 if axis == outputs else 1 for axis in range(4)]
        layer.weight = nn.Parameter(layer.weight * scale.view(sides), requires_grad=False)
        layer.bias = nn.Parameter(layer.bias * scale + shift, requires_grad=False)
        self.absorbed = True


def norm(eps: float, mean: Tensor, var: Tensor, weight: Tensor, bias: Tensor) -> ScaledReLU:
    """``(x - mean) / sqrt(var + eps) * weight + bias``, each [c]."""
    scale = weight.double() / torch.sqrt(var.double() + eps)
    return ScaledReLU(torch.cat([scale, bias.double() - mean.double() * scale]))


def conditional_norm(eps: float, mean: Tensor, var: Tensor, gain: Tensor, bias: Tensor) -> ScaledReLU:
    """``(x - mean) / sqrt(var + eps) * (1 + condition @ gain) + condition @ bias``; mean, var [c], others [in, c]."""
    middle, scale = mean.double(), torch.rsqrt(var.double() + eps)
    gains = gain.double() * scale
    offset = torch.cat([scale, -middle * scale])
    return ScaledReLU(offset, torch.cat([gains, bias.double() - middle * gains], dim=1))


def linear_conditional_norm(eps: float, mean: Tensor, var: Tensor, gain: nn.Linear, bias: nn.Linear) -> ScaledReLU:
    """The same, of linear layers [in -> c] without bias."""
    return conditional_norm(eps, mean, var, gain.weight.T, bias.weight.T)


class SelfAttention(nn.Module):
    """``x + gamma o(g A^T)``, A = softmax(theta^T phi) over the pixels of phi, which are pooled by 2 as those of g.

    Zhang et al., ICML 2019, as BigGAN has it: no scale in the softmax. theta, phi, g: convolutions of one pixel, and
    here one convolution; gamma is part of o.
    """

    def __init__(self, theta: nn.Conv2d, phi: nn.Conv2d, g: nn.Conv2d, o: nn.Conv2d, gamma: Tensor) -> None:
        super().__init__()
        self.features, self.values = theta.out_channels, g.out_channels
        self.inner = _conv(torch.cat([theta.weight, phi.weight, g.weight]), None)
        self.outer = _conv(o.weight * gamma, None)

    def forward(self, x: Tensor) -> Tensor:
        theta, others = torch.split(self.inner(x), [self.features, self.features + self.values], dim=1)
        phi, g = torch.split(functional.max_pool2d(others, 2).flatten(2), [self.features, self.values], dim=1)
        weights = torch.softmax(theta.flatten(2).transpose(1, 2) @ phi, dim=-1)
        seen = (g @ weights.transpose(1, 2)).reshape(len(x), self.values, *x.shape[2:])
        return x + cast(Tensor, self.outer(seen))


def attention(layers: Layers, channels: int, names: Sequence[str], gamma: Sequence[int]) -> Stored:
    """Self-attention under a checkpoint's names of theta, phi, g, o and gamma, the last of the given shape."""
    few, half = channels // 8, channels // 2
    widths = [(channels, few), (channels, few), (channels, half), (half, channels)]
    convs = [layers.conv(inputs, outputs, 1, bias=False) for inputs, outputs in widths]
    return Stored(SelfAttention, dict(zip(names, [*convs, gamma], strict=True)))


def check_eval_mode(settings: CheckedSettings) -> None:
    """Raises CardError where the settings ask for batch statistics."""
    if not settings.yes("eval_mode", True):
        raise settings.wrong(
            "`eval_mode` is false; with batch statistics an image depends on the others of its batch (and each forward "
            "changes the weights), so no image follows from its code. Write `eval_mode: true`, which uses the stored "
            "statistics"
        )
