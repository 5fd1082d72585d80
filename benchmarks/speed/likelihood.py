"""What likelihood costs: bookkeeping beside the bare generator, and the gap of the bounds at equal evaluations.

    python benchmarks/speed/likelihood.py --model fashion-dcgan
    python benchmarks/speed/likelihood.py --only overhead --evaluations 300 --rounds 1
    python benchmarks/speed/likelihood.py --write docs/speed.md

Everything is measured in one run on one thread. The bookkeeping is the time of an estimate over that of as many bare
forward and backward passes at the same batch widths, made in turn with its own so that both meet the same machine;
processor time of this thread stands beside wall time, since other programs may run. What a sampler spends on Jacobians
is counted as it counts them, a product a generator evaluation, and its bare passes are as wide as the batch. A fully
connected decoder stands beside the model to show what the bookkeeping is where the network costs next to nothing.
The gap is that of images simulated from the model, tuning left out of the evaluations.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import torch
from report import write_part
from torch import Tensor, nn

from preimage.harness.cards import ImageSpec
from preimage.harness.generator import Generator, LatentSpace, prepare
from preimage.harness.loading import load
from preimage.harness.plugins import Registry, Sources
from preimage.harness.priors import StandardNormal
from preimage.harness.samplers.bounds import gap_of
from preimage.harness.samplers.curvature import Curvature, chart_metric, curvature_of
from preimage.harness.samplers.interface import Estimate, Exact, Sampler
from preimage.harness.samplers.laplace import Laplace
from preimage.harness.samplers.likelihood import Likelihood
from preimage.harness.samplers.prior_path import PriorPath
from preimage.harness.samplers.published import Published
from preimage.harness.samplers.simulate import simulate
from preimage.harness.samplers.stepping import ENTRIES
from preimage.harness.streams import Streams, seed_of

DRAWS = 64
TUNING = 8  # images that steps are tuned on


class Decoder(Generator):
    """A fully connected decoder of the size that is usual on MNIST, 50-200-200-784; its weights are drawn."""

    def __init__(self) -> None:
        super().__init__()
        sizes = (50, 200, 200, 784)
        layers: list[nn.Module] = []
        for given, wanted in pairwise(sizes):
            layers += [nn.Linear(given, wanted), nn.ELU()]
        self.net = nn.Sequential(*layers[:-1], nn.Sigmoid())
        self.spaces = {"z": LatentSpace("z", sizes[0], StandardNormal())}
        self.image, self.num_classes = ImageSpec(1, 28, 28), 0

    def decode(self, code: Tensor, label: Tensor | None = None, *, space: str = "z") -> Tensor:
        images: Tensor = self.net(code)
        return images.reshape(-1, *self.image)


class Bench(NamedTuple):
    """What is measured on: the prepared generator, its curvature, the noise."""

    name: str
    generator: Generator
    curve: Curvature
    sigma2: float


def streams(count: int, *purpose: str | int) -> Streams:
    """Streams of a purpose."""
    return Streams([seed_of(*purpose, i) for i in range(count)])


def prepared(name: str, generator: Generator, sigma2: float) -> Bench:
    """The model with its curvature."""
    drawn = simulate(generator, streams(DRAWS, "curvature"), sigma2)
    matrix = chart_metric(generator, drawn.u).matrix.unsqueeze(0)
    return Bench(name, generator, curvature_of(matrix, math.prod(generator.image), sigma2), sigma2)


class Paired(Likelihood):
    """A likelihood that makes and times bare forward and backward passes of the same width beside its own."""

    def __init__(self, bench: Bench, target: Tensor) -> None:
        super().__init__(bench.generator, target, bench.sigma2)
        self.spent = torch.zeros(3, dtype=torch.float64)

    def __call__(self, position: Tensor) -> tuple[Tensor, Tensor]:
        self.bare(position.flatten(0, 1))
        return super().__call__(position)

    def images(self, position: Tensor) -> Tensor:
        """Images alone: the bare pass is forward only."""
        began = _clocks()
        with torch.no_grad():
            self.generator.decode(position.flatten(0, 1))
        self.spent += torch.cat([_clocks() - began, torch.tensor([float(position[..., 0].numel())])])
        return super().images(position)

    def bare(self, codes: Tensor) -> None:
        """One bare pass."""
        began = _clocks()
        leaf = codes.clone().requires_grad_()
        images = self.generator.decode(leaf)
        target = self.target.repeat_interleave(len(codes) // len(self.target), dim=0)
        loss = (images - target).square().flatten(1).sum(dim=1).sum()
        torch.autograd.grad(loss, leaf)
        self.spent += torch.cat([_clocks() - began, torch.tensor([float(len(codes))])])


def overhead(benches: list[Bench], options: argparse.Namespace) -> list[str]:
    """The table of bookkeeping: an estimate over bare passes made in turn with its own; the median of some rounds."""
    images, evaluations = options.images, options.evaluations
    rows = [
        f"| estimate of {images} images, 4 chains | evaluations per chain | bare, processor | ours, processor "
        "| ratio | ratio, wall |",
        "|---|---|---|---|---|---|",
    ]
    steps = {f"{path}_step_{i:02d}": 0.5 for path in ("prior", "laplace") for i in range(ENTRIES)}
    tuned = steps | {"b0": 0.1, "share": 0.9}
    for bench in benches:
        target = simulate(bench.generator, streams(images, "images"), bench.sigma2).image
        for sampler in samplers(evaluations):
            taken = []
            for round_ in range(options.rounds):
                like, began = Paired(bench, target), _clocks()
                found = sampler.estimate(like, bench.curve, tuned, streams(images, "chains", round_))
                ours = _clocks() - began - like.spent[:2]
                width = images * sampler.chains
                for _ in range(round((int(found.evaluations.sum()) - float(like.spent[2])) / width)):
                    like.bare(torch.randn(width, bench.generator.native.dim))
                taken.append(torch.cat([like.spent[:2], ours]))
            bare, _, mine, _ = torch.stack(taken).median(dim=0).values.tolist()
            ratio, wall = torch.stack([t[2:] / t[:2] for t in taken]).median(dim=0).values.tolist()
            name = f"{bench.name}, {sampler.name}"
            rows.append(f"| {name} | {evaluations} | {bare:.2f} s | {mine:.2f} s | {ratio:.3f} | {wall:.3f} |")
            print(rows[-1], flush=True)
    return rows


def samplers(evaluations: int) -> list[Sampler]:
    """The three at the same cost."""
    return [Published(evaluations), PriorPath(evaluations), Laplace(evaluations)]


def gaps(bench: Bench, options: argparse.Namespace) -> list[str]:
    """The table of gaps: both bounds on simulated images at equal evaluations, and the time of the lower bound."""
    rows = [
        f"| {bench.name}, gap in nats at evaluations per chain | " + " | ".join(map(str, options.budget)) + " |",
        "|---|" + "---|" * len(options.budget),
    ]
    made = simulate(bench.generator, streams(options.images, "images"), bench.sigma2)
    cells: dict[str, list[str]] = {}
    for budget in options.budget:
        for sampler in samplers(budget):
            tuned = tuning(bench, sampler)
            like = Likelihood(bench.generator, made.image, bench.sigma2)
            exact = Exact(made.u, streams(options.images, "reverse chains", sampler.name))
            own, began = streams(options.images, "chains", sampler.name), time.thread_time()
            found = sampler.estimate(like, bench.curve, tuned, own, exact)
            cells.setdefault(sampler.name, []).append(cell(found, time.thread_time() - began))
            print(f"{sampler.name} at {budget}: {cells[sampler.name][-1]}", flush=True)
    rows += [f"| {name} | {' | '.join(found)} |" for name, found in cells.items()]
    return rows


def tuning(bench: Bench, sampler: Sampler) -> Mapping[str, float]:
    """What is tuned for the model, on images of their own."""
    made = simulate(bench.generator, streams(TUNING, "tuning images"), bench.sigma2)
    like = Likelihood(bench.generator, made.image, bench.sigma2)
    exact = Exact(made.u, streams(TUNING, "tuning back", sampler.name))
    return sampler.tune(like, bench.curve, streams(TUNING, "tuning", sampler.name), exact)


def cell(found: Estimate, seconds: float) -> str:
    """Mean gap with its error, median, and the processor time of both bounds."""
    assert found.upper is not None  # exact codes were given
    gap = gap_of(found.lower, found.upper)
    return f"{gap.mean:.2f} ± {gap.error:.2f}, median {gap.median:.2f} ({seconds:.0f} s)"


def _clocks() -> Tensor:
    """Processor seconds of this thread and wall seconds, [2] float64."""
    return torch.tensor([time.thread_time(), time.perf_counter()], dtype=torch.float64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="fashion-dcgan", help="an unconditional model (default: %(default)s)")
    parser.add_argument("--plugin", action="append", default=[], help="a plug-in file to load first")
    parser.add_argument("--sigma2", type=float, default=0.01, help="noise variance per pixel (default: %(default)s)")
    parser.add_argument("--images", type=int, default=16, help="simulated images (default: %(default)s)")
    parser.add_argument("--evaluations", type=int, default=2500, help="per chain, of the bookkeeping (default: 2500)")
    parser.add_argument("--rounds", type=int, default=3, help="timings, of which the median counts (default: 3)")
    parser.add_argument("--budget", type=int, nargs="+", default=[1000, 2500], help="evaluations per chain of the gaps")
    parser.add_argument("--only", choices=("overhead", "gaps"), help="default: both")
    parser.add_argument("--write", type=Path, help="put the report into that page, besides on the standard output")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)  # of the drawn decoder
    registry = Registry(Sources(plugins=tuple(options.plugin)))
    model = prepared(options.model, load(registry.models[options.model], registry), options.sigma2)
    lines = [
        "# Speed of likelihood",
        "",
        f"Written by `benchmarks/speed/likelihood.py`: `{options.model}`, {options.images} images simulated from "
        f"it with a noise variance of {options.sigma2}, 4 chains each in one batch, "
        f"one thread, torch {torch.__version__}.",
        "",
    ]
    print("\n".join(lines))
    if options.only != "gaps":
        decoder = prepared("a decoder 50-200-200-784", prepare(Decoder()), options.sigma2)
        lines += ["## Bookkeeping", "", *overhead([model, decoder], options), ""]
    if options.only != "overhead":
        lines += ["## Gap at equal evaluations", "", *gaps(model, options), ""]
    if options.write:
        write_part(options.write, lines)


if __name__ == "__main__":
    main()
