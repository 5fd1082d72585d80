"""StyleGAN-XL word for word: each formula as it is stated, with a kernel of its own for each image.

What the family ``stylegan-xl`` is timed against, and compared with in the tests. Takes the constructor settings of the
stem and of the heads, and the official tensors, of any dtype, in which it computes. Layers are designed here once more,
filters by scipy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.signal import firwin
from scipy.special import j1
from torch import Tensor
from torch.nn.functional import conv2d, pad

Settings = Mapping[str, Any]
Tensors = Mapping[str, Tensor]
DEFAULTS: Settings = {
    "img_channels": 3,
    "channel_base": 32768,
    "channel_max": 512,
    "num_layers": 14,
    "num_critical": 2,
    "first_cutoff": 2,
    "first_stopband": 2**2.1,
    "last_stopband_rel": 2**0.3,
    "margin_size": 10,
    "output_scale": 0.25,
    "conv_kernel": 3,
    "filter_size": 6,
    "lrelu_upsampling": 2,
    "use_radial_filters": False,
    "conv_clamp": 256,
}


class Signal(NamedTuple):
    """What passes between two layers."""

    channels: int
    size: int
    rate: float
    cutoff: float
    half: float


class Layer(NamedTuple):
    """A layer: what it takes, what it makes, and how."""

    name: str
    given: Signal
    made: Signal
    rgb: bool
    critical: bool
    clamp: float | None


def designed(stem: Settings, heads: Sequence[Settings]) -> list[Layer]:
    """The layers of the stem, cut and continued by each head."""
    s = {**DEFAULTS, **stem}
    resolution = s["img_resolution"]
    layers = continued([], s, resolution, s["num_layers"], s["num_critical"], s["conv_clamp"])
    for head in heads:
        resolution *= head["up_factor"]
        kept = [layer for layer in layers if not layer.critical]
        layers = kept + continued(kept, s, resolution, head.get("head_layers", 7), 2, 256)
    return layers


def continued(
    kept: list[Layer], s: Settings, resolution: int, count: int, critical: int, clamp: float | None
) -> list[Layer]:
    """The layers of a head on those that are kept, or of a stem on none."""
    cutoff, stopband = s["first_cutoff"], s["first_stopband"]
    if kept:
        cutoff = kept[-1].made.cutoff
        stopband = cutoff + kept[-1].made.half
    last_cutoff = resolution / 2
    last_stopband = last_cutoff * s["last_stopband_rel"]
    signals = []
    for i in range(count + 1):
        e = min(i / (count - critical), 1)
        fc = cutoff * (last_cutoff / cutoff) ** e
        ft = stopband * (last_stopband / stopband) ** e
        rate = 2 ** math.ceil(math.log2(min(2 * ft, resolution)))
        channels = round(min(s["channel_base"] / 2 / fc, s["channel_max"]))
        if kept and i == 0:
            rate, channels = kept[-1].made.rate, kept[-1].made.channels
        if i == count:
            channels = s["img_channels"]
        size = resolution if i >= count - 1 else int(rate + 2 * s["margin_size"])
        signals.append(Signal(channels, size, rate, fc, max(ft, rate / 2) - fc))
    first = len(kept) + 1 if kept else 0
    return [
        Layer(
            f"L{first + i}_{made.size}_{made.channels}",
            signals[max(i - 1, 0)],
            made,
            i == count,
            i >= count - critical,
            clamp,
        )
        for i, made in enumerate(signals)
    ]


def low_pass(taps: int, signal: Signal, rate: float, radial: bool) -> np.ndarray:
    """The filter of that many taps for a signal, at the rate that it is applied at."""
    width = 2 * signal.half
    if not radial:
        return np.asarray(firwin(taps, signal.cutoff, width=width, fs=rate))
    attenuation = 2.285 * (taps - 1) * math.pi * (width / (rate / 2)) + 7.95
    if attenuation > 50:
        beta = 0.1102 * (attenuation - 8.7)
    else:
        beta = 0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21) if attenuation > 21 else 0.0
    x = (np.arange(taps) - (taps - 1) / 2) / rate
    r = np.hypot(*np.meshgrid(x, x))
    f = j1(2 * math.pi * signal.cutoff * r) / (math.pi * r) * np.outer(np.kaiser(taps, beta), np.kaiser(taps, beta))
    return np.asarray(f / f.sum())


def factors(layer: Layer, s: Settings) -> tuple[float, int, int, int, int]:
    """The rate between, upsampling, downsampling, and their filters' taps."""
    between = max(layer.given.rate, layer.made.rate) * (1 if layer.rgb else s["lrelu_upsampling"])
    up, down = round(between / layer.given.rate), round(between / layer.made.rate)
    taps = [s["filter_size"] * n if n > 1 and not layer.rgb else 1 for n in (up, down)]
    return between, up, down, taps[0], taps[1]


