"""The layers of a synthesis network: what each one resamples, from settings by the formulas of the paper.

StyleGAN3 (Karras et al., NeurIPS 2021, section 3.2) designs a stem; StyleGAN-XL (Sauer, Schwarz and Geiger, SIGGRAPH
2022, section 3.2) cuts its critically sampled layers off and puts a head of twice or more the resolution on it, again
and again. Names are those of the attributes that a released network carries, in its own units: a frequency is in cycles
per width of the final image's unit square, a size in pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from preimage.harness.errors import CardError

CRITICAL = 2  # layers before toRGB that are critically sampled, of every head
HEAD_CLAMP = 256.0  # heads are made with upstream's default, whatever the stem has


@dataclass(frozen=True)
class InputSpec:
    """The Fourier features that the network starts from."""

    size: int
    channels: int
    sampling_rate: float
    bandwidth: float


@dataclass(frozen=True)
class LayerSpec:
    """A layer: convolution, upsampling, activation, downsampling."""

    name: str
    is_torgb: bool
    is_critically_sampled: bool
    in_channels: int
    out_channels: int
    in_size: int
    out_size: int
    in_sampling_rate: float
    out_sampling_rate: float
    tmp_sampling_rate: float
    in_cutoff: float
    out_cutoff: float
    in_half_width: float
    out_half_width: float
    conv_kernel: int
    conv_clamp: float | None
    up_factor: int
    up_taps: int
    down_factor: int
    down_taps: int
    down_radial: bool
    padding: tuple[int, int]  # zeros before and after, along either axis; negative: cut

    @property
    def made_size(self) -> int:
        """Pixels that come out, by what is done to those that go in."""
        convolved = self.in_size + self.conv_kernel - 1
        filtered = convolved * self.up_factor + sum(self.padding) - self.up_taps + 1
        return (filtered - self.down_taps) // self.down_factor + 1


@dataclass(frozen=True)
class SynthesisSpec:
    """A synthesis network: the input, the layers in their order (the last is toRGB), the factor of the image."""

    input: InputSpec
    layers: tuple[LayerSpec, ...]
    output_scale: float

    @property
    def num_ws(self) -> int:
        """The input and every layer have a w of their own."""
        return len(self.layers) + 1

    @property
    def img_resolution(self) -> int:
        return self.layers[-1].out_size

    @property
    def img_channels(self) -> int:
        return self.layers[-1].out_channels


@dataclass(frozen=True)
class StemSettings:
    """Constructor settings of the official stem's synthesis network, with their defaults."""

    img_resolution: int
    img_channels: int
    channel_base: float = 32768.0  # channels at cutoff c: channel_base / 2 / c
    channel_max: int = 512
    num_layers: int = 14  # before toRGB
    num_critical: int = CRITICAL  # of these, critically sampled
    first_cutoff: float = 2.0
    first_stopband: float = 2**2.1
    last_stopband_rel: float = 2**0.3  # over the last cutoff
    margin_size: int = 10  # pixels beyond the image, on each side
    output_scale: float = 0.25
    conv_kernel: int = 3
    filter_size: int = 6  # taps per pixel of the lower rate
    lrelu_upsampling: int = 2
    use_radial_filters: bool = False
    conv_clamp: float | None = 256.0


@dataclass(frozen=True)
class HeadSettings:
    """Constructor settings of a superresolution head."""

    up_factor: int
    head_layers: int = 7  # before toRGB


@dataclass(frozen=True)
class _Signal:
    """What passes between two layers."""

    channels: int
    size: int
    rate: float
    cutoff: float
    half_width: float


def stem(settings: StemSettings) -> SynthesisSpec:
    """The network of a stem. Raises CardError where it has too few layers for a geometric progression."""
    last = settings.img_resolution / 2
    signals = _progression(
        settings,
        layers=settings.num_layers,
        critical=settings.num_critical,
        resolution=settings.img_resolution,
        cutoff=(settings.first_cutoff, last),
        stopband=(settings.first_stopband, last * settings.last_stopband_rel),
    )
    first = signals[0]
    layers = _layers(settings, signals, settings.num_critical, first_index=0)
    return SynthesisSpec(InputSpec(first.size, first.channels, first.rate, first.cutoff), layers, settings.output_scale)


