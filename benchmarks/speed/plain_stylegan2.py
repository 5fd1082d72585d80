"""StyleGAN2-ADA word for word: each formula as it is stated, with a kernel of its own for each image.

What the family ``stylegan2-ada`` is timed against, and compared with in the tests. Takes the official constructor
settings and the official tensors, of any dtype, in which it computes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d, conv_transpose2d, pad

Settings = Mapping[str, Any]
Tensors = Mapping[str, Tensor]


def tensors_of(settings: Settings, *, seed: int, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Random tensors under the official names, at the scales of a trained network: a model to try things on."""
    stream = torch.Generator().manual_seed(seed)
    outer, inner = settings.get("mapping_kwargs", {}), settings.get("synthesis_kwargs", {})
    z_dim, c_dim, w_dim, colours = (settings[name] for name in ("z_dim", "c_dim", "w_dim", "img_channels"))
    architecture, found = inner.get("architecture", "skip"), dict[str, Tensor]()

    def draw(name: str, *shape: int, mean: float = 0.0, scale: float = 1.0) -> None:
        found[name] = mean + scale * torch.randn(shape, generator=stream, dtype=dtype)

    def draw_filter(name: str, taps: Sequence[float]) -> None:
        count = len(taps)
        draw(name, *([count] if count >= 8 else [count, count]))
        found[name] = found[name].abs() / found[name].abs().sum()  # any: a checkpoint's own is used, whatever it is

    def draw_affine(at: str, channels: int) -> None:
        draw(f"{at}.affine.weight", channels, w_dim)
        draw(f"{at}.affine.bias", channels, mean=1.0, scale=0.2)

    def draw_layer(at: str, given: int, made: int, side: int, taps: Sequence[float]) -> None:
        draw(f"{at}.weight", made, given, 3, 3)
        draw(f"{at}.bias", made, scale=0.2)
        draw_affine(at, given)
        draw_filter(f"{at}.resample_filter", taps)
        if inner.get("use_noise", True):
            draw(f"{at}.noise_const", side, side)
            draw(f"{at}.noise_strength", scale=0.2)

    embedded = (outer.get("embed_features") or w_dim) if c_dim else 0
    if c_dim:
        draw("mapping.embed.weight", embedded, c_dim)
        draw("mapping.embed.bias", embedded, scale=0.2)
    count, lr = outer.get("num_layers", 8), outer.get("lr_multiplier", 0.01)
    sides = [z_dim + embedded, *[outer.get("layer_features") or w_dim] * (count - 1), w_dim]
    for i in range(count):
        draw(f"mapping.fc{i}.weight", sides[i + 1], sides[i], scale=1 / lr)
        draw(f"mapping.fc{i}.bias", sides[i + 1], scale=0.1 / lr)
    if outer.get("w_avg_beta", 0.995) is not None:
        draw("mapping.w_avg", w_dim)
    taps, usual = inner.get("resample_filter", (1, 3, 3, 1)), (1, 3, 3, 1)
    given, side = 0, 4
    while side <= settings["img_resolution"]:
        b, made = f"synthesis.b{side}", min(inner.get("channel_base", 32768) // side, inner.get("channel_max", 512))
        draw_filter(f"{b}.resample_filter", taps)
        if side == 4:
            draw(f"{b}.const", made, 4, 4)
        else:
            draw_layer(f"{b}.conv0", given, made, side, taps)
            if architecture == "resnet":
                draw(f"{b}.skip.weight", made, given, 1, 1)
                draw_filter(f"{b}.skip.resample_filter", taps)
        draw_layer(f"{b}.conv1", made, made, side, usual)
        if architecture == "skip" or side == settings["img_resolution"]:
            draw(f"{b}.torgb.weight", colours, made, 1, 1, scale=0.3)
            draw(f"{b}.torgb.bias", colours, scale=0.2)
            draw_affine(f"{b}.torgb", made)
        given, side = made, 2 * side
    return found


def linear(x: Tensor, at: str, tensors: Tensors, *, lr: float = 1.0, act: str = "linear") -> Tensor:
    """A fully connected layer: x [n, i] to [n, o]."""
    weight, bias = tensors[f"{at}.weight"], tensors[f"{at}.bias"]
    return activated(x @ (weight * (lr / math.sqrt(weight.shape[1]))).T + bias * lr, act)


def activated(x: Tensor, act: str) -> Tensor:
    """The activation with its gain."""
    return torch.where(x > 0, x, 0.2 * x) * math.sqrt(2) if act == "lrelu" else x


def normalised(x: Tensor) -> Tensor:
    """x [n, i] with a mean square of 1."""
    return x / (x.square().mean(dim=1, keepdim=True) + 1e-8).sqrt()


def upfirdn(x: Tensor, f: Tensor, up: int, front: int, behind: int, gain: float) -> Tensor:
    """x [n, c, h, w]: zeros after every pixel, zeros around, then the true convolution with f * gain."""
    if f.ndim == 1:
        f = torch.outer(f, f)
    n, c, h, w = x.shape
    stuffed = x.new_zeros(n, c, h, up, w, up)
    stuffed[:, :, :, 0, :, 0] = x
    around = pad(stuffed.reshape(n, c, h * up, w * up), (front, behind, front, behind))
    kernel = (f * gain).flip(0, 1)
    return conv2d(around, kernel.expand(c, 1, *kernel.shape), groups=c)


def upsampled(x: Tensor, f: Tensor) -> Tensor:
    """x [n, c, h, w] to twice the side."""
    taps = f.shape[-1]
    return upfirdn(x, f, 2, (taps + 1) // 2, (taps - 2) // 2, 4.0)


def convolved(x: Tensor, kernel: Tensor, *, padding: int = 0) -> Tensor:
    """Each image x [n, i, h, w] with its own kernel [n, o, i, k, k]."""
    n, o, _, k, _ = kernel.shape
    y = conv2d(x.reshape(1, -1, *x.shape[2:]), kernel.reshape(n * o, -1, k, k), padding=padding, groups=n)
    return y.reshape(n, o, *y.shape[2:])


def enlarged(x: Tensor, kernel: Tensor) -> Tensor:
    """Each image x [n, i, h, w] by a transposed convolution of stride 2 with its own kernel [n, o, i, k, k]."""
    n, o, i, k, _ = kernel.shape
    swapped = kernel.transpose(1, 2).reshape(n * i, o, k, k)
    y = conv_transpose2d(x.reshape(1, -1, *x.shape[2:]), swapped, stride=2, groups=n)
    return y.reshape(n, o, *y.shape[2:])


def mapped(z: Tensor, c: Tensor | None, settings: Settings, tensors: Tensors) -> Tensor:
    """Codes z [n, z_dim] and the weights of the classes c [n, c_dim] to w [n, w_dim]."""
    own = settings.get("mapping_kwargs", {})
    parts = [normalised(z)] if settings["z_dim"] else []
    if c is not None:
        parts.append(normalised(linear(c, "mapping.embed", tensors)))
    x = torch.cat(parts, dim=1)
    for i in range(own.get("num_layers", 8)):
        lr, act = own.get("lr_multiplier", 0.01), own.get("activation", "lrelu")
        x = linear(x, f"mapping.fc{i}", tensors, lr=lr, act=act)
    return x


def layers_of(z: Tensor, c: Tensor | None, settings: Settings, tensors: Tensors) -> Tensor:
    """Codes to a w for every layer [n, num_ws, w_dim], truncated as the settings say."""
    layers = 2 * (int(math.log2(settings["img_resolution"])) - 1)
    ws = mapped(z, c, settings, tensors).unsqueeze(1).repeat(1, layers, 1)
    psi, cutoff = settings.get("truncation_psi", 1.0), settings.get("truncation_cutoff")
    if psi != 1:
        average = tensors["mapping.w_avg"]
        ws[:, :cutoff] = average + psi * (ws[:, :cutoff] - average)
    return ws


def layer(x: Tensor, w: Tensor, at: str, settings: Settings, tensors: Tensors, gain: float = 1.0) -> Tensor:
    """conv0 or conv1 of a block: x [n, i, h, w] to [n, o, h, w], or [n, o, 2h, 2w]."""
    own = settings.get("synthesis_kwargs", {})
    kernel = tensors[f"{at}.weight"] * linear(w, f"{at}.affine", tensors)[:, None, :, None, None]
    kernel = kernel / (kernel.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8).sqrt()
    if at.endswith("conv0"):
        f = tensors[f"{at}.resample_filter"]
        taps = f.shape[-1]
        x = upfirdn(enlarged(x, kernel), f, 1, (taps + 1) // 2 - 1, (taps - 2) // 2, 4.0)
    else:
        x = convolved(x, kernel, padding=1)
    if own.get("use_noise", True) and settings.get("noise_mode", "const") == "const":
        x = x + tensors[f"{at}.noise_const"] * tensors[f"{at}.noise_strength"]
    x = activated(x + tensors[f"{at}.bias"][:, None, None], own.get("activation", "lrelu")) * gain
    clamp = own.get("conv_clamp")
    return x if clamp is None else x.clamp(-clamp * gain, clamp * gain)


def coloured(x: Tensor, w: Tensor, at: str, settings: Settings, tensors: Tensors) -> Tensor:
    """The layer to colours: x [n, i, h, w] to [n, img_channels, h, w]."""
    weight = tensors[f"{at}.weight"]
    s = linear(w, f"{at}.affine", tensors) / math.sqrt(weight.shape[1])
    y = convolved(x, weight * s[:, None, :, None, None]) + tensors[f"{at}.bias"][:, None, None]
    clamp = settings.get("synthesis_kwargs", {}).get("conv_clamp")
    return y if clamp is None else y.clamp(-clamp, clamp)


def synthesised(ws: Tensor, settings: Settings, tensors: Tensors) -> Tensor:
    """A w for every layer [n, num_ws, w_dim] to images [n, c, h, w], nominally in [-1, 1]."""
    architecture = settings.get("synthesis_kwargs", {}).get("architecture", "skip")
    image, i, resolution = None, 0, 4
    x = tensors["synthesis.b4.const"].repeat(len(ws), 1, 1, 1)
    while resolution <= settings["img_resolution"]:
        b = f"synthesis.b{resolution}"
        around = resolution > 4 and architecture == "resnet"
        y = x
        if resolution > 4:
            x = layer(x, ws[:, i], f"{b}.conv0", settings, tensors)
            i += 1
        x = layer(x, ws[:, i], f"{b}.conv1", settings, tensors, math.sqrt(0.5) if around else 1.0)
        i += 1
        if around:
            skip = tensors[f"{b}.skip.weight"]
            y = upsampled(conv2d(y, skip / math.sqrt(skip.shape[1])), tensors[f"{b}.skip.resample_filter"])
            x = y * math.sqrt(0.5) + x
        if image is not None:
            image = upsampled(image, tensors[f"{b}.resample_filter"])
        if architecture == "skip" or resolution == settings["img_resolution"]:
            rgb = coloured(x, ws[:, i], f"{b}.torgb", settings, tensors)
            image = rgb if image is None else image + rgb
        resolution *= 2
    assert image is not None
    return image