def tensors_of(
    stem: Settings,
    heads: Sequence[Settings],
    *,
    rows: int,
    features: int,
    seed: int,
    dtype: torch.dtype = torch.float32,
) -> dict[str, Tensor]:
    """Random tensors under the official names, the filters designed: a model to try things on."""
    s = {**DEFAULTS, **stem}
    r = torch.Generator().manual_seed(seed)

    def drawn(*shape: int, mean: float = 0.0, scale: float = 1.0) -> Tensor:
        return mean + scale * torch.randn(shape, generator=r, dtype=dtype)

    z_dim, c_dim, w_dim = s["z_dim"], s["c_dim"], s["w_dim"]
    count = s.get("mapping_kwargs", {}).get("num_layers", 2)
    found = {"mapping.embed.weight": drawn(rows, features)}
    found["mapping.w_avg"] = drawn(c_dim, w_dim, scale=0.3) if c_dim else drawn(w_dim, scale=0.3)
    if c_dim:
        found["mapping.embed_proj.weight"], found["mapping.embed_proj.bias"] = drawn(z_dim, features), drawn(z_dim)
    for i in range(count):
        taken = w_dim if i else 2 * z_dim if c_dim else z_dim
        found[f"mapping.fc{i}.weight"], found[f"mapping.fc{i}.bias"] = drawn(w_dim, taken, scale=100), drawn(w_dim)
    layers = designed(stem, heads)
    first = layers[0].given
    found["synthesis.input.weight"] = drawn(first.channels, first.channels)
    found["synthesis.input.transform"] = torch.eye(3, dtype=dtype) + drawn(3, 3, scale=0.05)
    found["synthesis.input.freqs"] = drawn(first.channels, 2, scale=first.cutoff / 2)
    found["synthesis.input.phases"] = drawn(first.channels)
    found["synthesis.input.affine.weight"] = drawn(4, w_dim, scale=0.2)
    found["synthesis.input.affine.bias"] = drawn(4, scale=0.2) + torch.tensor([1, 0, 0, 0], dtype=dtype)
    for layer in layers:
        at = f"synthesis.{layer.name}"
        rate, _, _, *taps = factors(layer, s)
        kernel = 1 if layer.rgb else s["conv_kernel"]
        found[f"{at}.weight"] = drawn(layer.made.channels, layer.given.channels, kernel, kernel)
        found[f"{at}.bias"] = drawn(layer.made.channels, scale=0.1)
        found[f"{at}.magnitude_ema"] = drawn(scale=0.2).exp()
        found[f"{at}.affine.weight"] = drawn(layer.given.channels, w_dim, scale=0.5)
        found[f"{at}.affine.bias"] = drawn(layer.given.channels, mean=1.0, scale=0.1)
        radial = s["use_radial_filters"] and not layer.critical
        designs = (("up_filter", taps[0], layer.given, False), ("down_filter", taps[1], layer.made, radial))
        for name, n, signal, round_one in designs:
            if n > 1:
                found[f"{at}.{name}"] = torch.from_numpy(low_pass(n, signal, rate, round_one)).to(dtype)
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


def layers_of(z: Tensor, label: Tensor | None, stem: Settings, heads: Sequence[Settings], tensors: Tensors) -> Tensor:
    """Codes and classes to a w for every layer [n, num_ws, w_dim], truncated as the stem's settings say."""
    own = stem.get("mapping_kwargs", {})
    x = normalised(z)
    if label is not None:
        embedded = tensors["mapping.embed.weight"][label]
        x = torch.cat([x, normalised(linear(embedded, "mapping.embed_proj", tensors, act="lrelu"))], dim=1)
    for i in range(own.get("num_layers", 2)):
        x = linear(x, f"mapping.fc{i}", tensors, lr=own.get("lr_multiplier", 0.01), act="lrelu")
    ws = x.unsqueeze(1).repeat(1, len(designed(stem, heads)) + 1, 1)
    psi, cutoff = stem.get("truncation_psi", 1.0), stem.get("truncation_cutoff")
    if psi != 1:
        average = tensors["mapping.w_avg"] if label is None else tensors["mapping.w_avg"][label].unsqueeze(1)
        ws[:, :cutoff] = average + psi * (ws[:, :cutoff] - average)
    return ws


