"""What recovery costs: bookkeeping beside the bare generator, and error against generator evaluations per image.

    python benchmarks/speed/recovery.py --model fashion-dcgan --images 64
    python benchmarks/speed/recovery.py --images 16 --only overhead
    python benchmarks/speed/recovery.py --write docs/speed.md

Everything is measured in one run on one thread. The bookkeeping is the time of a solver over that of as many bare
forward and backward passes at the same batch widths, made in turn with its own so that both meet the same machine;
processor time of this thread stands beside wall time, since other programs may run. Evaluations are counted per image,
every trial of a line search and every restart included; left out are the 500 samples that starts are chosen from, which
all images share, and the metric, measured once per model.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from report import write_part
from torch import Tensor

from preimage.harness.distances import SquaredL2
from preimage.harness.generator import Generator
from preimage.harness.loading import load
from preimage.harness.plugins import Registry, Sources
from preimage.harness.solvers import Adam, Lbfgs
from preimage.harness.solvers.energy import RecoveryEnergy
from preimage.harness.solvers.interface import Solver, Value
from preimage.harness.solvers.metric import DRAWS, Metric, MetricPreconditioner, measure_metric
from preimage.harness.solvers.minimise import Stop, minimise
from preimage.harness.streams import Streams, seed_of

SAMPLES = 500
MARKS = (50, 100, 150, 200, 300, 750, 1500, 3000)
NEVER = Stop(patience=0)
WHITE = Adam(lr=0.2, steps=200, whitened=True)


class Bench(NamedTuple):
    """What is measured on: the prepared generator, targets [n, c, h, w], the metric, and the seconds it took."""

    generator: Generator
    target: Tensor
    metric: Metric
    seconds: float

    def energy(self) -> RecoveryEnergy:
        """The energy of all targets, metric included."""
        metric = MetricPreconditioner([self.metric])
        return RecoveryEnergy(self.generator, self.target, SquaredL2(), preconditioner=metric)

    def start(self, restart: int) -> Tensor:
        """For each target the nearest of the restart's 500 samples, [n, dim]."""
        codes = self.draws(SAMPLES, "pool", restart)
        with torch.no_grad():
            images = torch.cat([self.generator.decode(part) for part in torch.split(codes, 64)])
        return codes[torch.cdist(self.target.flatten(1), images.flatten(1)).argmin(dim=1)]

    def draws(self, count: int, *purpose: str | int) -> Tensor:
        """Codes from the prior, [count, dim]."""
        return draws(self.generator, count, *purpose)


def draws(generator: Generator, count: int, *purpose: str | int) -> Tensor:
    """Codes from the generator's prior, [count, dim]."""
    prior, dim = generator.native.prior, generator.native.dim
    if prior is None:
        raise SystemExit("the model's native space has no prior")
    return prior.sample(Streams([seed_of(*purpose, i) for i in range(count)]), dim)


class Recorded:
    """An energy that notes every value of every image, and every batch width."""

    def __init__(self, energy: RecoveryEnergy) -> None:
        self.energy, self.image = energy, torch.arange(len(energy.target))
        self.preconditioner, self.floor = energy.preconditioner, energy.floor
        self.log: list[tuple[Tensor, Tensor]] = []

    def __call__(self, code: Tensor) -> Value:
        value = self.energy(code)
        self.log.append((self.image, value.energy))
        return value

    def select(self, index: Tensor) -> Recorded:
        chosen = Recorded(self.energy.select(index))
        chosen.image, chosen.log = self.image[index], self.log
        return chosen

    def traces(self, evaluations: Tensor) -> list[Tensor]:
        """For each image its energies in order, as many as it spent."""
        found: list[list[Tensor]] = [[] for _ in evaluations]
        for image, energy in self.log:
            for i, value in zip(image.tolist(), energy, strict=True):
                found[i].append(value)
        return [torch.stack(values)[:spent] for values, spent in zip(found, evaluations.tolist(), strict=True)]


def restarted(bench: Bench, solver: Solver[Any], restarts: int, stop: Stop | None) -> list[Tensor]:
    """The energies of each image over all restarts, in order."""
    runs = []
    for restart in range(restarts):
        energy = Recorded(bench.energy())
        runs.append(energy.traces(minimise(energy, solver, bench.start(restart), stop=stop).evaluations))
    return [torch.cat(parts) for parts in zip(*runs, strict=True)]


