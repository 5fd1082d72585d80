"""What recovery costs: bookkeeping beside the bare generator, and error against generator evaluations per image.

    python benchmarks/speed/recovery.py --model fashion-dcgan --images 64
    python benchmarks/speed/recovery.py --images 16 --only overhead
    python benchmarks/speed/recovery.py --write docs/speed.md

Everything is measured in one run on one thread. The bookkeeping is the time of L-BFGS in the model's metric over that of
as many bare forward and backward passes at the same batch widths, and is taken in processor time of this thread beside
wall time, since other programs may run. Evaluations are counted per image, every trial of a line search and every restart
included; left out are the 500 samples that starts are chosen from, which all images share, and the metric, which is
measured once per model (its own row).
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
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


class Bench(NamedTuple):
    """What is measured on: the prepared generator, targets [n, c, h, w], the metric, and the seconds it took."""

    generator: Generator
    target: Tensor
    metric: Metric
    seconds: float

    def energy(self) -> RecoveryEnergy:
        """The energy of all targets, metric included."""
        return RecoveryEnergy(self.generator, self.target, SquaredL2(), preconditioner=MetricPreconditioner([self.metric]))

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
        code, seen = start[i:i + 1].clone().requires_grad_(), list[Tensor]()
        optimiser = torch.optim.LBFGS([code], max_iter=steps, max_eval=steps, line_search_fn="strong_wolfe",
                                      tolerance_grad=0.0, tolerance_change=0.0)

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
    quiet = dataclasses.replace(Lbfgs(), steps=750)
    contests: list[tuple[str, Callable[[], list[Tensor]]]] = [
        ("published: Adam, lr 0.05, cosine, 4 x 750", lambda: restarted(bench, Adam(), 4, NEVER)),
        ("L-BFGS, torch's own, strong Wolfe, 1 x 300", lambda: torch_lbfgs(bench, 300)),
        ("L-BFGS without the metric, 1 x 750", lambda: restarted(bench, dataclasses.replace(quiet, metric=False), 1, NEVER)),
        ("Adam, whitened, cosine, 1 x 200", lambda: restarted(bench, Adam(steps=200, whitened=True), 1, NEVER)),
        ("Adam, whitened, cosine, 4 x 750", lambda: restarted(bench, Adam(whitened=True), 4, NEVER)),
        ("L-BFGS in the metric, 4 x 750", lambda: restarted(bench, quiet, 4, NEVER)),
        ("L-BFGS in the metric, 10 x 300", lambda: restarted(bench, Lbfgs(steps=300), 10, NEVER)),
        ("L-BFGS in the metric, 15 x 200, leaving when converged", lambda: restarted(bench, Lbfgs(), 15, None)),
        ("L-BFGS in the metric, 30 x 100", lambda: restarted(bench, Lbfgs(steps=100), 30, NEVER)),
    ]
    rows = ["| median squared error x 1000 after evaluations per image | " + " | ".join(map(str, MARKS)) + " | mean, end | spent |",
            "|---|" + "---|" * (len(MARKS) + 2)]
    for name, run in contests:
        traces = run()
        longest = max(len(trace) for trace in traces)
        spent = sum(len(trace) for trace in traces) / len(traces)
        cells = [f"{1e3 * best_after(traces, mark).median():.3f}" if mark <= longest or mark == _next(longest) else "-"
                 for mark in MARKS]
        rows.append(f"| {name} | {' | '.join(cells)} | {1e3 * best_after(traces, longest).mean():.3f} | {spent:.0f} |")
        print(rows[-1], flush=True)
    return rows


def _next(longest: int) -> int:
    """The first mark at or past the longest run: what was found in fewer evaluations holds there too."""
    return next((mark for mark in MARKS if mark >= longest), MARKS[-1])


def overhead(bench: Bench, rounds: int) -> list[str]:
    """The table of bookkeeping: solver over bare passes at the same widths, best of some rounds each."""
    rows = ["| recovery of one batch | evaluations | bare passes | solver | ratio, processor | ratio, wall |", "|---|---|---|---|---|---|"]
    for name, solver, stop in (("L-BFGS in the metric, leaving when converged", Lbfgs(), None),
                               ("L-BFGS in the metric, full width", Lbfgs(steps=60), NEVER),
                               ("Adam, full width", Adam(steps=60), NEVER)):
        ours, bare, widths = [], [], list[int]()
        start = bench.start(0)
        for _ in range(rounds):
            energy = Recorded(bench.energy())
            ours.append(_timed(lambda e=energy, s=solver, p=stop: minimise(e, s, start, stop=p)))
            widths = [len(image) for image, _ in energy.log]
            bare.append(_timed(lambda w=widths: _bare(bench, start, w)))
        cpu, wall = ([min(times[i] for times in them) for them in (ours, bare)] for i in (0, 1))
        rows.append(f"| {name} | {sum(widths)} | {bare_text(cpu[1])} | {bare_text(cpu[0])} | {cpu[0] / cpu[1]:.3f} "
                    f"| {wall[0] / wall[1]:.3f} |")
        print(rows[-1], flush=True)
    return rows


def bare_text(seconds: float) -> str:
    """Seconds, for a table."""
    return f"{seconds:.2f} s"


def _bare(bench: Bench, start: Tensor, widths: Sequence[int]) -> None:
    for width in widths:
        code = start[:width].clone().requires_grad_()
        loss = (bench.generator.decode(code) - bench.target[:width]).square().flatten(1).mean(dim=1).sum()
        torch.autograd.grad(loss, code)


def _timed(run: Callable[[], object]) -> tuple[float, float]:
    """Processor seconds of this thread and wall seconds."""
    cpu, wall = time.thread_time(), time.perf_counter()
    run()
    return time.thread_time() - cpu, time.perf_counter() - wall


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
    parser.add_argument("--rounds", type=int, default=3, help="of each timing, the best counts (default: %(default)s)")
    parser.add_argument("--only", choices=("overhead", "convergence"), help="default: both")
    parser.add_argument("--write", type=Path, help="put the report there, besides on the standard output")
    options = parser.parse_args()
    torch.set_num_threads(1)
    bench = prepared(options)
    lines = [
        "# Speed of recovery", "",
        f"Written by `benchmarks/speed/recovery.py`: model `{options.model}`, {options.images} test images of "
        f"`{options.dataset or 'its own data set'}`, one thread, torch {torch.__version__}.", "",
        f"The metric: {bench.metric.evaluations} {bench.metric.products} products, {bench.seconds:.1f} s of processor time, "
        "once per model.", ""]
    print("\n".join(lines))
    if options.only != "convergence":
        lines += ["## Bookkeeping", "", *overhead(bench, options.rounds), ""]
    if options.only != "overhead":
        lines += ["## Error against evaluations", "", *convergence(bench), ""]
    if options.write:
        options.write.write_text("\n".join(lines))


if __name__ == "__main__":
    main()