def fourier(w: Tensor, first: Signal, tensors: Tensors) -> Tensor:
    """The input: w [n, w_dim] to features [n, c, size, size]."""
    t = linear(w, "synthesis.input.affine", tensors)
    t = t / (t[:, 0] ** 2 + t[:, 1] ** 2).sqrt().unsqueeze(1)
    g = ((torch.arange(first.size, dtype=w.dtype) + 0.5) / first.size * 2 - 1) * 0.5 * first.size / first.rate
    grid = torch.stack(torch.meshgrid(g, g, indexing="xy"), dim=2)  # [height, width, (x, y)]
    images = []
    for c, s, x, y in t:
        one, zero = torch.ones_like(c), torch.zeros_like(c)
        turned = torch.stack([c, -s, zero, s, c, zero, zero, zero, one]).reshape(3, 3)
        moved = torch.stack([one, zero, -x, zero, one, -y, zero, zero, one]).reshape(3, 3)
        total = turned @ moved @ tensors["synthesis.input.transform"]
        phases = tensors["synthesis.input.phases"] + tensors["synthesis.input.freqs"] @ total[:2, 2]
        freqs = tensors["synthesis.input.freqs"] @ total[:2, :2]
        amp = (1 - (freqs.norm(dim=1) - first.cutoff) / (first.rate / 2 - first.cutoff)).clamp(0, 1)
        features = torch.sin(2 * math.pi * (grid @ freqs.T + phases)) * amp
        mixed = features @ (tensors["synthesis.input.weight"] / math.sqrt(first.channels)).T
        images.append(mixed.permute(2, 0, 1))
    return torch.stack(images)


def filtered(x: Tensor, f: Tensor | None, gain: float) -> Tensor:
    """The true convolution of x [n, c, h, w] with f * gain, in two passes where f has one axis."""
    if f is None:
        return x * gain
    c = x.shape[1]
    if f.ndim == 2:
        return conv2d(x, (f * gain).flip(0, 1).expand(c, 1, *f.shape), groups=c)
    taps = (f * math.sqrt(gain)).flip(0)
    x = conv2d(x, taps.reshape(1, 1, 1, -1).expand(c, 1, 1, -1), groups=c)
    return conv2d(x, taps.reshape(1, 1, -1, 1).expand(c, 1, -1, 1), groups=c)


def layer_output(x: Tensor, w: Tensor, layer: Layer, s: Settings, tensors: Tensors) -> Tensor:
    """x [n, i, size, size] to [n, o, size', size']."""
    at = f"synthesis.{layer.name}"
    weight, style = tensors[f"{at}.weight"], linear(w, f"{at}.affine", tensors)
    if layer.rgb:
        kernel = weight * (style / math.sqrt(weight.shape[1]))[:, None, :, None, None]
    else:
        weight = weight / weight.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
        kernel = weight * (style / style.square().mean().sqrt())[:, None, :, None, None]
        kernel = kernel / (kernel.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8).sqrt()
    kernel = kernel / tensors[f"{at}.magnitude_ema"].sqrt()
    n, o, i, k, _ = kernel.shape
    y = conv2d(x.reshape(1, n * i, *x.shape[2:]), kernel.reshape(n * o, i, k, k), padding=k - 1, groups=n)
    y = y.reshape(n, o, *y.shape[2:]) + tensors[f"{at}.bias"][:, None, None]
    _, up, down, up_taps, down_taps = factors(layer, s)
    total = (layer.made.size - 1) * down + 1 - (layer.given.size + k - 1) * up + up_taps + down_taps - 2
    low = (total + up) // 2
    stuffed = y.new_zeros(n, o, y.shape[2], up, y.shape[3], up)
    stuffed[:, :, :, 0, :, 0] = y
    around = pad(stuffed.reshape(n, o, y.shape[2] * up, y.shape[3] * up), (low, total - low, low, total - low))
    y = activated(filtered(around, tensors.get(f"{at}.up_filter"), up**2), "linear" if layer.rgb else "lrelu")
    if layer.clamp is not None:
        y = y.clamp(-layer.clamp, layer.clamp)
    return filtered(y, tensors.get(f"{at}.down_filter"), 1.0)[:, :, ::down, ::down]


def synthesised(ws: Tensor, stem: Settings, heads: Sequence[Settings], tensors: Tensors) -> Tensor:
    """A w for the input and every layer [n, num_ws, w_dim] to images [n, c, h, w], nominally in [-1, 1]."""
    s = {**DEFAULTS, **stem}
    layers = designed(stem, heads)
    x = fourier(ws[:, 0], layers[0].given, tensors)
    for i, layer in enumerate(layers):
        x = layer_output(x, ws[:, i + 1], layer, s, tensors)
    return x * s["output_scale"]
