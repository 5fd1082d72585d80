"""BDMC gaps of the three samplers at equal gradient evaluations, on images simulated from each model.

    python -m preimage.benchmarks.likelihood_study [--model fashion-cgan] [--images 16] [--seeds 3] [--decoder DIR]

Prints one line per model, budget, sampler and seed: mean gap with standard error, median, 90th percentile, largest.
``--decoder``: a folder with decoder.npz, an MNIST decoder (fully connected, ELU, sigmoid) that has no card.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from preimage.harness.cards import ImageSpec
from preimage.harness.generator import Generator, LatentSpace, prepare
from preimage.harness.plugins import Registry, Sources
from preimage.harness.priors import StandardNormal
from preimage.harness.samplers.bounds import Gap, gap_of
from preimage.harness.samplers.curvature import Curvature, chart_metric, curvature_of
from preimage.harness.samplers.interface import Estimate, Exact, Sampler
from preimage.harness.samplers.laplace import Laplace
from preimage.harness.samplers.likelihood import Likelihood
from preimage.harness.samplers.prior_path import PriorPath
from preimage.harness.samplers.published import Published
from preimage.harness.samplers.simulate import simulate
from preimage.harness.samplers.stepping import ENTRIES
from preimage.harness.streams import Streams, seed_of
from preimage.harness.world import World

MODELS = ("fashion-cgan", "fashion-dcgan", "fashion-cvae", "fashion-glo-8192")
SIGMA2 = {"fashion-cgan": 0.015, "fashion-dcgan": 0.01, "fashion-cvae": 0.015, "fashion-glo-8192": 0.01}
"""Of the order of their recovery errors on training images."""
DRAWS = 64
SAMPLERS: dict[str, Callable[[int], Sampler]] = {"published": Published, "prior-path": PriorPath, "laplace": Laplace}


class Decoder(Generator):
    """``sigmoid(W2 elu(W1 elu(W0 z)))``: a decoder that is given as its three layers."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        with np.load(folder / "decoder.npz") as file:
            arrays = {name: torch.from_numpy(file[name]) for name in file.files if name[0] in "Wb"}
            self.sigma2 = float(file["sigma2"])
        self.layers = torch.nn.ModuleList()
        for i in range(3):
            layer = torch.nn.Linear(arrays[f"W{i}"].shape[1], arrays[f"W{i}"].shape[0])
            layer.load_state_dict({"weight": arrays[f"W{i}"], "bias": arrays[f"b{i}"]})
            self.layers.append(layer)
        self.spaces = {"z": LatentSpace("z", arrays["W0"].shape[1], StandardNormal())}
        self.image, self.num_classes = ImageSpec(1, 28, 28), 0

    def decode(self, code: Tensor, label: Tensor | None = None, *, space: str = "z") -> Tensor:
        first, second, last = self.layers
        hidden = torch.nn.functional.elu(second(torch.nn.functional.elu(first(code))))
        return torch.sigmoid(last(hidden)).reshape(-1, *self.image)


class Case(NamedTuple):
    """Simulated images of a model, its curvature, what was tuned for it, and where the images come from."""

    likelihood: Likelihood
    exact: Tensor
    curve: Curvature
    tuned: dict[str, float]


def prepare_case(generator: Generator, sigma2: float, images: int, seed: int, budget: int) -> Case:
    """Metric and steps from streams of their own, then the images to be measured."""

    def drawn(name: str, count: int) -> tuple[Likelihood, Tensor, Tensor | None]:
        streams = Streams([seed_of(seed, name, i) for i in range(count)])
        label = streams.integers(generator.num_classes) if generator.num_classes else None
        made = simulate(generator, streams, sigma2, label)
        return Likelihood(generator, made.image, sigma2, label), made.u, label

    _, u, label = drawn("metric", DRAWS)
    matrix = chart_metric(generator, u, label).matrix
    curve = curvature_of(matrix.unsqueeze(0), math.prod(generator.image), sigma2)
    tuning, codes, _ = drawn("tuning", 8)
    chains, back = (Streams([seed_of(seed, name, i) for i in range(8)]) for name in ("tuning chains", "tuning back"))
    tuned = Laplace(budget).tune(tuning, curve, chains, Exact(codes, back))
    measured, exact, _ = drawn("images", images)
    return Case(measured, exact, curve, tuned)


def estimate(sampler: str, case: Case, budget: int, seed: int) -> Estimate:
    """Both bounds of the images of a case."""
    streams = Streams([seed_of(seed, "chains", sampler, i) for i in range(len(case.likelihood))])
    back = Streams([seed_of(seed, "reverse chains", sampler, i) for i in range(len(case.likelihood))])
    made = SAMPLERS[sampler](budget)
    return made.estimate(case.likelihood, case.curve, case.tuned, streams, Exact(case.exact, back))


def line(name: str, budget: int, sampler: str, seed: int, found: Estimate, seconds: float) -> str:
    assert found.upper is not None  # exact codes were given
    gap: Gap = gap_of(found.lower, found.upper)
    acceptance = float(found.acceptance.mean())
    spent = int(found.evaluations[0]) / found.log_weight.shape[1]
    return (
        f"{name:18} {budget:5} {sampler:10} seed {seed} gap {gap.mean:8.2f} +- {gap.error:6.2f} "
        f"median {gap.median:8.2f} 90% {gap.tenth:8.2f} max {gap.largest:8.2f} lower {float(found.lower.mean()):9.2f} "
        f"upper {float(found.upper.mean()):9.2f} acceptance {acceptance:.2f} spent {spent:6.0f} {seconds:6.1f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", action="append", help="a model by name; more than once for several")
    parser.add_argument("--decoder", type=Path, help="a folder with decoder.npz")
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budget", type=int, action="append", help="gradient evaluations per chain")
    parser.add_argument("--sampler", action="append", help="published, prior-path, laplace")
    given = parser.parse_args()
    torch.set_num_threads(1)
    world = World(Registry(Sources()))
    cases: list[tuple[str, Generator, float]] = []
    if given.decoder:
        decoder = Decoder(given.decoder)
        cases.append((given.decoder.name, prepare(decoder), decoder.sigma2))
    names = given.model or ([] if given.decoder else MODELS)
    cases += [(name, prepare(world.generator(name)), SIGMA2.get(name, 0.01)) for name in names]
    for name, generator, sigma2 in cases:
        for seed in range(given.seeds):
            for budget in given.budget or (1000, 2500):
                case = prepare_case(generator, sigma2, given.images, seed, budget)
                steps = [round(case.tuned[f"{path}_step_{ENTRIES - 1}"], 2) for path in ("prior", "laplace")]
                print(f"{name}: b0 {case.tuned['b0']}, last steps {steps}", flush=True)
                for sampler in given.sampler or SAMPLERS:
                    began = time.perf_counter()
                    found = estimate(sampler, case, budget, seed)
                    print(line(name, budget, sampler, seed, found, time.perf_counter() - began), flush=True)


if __name__ == "__main__":
    main()