def torch_lbfgs(bench: Bench, steps: int) -> list[Tensor]:
    """torch's own L-BFGS with strong Wolfe line search, one image at a time."""
    start, found = bench.start(0), []
    for i in range(len(start)):
        energy = bench.energy().select(torch.tensor([i]))
        code, seen = start[i : i + 1].clone().requires_grad_(), list[Tensor]()
        optimiser = torch.optim.LBFGS(
            [code],
            max_iter=steps,
            max_eval=steps,
            line_search_fn="strong_wolfe",
            tolerance_grad=0.0,
            tolerance_change=0.0,
        )

        def closure(energy: RecoveryEnergy = energy, code: Tensor = code, seen: list[Tensor] = seen) -> Tensor:
            value = energy(code)
            code.grad = value.gradient
            seen.append(value.energy[0])
            return value.energy[0]

        optimiser.step(closure)  # type: ignore[no-untyped-call]  # torch has no types here
        found.append(torch.stack(seen)[:steps])
    return found


def best_after(traces: Sequence[Tensor], evaluations: int) -> Tensor:
    """The best energy of each image within so many evaluations, [n]."""
    return torch.stack([trace[:evaluations].nan_to_num(torch.inf).amin() for trace in traces])


def convergence(bench: Bench) -> list[str]:
    """The table of errors against evaluations."""
    plain = Lbfgs(metric=False, steps=750)
    contests: list[tuple[str, Callable[[], list[Tensor]]]] = [
        ("published: Adam, lr 0.05, cosine, 4 x 750", lambda: restarted(bench, Adam(), 4, NEVER)),
        ("L-BFGS, torch's own, strong Wolfe, 1 x 300", lambda: torch_lbfgs(bench, 300)),
        ("L-BFGS without the metric, 1 x 750", lambda: restarted(bench, plain, 1, NEVER)),
        ("Adam, whitened, lr 0.2, cosine, 1 x 200", lambda: restarted(bench, WHITE, 1, NEVER)),
        ("Adam, whitened, lr 0.2, cosine, 15 x 200", lambda: restarted(bench, WHITE, 15, NEVER)),
        ("L-BFGS in the metric, 4 x 750", lambda: restarted(bench, Lbfgs(steps=750), 4, NEVER)),
        ("L-BFGS in the metric, 30 x 100", lambda: restarted(bench, Lbfgs(steps=100), 30, NEVER)),
        ("L-BFGS in the metric, 15 x 200, each leaving when converged", lambda: restarted(bench, Lbfgs(), 15, None)),
    ]
    marks = " | ".join(map(str, MARKS))
    rows = [
        f"| median squared error x 1000 after evaluations per image | {marks} | mean, end | spent |",
        "|---|" + "---|" * (len(MARKS) + 2),
    ]
    for name, run in contests:
        traces = run()
        longest = max(len(trace) for trace in traces)
        spent = sum(len(trace) for trace in traces) / len(traces)
        cells = [
            f"{1e3 * best_after(traces, mark).median():.3f}" if mark <= longest or mark == _next(longest) else "-"
            for mark in MARKS
        ]
        rows.append(f"| {name} | {' | '.join(cells)} | {1e3 * best_after(traces, longest).mean():.3f} | {spent:.0f} |")
        print(rows[-1], flush=True)
    return rows


def _next(longest: int) -> int:
    """The first mark at or past the longest run: what was found in fewer evaluations holds there too."""
    return next((mark for mark in MARKS if mark >= longest), MARKS[-1])


class Paired:
    """An energy that makes and times a bare forward and backward pass of the same width beside each of its own."""

    def __init__(self, bench: Bench, energy: RecoveryEnergy, spent: Tensor) -> None:
        self.bench, self.energy, self.spent = bench, energy, spent
        self.preconditioner, self.floor = energy.preconditioner, energy.floor

    def __call__(self, code: Tensor) -> Value:
        began = _clocks()
        leaf = code.clone().requires_grad_()
        images = self.bench.generator.decode(leaf)
        loss = (images - self.bench.target[: len(code)]).square().flatten(1).mean(dim=1).sum()
        torch.autograd.grad(loss, leaf)
        self.spent += torch.cat([_clocks() - began, torch.tensor([float(len(code))])])
        return self.energy(code)

    def select(self, index: Tensor) -> Paired:
        return Paired(self.bench, self.energy.select(index), self.spent)


