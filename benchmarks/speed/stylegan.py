"""What a forward and backward pass of the StyleGAN families costs, beside a plain transcription of their formulas.

    python benchmarks/speed/stylegan.py
    python benchmarks/speed/stylegan.py --only stylegan2-ada --rounds 3
    python benchmarks/speed/stylegan.py --write docs/speed.md

Weights are random; everything is measured in one run on one thread, as processor time of that thread, from codes z to
the gradient of the images' squares in z. The family and the transcription, which makes a kernel for each image, take
turns, and the ratio is the median over the rounds, so that both meet the same machine. The shares are of the family's
operations under torch's profiler: convolutions with kernels between channels, and filters, which are depthwise
convolutions in StyleGAN2-ADA and products with banded matrices in StyleGAN-XL.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import plain_stylegan2
import plain_stylegan_xl
import torch
from report import write_part
from torch import Tensor

from preimage.harness.loading import build

Decode = Callable[[Tensor], Tensor]
FILTER_PRODUCTS = ("aten::mm", "aten::bmm")
"""How StyleGAN-XL applies its filters; of a mapping network's products, which are thousands of times smaller, too."""


class Contest(NamedTuple):
    """A model of a family and the same by the plain formulas, both from codes [n, z_dim] to images in [0, 1]."""

    family: str
    what: str
    z_dim: int
    batch: int
    ours: Callable[[], Decode]
    plain: Callable[[], Decode]


def stylegan2(what: str, batch: int, *, side: int, channels: int, dim: int) -> Contest:
    """An unconditional model with the same number of channels at all resolutions, as that of CIFAR-10 has."""
    settings: dict[str, Any] = {
        "z_dim": dim,
        "c_dim": 0,
        "w_dim": dim,
        "img_resolution": side,
        "img_channels": 3,
        "mapping_kwargs": {"num_layers": 2},
        "synthesis_kwargs": {"channel_base": 2**20, "channel_max": channels, "conv_clamp": 256},
    }

    def plain() -> Decode:
        tensors = plain_stylegan2.tensors_of(settings, seed=0)

        def decode(z: Tensor) -> Tensor:
            ws = plain_stylegan2.layers_of(z, None, settings, tensors)
            return (plain_stylegan2.synthesised(ws, settings, tensors) + 1) / 2

        return decode

    def ours() -> Decode:
        return build("stylegan2-ada", settings, plain_stylegan2.tensors_of(settings, seed=0)).decode

    return Contest("stylegan2-ada", what, dim, batch, ours, plain)


def stylegan_xl(what: str, batch: int, *, side: int, channels: int, dim: int, layers: int) -> Contest:
    """An unconditional stem with the same number of channels in all layers."""
    settings: dict[str, Any] = {
        "z_dim": dim,
        "c_dim": 0,
        "w_dim": dim,
        "img_resolution": side,
        "img_channels": 3,
        "num_layers": layers,
        "channel_base": 2**20,
        "channel_max": channels,
    }

    def made() -> dict[str, Tensor]:
        return plain_stylegan_xl.tensors_of(settings, [], rows=1, features=1, seed=0)

    def plain() -> Decode:
        tensors = made()

        def decode(z: Tensor) -> Tensor:
            ws = plain_stylegan_xl.layers_of(z, None, settings, [], tensors)
            return (plain_stylegan_xl.synthesised(ws, settings, [], tensors) + 1) / 2

        return decode

    return Contest("stylegan-xl", what, dim, batch, lambda: build("stylegan-xl", settings, made()).decode, plain)


CONTESTS = (
    stylegan2("tiny: 32 channels, 32x32", 8, side=32, channels=32, dim=64),
    stylegan2("tiny: 32 channels, 32x32", 64, side=32, channels=32, dim=64),
    stylegan2("256 channels, 32x32", 8, side=32, channels=256, dim=512),
    stylegan2("256 channels, 32x32", 32, side=32, channels=256, dim=512),
    stylegan2("256 channels, 64x64", 8, side=64, channels=256, dim=512),
    stylegan_xl("tiny: 32 channels, 7 layers, 32x32", 8, side=32, channels=32, dim=64, layers=7),
    stylegan_xl("256 channels, 10 layers, 32x32", 4, side=32, channels=256, dim=64, layers=10),
    stylegan_xl("256 channels, 10 layers, 64x64", 2, side=64, channels=256, dim=64, layers=10),
)


