"""BigGAN, BigGAN-deep and StudioGAN by their formulas: slow, in float64, nothing folded, tensors by official names."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from preimage.harness import Generator
from preimage.harness.generator import prepare

from .golden_sets import apart, codes, official

BIGGAN_IN = {32: [4, 4, 4], 64: [16, 16, 8, 4], 128: [16, 16, 8, 4, 2]}
BIGGAN_OUT = {32: [4, 4, 4], 64: [16, 8, 4, 2], 128: [16, 8, 4, 2, 1]}
STUDIO_IN = {32: [4, 4, 4], 64: [16, 8, 4, 2], 128: [16, 16, 8, 4, 2]}
STUDIO_OUT = {32: [4, 4, 4], 64: [8, 4, 2, 1], 128: [16, 8, 4, 2, 1]}


LAST_NORMS = ("output_layer.0.", "bn4.", "generator.bn.")


class Held:
    """The tensors of a checkpoint, and the layers that they are of."""

    def __init__(self, tensors: Mapping[str, Tensor], eps: float = 1e-12) -> None:
        self.tensors = {name: value.double() for name, value in tensors.items()}
        self.eps = eps

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def weight(self, name: str, axis: int = 0) -> Tensor:
        """Divided by its spectral norm, in whichever convention the tensors are."""
        if f"{name}.u0" in self.tensors:
            weight, u = self[f"{name}.weight"], self[f"{name}.u0"][0]
            matrix = weight.reshape(len(weight), -1)
            v = u @ matrix
            v = v / max(float(v.norm()), self.eps)
            left = matrix @ v
            left = left / max(float(left.norm()), self.eps)
            return weight / (left @ matrix @ v)
        if f"{name}.weight_orig" in self.tensors:
            weight = self[f"{name}.weight_orig"]
            matrix = weight.movedim(axis, 0).reshape(weight.shape[axis], -1)
            return weight / (self[f"{name}.weight_u"] @ matrix @ self[f"{name}.weight_v"])
        return self[f"{name}.weight"]

    def linear(self, x: Tensor, name: str) -> Tensor:
        return functional.linear(x, self.weight(name), self.tensors.get(f"{name}.bias"))

    def conv(self, x: Tensor, name: str) -> Tensor:
        weight = self.weight(name)
        return functional.conv2d(x, weight, self.tensors.get(f"{name}.bias"), padding=weight.shape[-1] // 2)

    def attention(self, x: Tensor, theta: str, phi: str, g: str, o: str, gamma: str) -> Tensor:
        """One pixel at a time: what it looks for, against what every pooled pixel shows."""
        n, _, h, w = x.shape
        asked = self.conv(x, theta).reshape(n, -1, h * w)
        shown = functional.max_pool2d(self.conv(x, phi), 2).reshape(n, -1, h * w // 4)
        values = functional.max_pool2d(self.conv(x, g), 2).reshape(n, -1, h * w // 4)
        weights = torch.einsum("nci,ncj->nij", asked, shown).exp()
        weights = weights / weights.sum(dim=2, keepdim=True)
        seen = torch.einsum("ncj,nij->nci", values, weights).reshape(n, -1, h, w)
        return x + self[gamma] * self.conv(seen, o)

    def normed(self, x: Tensor, mean: Tensor, var: Tensor, gain: Tensor, bias: Tensor, eps: float) -> Tensor:
        """relu of a batch norm; gain and bias per channel, or per image and channel."""
        gain, bias = (one if one.ndim == 2 else one[None] for one in (gain, bias))
        x = (x - mean[None, :, None, None]) / torch.sqrt(var[None, :, None, None] + eps)
        return torch.relu(x * gain[:, :, None, None] + bias[:, :, None, None])


def up(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


def biggan(held: Held, said: Mapping[str, Any], z: Tensor, label: Tensor) -> Tensor:
    """Images in [-1, 1] of ajbrock's generators, plain or deep (``G_depth``)."""
    deep, shared = "G_depth" in said, said.get("G_shared", True)
    eps, bottom = said.get("BN_eps", 1e-5), said.get("bottom_width", 4)
    ins, outs = BIGGAN_IN[said["resolution"]], BIGGAN_OUT[said["resolution"]]
    y = held["shared.weight"][label] if shared else None
    first, conditions = z, [y] * len(ins)
    if deep:
        assert y is not None
        first = torch.cat([y, z], dim=1)
        conditions = [first] * len(ins)
    elif said.get("hier"):
        assert y is not None
        size = said["dim_z"] // (len(ins) + 1)
        first = z[:, :size]
        conditions = [torch.cat([y, z[:, (b + 1) * size : (b + 2) * size]], dim=1) for b in range(len(ins))]
    inner = "bn." if said.get("mybn") else ""

    def norm(x: Tensor, name: str, condition: Tensor | None) -> Tensor:
        if condition is None:
            gain, bias = held[f"{name}.gain.weight"][label], held[f"{name}.bias.weight"][label]
        else:
            gain, bias = held.linear(condition, f"{name}.gain"), held.linear(condition, f"{name}.bias")
        mean, var = held[f"{name}.{inner}stored_mean"], held[f"{name}.{inner}stored_var"]
        return held.normed(x, mean, var, 1 + gain, bias, eps)

    x = held.linear(first, "linear").reshape(len(z), -1, bottom, bottom)
    depth = said.get("G_depth", 1)
    for stage, condition in enumerate(conditions):
        for d in range(depth):
            block = f"blocks.{stage * depth + d}.0"
            if deep:
                last = d == depth - 1
                h = held.conv(norm(x, f"{block}.bn1", condition), f"{block}.conv1")
                h = norm(h, f"{block}.bn2", condition)
                if last:
                    x, h = up(x[:, : outs[stage] * said["G_ch"]]), up(h)
                h = held.conv(norm(held.conv(h, f"{block}.conv2"), f"{block}.bn3", condition), f"{block}.conv3")
                x = x + held.conv(norm(h, f"{block}.bn4", condition), f"{block}.conv4")
            else:
                a = held.conv(up(norm(x, f"{block}.bn1", condition)), f"{block}.conv1")
                a = held.conv(norm(a, f"{block}.bn2", condition), f"{block}.conv2")
                x = a + held.conv(up(x), f"{block}.conv_sc")
        if 2 ** (3 + stage) in [int(one) for one in said.get("G_attn", "64").split("_")]:
            at = f"blocks.{stage * depth + depth - 1}.1"
            x = held.attention(x, *(f"{at}.{name}" for name in ("theta", "phi", "g", "o", "gamma")))
    mean, var = (held[f"output_layer.0.{inner}stored_{one}"] for one in ("mean", "var"))
    x = held.normed(x, mean, var, held["output_layer.0.gain"], held["output_layer.0.bias"], 1e-5)
    return torch.tanh(held.conv(x, "output_layer.2"))