def overhead(bench: Bench, rounds: int) -> list[str]:
    """The table of bookkeeping: a solver over bare passes made in turn with its own; the median of some rounds."""
    rows = [
        "| recovery of one batch | evaluations | bare, processor | solver, processor | ratio | ratio, wall |",
        "|---|---|---|---|---|---|",
    ]
    start = bench.start(0)
    contests: list[tuple[str, Solver[Any], Stop | None]] = [
        ("L-BFGS in the metric, all images to the end", Lbfgs(steps=60), NEVER),
        ("L-BFGS in the metric, each leaving when converged", Lbfgs(), None),
        ("Adam, all images to the end", Adam(steps=60), NEVER),
    ]
    for name, solver, stop in contests:
        taken = []
        for _ in range(rounds):
            spent, began = torch.zeros(3, dtype=torch.float64), _clocks()
            minimise(Paired(bench, bench.energy(), spent), solver, start, stop=stop)
            taken.append(torch.cat([spent, _clocks() - began - spent[:2]]))
        bare, _, evaluations, ours, _ = torch.stack(taken).median(dim=0).values.tolist()
        ratio, wall = torch.stack([t[3:] / t[:2] for t in taken]).median(dim=0).values.tolist()
        rows.append(f"| {name} | {evaluations:.0f} | {bare:.2f} s | {ours:.2f} s | {ratio:.3f} | {wall:.3f} |")
        print(rows[-1], flush=True)
    return rows


def _clocks() -> Tensor:
    """Processor seconds of this thread and wall seconds, [2] float64."""
    return torch.tensor([time.thread_time(), time.perf_counter()], dtype=torch.float64)


def prepared(options: argparse.Namespace) -> Bench:
    """The model, the images and the metric of the command line."""
    registry = Registry(Sources(plugins=tuple(options.plugin)))
    card = registry.models[options.model]
    generator, dataset = load(card, registry), registry.dataset(options.dataset or card.dataset)
    target, _ = dataset.read("test", range(options.images))
    began = time.thread_time()
    metric = measure_metric(generator, SquaredL2(), draws(generator, DRAWS, "metric"))
    return Bench(generator, target, metric, time.thread_time() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="fashion-dcgan", help="an unconditional model (default: %(default)s)")
    parser.add_argument("--dataset", help="default: the model's own")
    parser.add_argument("--plugin", action="append", default=[], help="a plug-in file to load first")
    parser.add_argument("--images", type=int, default=64, help="test images, one batch (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="timings, of which the median counts (default: 5)")
    parser.add_argument("--curves", type=int, default=32, help="of the images, those of the error curves (default: 32)")
    parser.add_argument("--only", choices=("overhead", "convergence"), help="default: both")
    parser.add_argument("--write", type=Path, help="put the report into that page, besides on the standard output")
    options = parser.parse_args()
    torch.set_num_threads(1)
    bench = prepared(options)
    lines = [
        "# Speed of recovery",
        "",
        f"Written by `benchmarks/speed/recovery.py`: `{options.model}`, the first {options.images} test images of "
        f"{options.dataset or 'its data set'} in one batch ({options.curves} for the errors), one thread, "
        f"torch {torch.__version__}.",
        "",
        f"The metric takes {bench.metric.evaluations} {bench.metric.products}-mode products, {bench.seconds:.1f} s of "
        "processor time, once per model.",
        "",
    ]
    print("\n".join(lines))
    if options.only != "convergence":
        lines += ["## Bookkeeping", "", *overhead(bench, options.rounds), ""]
    if options.only != "overhead":
        few = bench._replace(target=bench.target[: options.curves])
        lines += ["## Error against evaluations", "", *convergence(few), ""]
    if options.write:
        write_part(options.write, lines)


if __name__ == "__main__":
    main()