def step(decode: Decode, z: Tensor) -> Tensor:
    """The gradient in z of the sum of the images' squares."""
    leaf = z.clone().requires_grad_()
    return torch.autograd.grad(decode(leaf).square().sum(), leaf)[0]


def timed(decode: Decode, z: Tensor) -> float:
    """Seconds of processor time of a step."""
    began = time.thread_time()
    step(decode, z)
    return time.thread_time() - began


def shares(decode: Decode, z: Tensor) -> tuple[float, float]:
    """The shares of a step's time that go into convolutions between channels and into filters."""
    with torch.autograd.profiler.profile(record_shapes=True) as profile:
        step(decode, z)
    events = profile.key_averages(group_by_input_shape=True)
    total = sum(event.self_cpu_time_total for event in events)
    between, within = 0.0, 0.0
    for event in events:
        if "convolution" in event.key and not event.key.endswith("Backward0"):
            images, kernel = event.input_shapes[1:3] if "backward" in event.key else event.input_shapes[:2]
            if len(kernel) == 4 and kernel[1] == 1 and images[1] > 1:
                within += event.self_cpu_time_total
            else:
                between += event.self_cpu_time_total
        elif event.key in FILTER_PRODUCTS:
            within += event.self_cpu_time_total
    return between / total, within / total


def rows(contests: list[Contest], rounds: int) -> Iterator[str]:
    """The table, a row at a time."""
    yield "| family | model | batch | plain, s | ours, s | plain / ours | convolutions | filters |"
    yield "|---|---|---|---|---|---|---|---|"
    for contest in contests:
        ours, plain = contest.ours(), contest.plain()
        z = torch.randn(contest.batch, contest.z_dim, generator=torch.Generator().manual_seed(1))
        check_same(contest, step(ours, z), step(plain, z))  # the first of each, which is slower, is not timed
        taken = torch.tensor([[timed(plain, z), timed(ours, z)] for _ in range(rounds)], dtype=torch.float64)
        ratio = float((taken[:, 0] / taken[:, 1]).median())
        slow, quick = taken.median(dim=0).values.tolist()
        between, within = shares(ours, z)
        yield (
            f"| {contest.family} | {contest.what} | {contest.batch} | {slow:.3f} | {quick:.3f} | {ratio:.1f} | "
            f"{between:.0%} | {within:.0%} |"
        )


def check_same(contest: Contest, found: Tensor, wanted: Tensor) -> None:
    """A time says nothing where the gradients differ. Raises SystemExit."""
    apart = float((found - wanted).abs().max() / wanted.abs().max())
    if not apart < 1e-2:
        raise SystemExit(f"{contest.family}, {contest.what}: gradients are {apart:.1%} of the largest apart")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=sorted({contest.family for contest in CONTESTS}), help="default: both")
    parser.add_argument("--tiny", action="store_true", help="the tiny models alone")
    parser.add_argument("--rounds", type=int, default=5, help="timings, of which the median counts (default: 5)")
    parser.add_argument("--write", type=Path, help="put the report into that page, besides on the standard output")
    options = parser.parse_args()
    torch.set_num_threads(1)
    chosen = [
        contest
        for contest in CONTESTS
        if options.only in (None, contest.family) and (not options.tiny or contest.what.startswith("tiny"))
    ]
    lines = [
        "# Speed of the StyleGAN families",
        "",
        "Written by `benchmarks/speed/stylegan.py`: processor time of a forward and backward pass from codes z to the "
        "gradient in them, random weights, beside a plain transcription of the formulas; shares of the family's own "
        f"time in convolutions and in filters. One thread, torch {torch.__version__}.",
        "",
    ]
    print("\n".join(lines))
    for row in rows(chosen, options.rounds):
        print(row, flush=True)
        lines.append(row)
    if options.write:
        write_part(options.write, lines)


if __name__ == "__main__":
    main()