def hf_biggan(held: Held, said: Mapping[str, Any], z: Tensor, classes: Tensor, truncation: float) -> Tensor:
    """Images in [-1, 1] of the Hugging Face generator, which is given what its caller scaled."""
    condition = torch.cat([z, classes @ held["embeddings.weight"].T], dim=1)
    share, row = math.modf(truncation / (1.0 / (said["n_stats"] - 1)))
    width, eps, generator = said["channel_width"], said["eps"], "generator"

    def statistics(name: str) -> list[Tensor]:
        found = [held[f"{name}.running_{what}"] for what in ("means", "vars")]
        if share == 0:
            return [rows[int(row)] for rows in found]
        return [rows[int(row)] * share + rows[int(row) + 1] * (1 - share) for rows in found]

    def norm(x: Tensor, name: str) -> Tensor:
        gain, bias = held.linear(condition, f"{name}.scale"), held.linear(condition, f"{name}.offset")
        return held.normed(x, *statistics(name), 1 + gain, bias, eps)

    x = held.linear(condition, f"{generator}.gen_z").reshape(len(z), 4, 4, 16 * width).permute(0, 3, 1, 2)
    number = 0
    for position, (doubles, ins, outs) in enumerate(said["layers"]):
        if position == said["attention_layer_position"]:
            at = f"{generator}.layers.{number}"
            names = (f"{at}.snconv1x1_{one}" for one in ("theta", "phi", "g", "o_conv"))
            x, number = held.attention(x, *names, f"{at}.gamma"), number + 1
        at = f"{generator}.layers.{number}"
        h = norm(held.conv(norm(x, f"{at}.bn_0"), f"{at}.conv_0"), f"{at}.bn_1")
        if ins != outs:
            x = x[:, : x.shape[1] // 2]
        if doubles:
            h, x = up(h), up(x)
        h = held.conv(norm(held.conv(h, f"{at}.conv_1"), f"{at}.bn_2"), f"{at}.conv_2")
        x, number = x + held.conv(norm(h, f"{at}.bn_3"), f"{at}.conv_3"), number + 1
    last = f"{generator}.bn"
    x = held.normed(x, *statistics(last), held[f"{last}.weight"], held[f"{last}.bias"], eps)
    return torch.tanh(held.conv(x, f"{generator}.conv_to_rgb")[:, :3])


def studiogan(held: Held, said: Mapping[str, Any], z: Tensor, label: Tensor | None) -> Tensor:
    """Images in [-1, 1] of StudioGAN's generator of the ``backbone``."""
    backbone, conditional = said["backbone"], said["g_cond_mtd"] == "cBN"
    simple, deep = backbone in ("resnet", "deep_conv"), "deep" in backbone and backbone != "deep_conv"
    ins = [512, 256, 128] if backbone == "deep_conv" else STUDIO_IN[said["img_size"]]
    outs = STUDIO_OUT[said.get("img_size", 32)]
    first, conditions = z, [z] * len(ins)
    if simple:
        one_hot = functional.one_hot(label, said["num_classes"]).to(z) if conditional and label is not None else None
        conditions = [one_hot] * len(ins)  # type: ignore[list-item]  # None: the norms are plain
    else:
        shared = [held["shared.weight"][label]] if conditional else []
        if deep:
            first = torch.cat([*shared, z], dim=1)
            conditions = [first] * len(ins)
        else:
            first, *chunks = z.chunk(len(ins) + 1, dim=1)
            conditions = [torch.cat([*shared, chunk], dim=1) for chunk in chunks]

    def norm(x: Tensor, name: str, condition: Tensor | None) -> Tensor:
        if condition is None:
            names = ("running_mean", "running_var", "weight", "bias")
            return held.normed(x, *(held[f"{name}.{one}"] for one in names), 1e-4)
        gain, bias = held.linear(condition, f"{name}.gain"), held.linear(condition, f"{name}.bias")
        return held.normed(x, held[f"{name}.bn.running_mean"], held[f"{name}.bn.running_var"], 1 + gain, bias, 1e-4)

    x, entry = held.linear(first, "linear0").reshape(len(z), -1, 4, 4), 0
    for stage, condition in enumerate(conditions):
        depth = said["g_depth"] if deep else 1
        for d in range(depth):
            at, entry = f"blocks.{entry}.0", entry + 1
            if backbone == "deep_conv":
                a = functional.conv_transpose2d(
                    x, held.weight(f"{at}.deconv0", 1), held[f"{at}.deconv0.bias"], stride=2, padding=1
                )
                x = norm(a, f"{at}.bn0", condition)
            elif deep:
                h = norm(held.conv(norm(x, f"{at}.bn1", condition), f"{at}.conv2d1"), f"{at}.bn2", condition)
                last = d == depth - 1
                h = held.conv(up(h) if last else h, f"{at}.conv2d2")
                h = held.conv(norm(h, f"{at}.bn3", condition), f"{at}.conv2d3")
                around = up(x) if last else x
                if backbone.endswith("legacy"):
                    around = around[:, : outs[stage] * said["g_conv_dim"]] if last else around
                else:
                    around = held.conv(around, f"{at}.conv2d0")
                x = around + held.conv(norm(h, f"{at}.bn4", condition), f"{at}.conv2d4")
            else:
                a = held.conv(up(norm(x, f"{at}.bn1", condition)), f"{at}.conv2d1")
                a = held.conv(norm(a, f"{at}.bn2", condition), f"{at}.conv2d2")
                x = a + held.conv(up(x), f"{at}.conv2d0")
        if said["apply_attn"] and stage + 1 in said["attn_g_loc"]:
            at, entry = f"blocks.{entry}.0", entry + 1
            names = (f"{at}.conv1x1_{one}" for one in ("theta", "phi", "g", "attn"))
            x = held.attention(x, *names, f"{at}.sigma")
    if backbone == "deep_conv":
        return torch.tanh(held.conv(x, "conv4"))
    return torch.tanh(held.conv(norm(x, "bn4", None), "conv2d5"))


def random_weights(like: nn.Module, seed: int = 0, sizes: Sequence[float] = (0.9, 0.8)) -> dict[str, Tensor]:
    """Tensors under the names that the module stores: of a network whose images are neither flat nor saturated.

    sizes: lengths of the stored singular vectors, which are the right ones but for their length.
    """
    stream, found = torch.Generator().manual_seed(seed), {}
    divided = any(name.endswith(("u0", "weight_u")) for name in like.state_dict())
    for name, value in like.state_dict().items():
        drawn = torch.randn(value.shape, generator=stream)
        last = name.rpartition(".")[2]
        if "var" in last:
            drawn = (0.4 * drawn).exp()
        elif last in ("gamma", "sigma"):
            drawn = 0.5 + 0.1 * drawn
        elif last.startswith("weight") and drawn.ndim > 1:
            drawn = drawn / (drawn[0].numel() * (0.5 if divided else 3)) ** 0.5
        elif last in ("weight", "gain"):
            drawn = (1 + 0.2 * drawn) * (0.12 if name.startswith(LAST_NORMS) else 1)
        elif last != "u0":
            drawn = 0.2 * drawn
        found[name] = drawn
    for name in [name.removesuffix("_orig") for name in found if name.endswith(".weight_orig")]:
        weight, rows = found[f"{name}_orig"], len(found[f"{name}_u"])
        matrix = (weight if len(weight) == rows and "deconv" not in name else weight.transpose(0, 1)).reshape(rows, -1)
        left, _, right = torch.linalg.svd(matrix, full_matrices=False)
        found[f"{name}_u"], found[f"{name}_v"] = sizes[0] * left[:, 0], sizes[1] * right[0]
    return found


def is_the_formula(
    model: Generator, formula: Callable[[Tensor], Tensor], label: Tensor | None, *, limits: tuple[float, float]
) -> None:
    """Images and gradients of the model, as built and prepared, within shares of the largest values.

    formula: from codes in float64 to images in [-1, 1].
    """
    code = codes(3, model.native.dim)
    exact = code.double().requires_grad_()
    wanted = formula(exact)
    image = wanted.detach()
    assert tuple(image.shape[1:]) == tuple(model.image)
    assert image.std() > 0.05 and (image.abs() < 0.99).double().mean() > 0.9, "neither flat nor saturated"
    weights = codes(wanted.numel(), 1, seed=1).reshape(wanted.shape)
    (truth,) = torch.autograd.grad((wanted * weights.double()).sum(), exact)
    for ready in (model, prepare(model)):
        given = code.clone().requires_grad_()
        images = official(ready, given, label)
        (gradient,) = torch.autograd.grad((images * weights).sum(), given)
        assert apart(images.double(), image) < limits[0]
        assert apart(gradient.double(), truth) < limits[1]