def superresolved(network: SynthesisSpec, head: HeadSettings, settings: StemSettings) -> SynthesisSpec:
    """The network with its critically sampled layers replaced by a head of ``up_factor`` times the resolution.

    settings: of the stem at the bottom, whose channels, margin, kernel and filters the head has too. One index of the
    names is skipped. Raises CardError where nothing is left to put a head on.
    """
    kept = tuple(layer for layer in network.layers if not layer.is_critically_sampled)
    if not kept:
        raise CardError("every layer of the stem is critically sampled: a head has nothing to stand on")
    below = kept[-1]
    resolution = network.img_resolution * head.up_factor
    last = resolution / 2
    signals = _progression(
        settings,
        layers=head.head_layers,
        critical=CRITICAL,
        resolution=resolution,
        cutoff=(below.out_cutoff, last),
        stopband=(below.out_cutoff + below.out_half_width, last * settings.last_stopband_rel),
        below=below,
    )
    as_head = replace(settings, conv_clamp=HEAD_CLAMP)
    layers = _layers(as_head, signals, CRITICAL, first_index=len(kept) + 1)
    return SynthesisSpec(network.input, kept + layers, network.output_scale)


def _progression(
    settings: StemSettings,
    *,
    layers: int,
    critical: int,
    resolution: int,
    cutoff: tuple[float, float],
    stopband: tuple[float, float],
    below: LayerSpec | None = None,
) -> list[_Signal]:
    """The signal after each layer: cutoffs and stopbands grow geometrically up to the critically sampled layers."""
    if layers <= critical:
        raise CardError(
            f"{layers} layers, of which {critical} are critically sampled: at least {critical + 1} are needed "
            f"(`{'num_layers' if below is None else 'head_layers'}`)"
        )
    exponents = np.minimum(np.arange(layers + 1) / (layers - critical), 1)
    cutoffs = cutoff[0] * (cutoff[1] / cutoff[0]) ** exponents
    stopbands = stopband[0] * (stopband[1] / stopband[0]) ** exponents
    rates = np.exp2(np.ceil(np.log2(np.minimum(stopbands * 2, resolution))))
    if below is not None:
        rates[0] = below.out_sampling_rate
    half_widths = np.maximum(stopbands, rates / 2) - cutoffs
    sizes = rates + 2 * settings.margin_size
    sizes[-2:] = resolution
    channels = np.rint(np.minimum(settings.channel_base / 2 / cutoffs, settings.channel_max))
    if below is not None:
        channels[0] = below.out_channels
    channels[-1] = settings.img_channels
    if channels.min() < 1:
        raise CardError(f"`channel_base` is {settings.channel_base:g}: no channel is left at {resolution} pixels")
    table = zip(channels, sizes, rates, cutoffs, half_widths, strict=True)
    return [_Signal(int(c), int(s), float(rate), float(f), float(h)) for c, s, rate, f, h in table]


def _layers(
    settings: StemSettings, signals: list[_Signal], critical: int, *, first_index: int
) -> tuple[LayerSpec, ...]:
    last = len(signals) - 1
    return tuple(
        _layer(
            settings,
            signals[max(i - 1, 0)],
            signals[i],
            index=first_index + i,
            is_torgb=i == last,
            is_critically_sampled=i >= last - critical,
        )
        for i in range(len(signals))
    )


def _layer(
    settings: StemSettings,
    given: _Signal,
    made: _Signal,
    *,
    index: int,
    is_torgb: bool,
    is_critically_sampled: bool,
) -> LayerSpec:
    tmp_rate = max(given.rate, made.rate) * (1 if is_torgb else settings.lrelu_upsampling)
    up, down = round(tmp_rate / given.rate), round(tmp_rate / made.rate)
    up_taps, down_taps = (settings.filter_size * n if n > 1 and not is_torgb else 1 for n in (up, down))
    kernel = 1 if is_torgb else settings.conv_kernel
    total = (made.size - 1) * down + 1 - (given.size + kernel - 1) * up + up_taps + down_taps - 2
    before = math.floor((total + up) / 2)
    return LayerSpec(
        name=f"L{index}_{made.size}_{made.channels}",
        is_torgb=is_torgb,
        is_critically_sampled=is_critically_sampled,
        in_channels=given.channels,
        out_channels=made.channels,
        in_size=given.size,
        out_size=made.size,
        in_sampling_rate=given.rate,
        out_sampling_rate=made.rate,
        tmp_sampling_rate=tmp_rate,
        in_cutoff=given.cutoff,
        out_cutoff=made.cutoff,
        in_half_width=given.half_width,
        out_half_width=made.half_width,
        conv_kernel=kernel,
        conv_clamp=settings.conv_clamp,
        up_factor=up,
        up_taps=up_taps,
        down_factor=down,
        down_taps=down_taps,
        down_radial=settings.use_radial_filters and not is_critically_sampled,
        padding=(before, total - before),
    )
