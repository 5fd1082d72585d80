"""What nearest neighbours cost: l2 beside faiss and torch.cdist, LPIPS by embedding beside the ``lpips`` package.

    python benchmarks/speed/neighbours.py
    python benchmarks/speed/neighbours.py --only l2 --train 50000 --queries 10000 --rounds 1
    python benchmarks/speed/neighbours.py --write docs/speed.md

All ways are measured in one run, in turn, on one thread; processor time stands beside wall time, since other programs
may run. l2 is searched among random images, which it takes as long as among real ones. LPIPS is measured as
`preimage run` does it, on Fashion-MNIST; the package is called on a sample of pairs, in batches, its time extrapolated.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from report import write_part
from torch import Tensor

from preimage.harness.convnets import ConvNet
from preimage.harness.distances import identity_of
from preimage.harness.limits import Limits
from preimage.harness.nearest import Floats, Indices, Kernel, Part, Search, squares_of
from preimage.harness.perceptual import Lpips
from preimage.harness.plugins import Registry
from preimage.harness.requests import ModelKey, Neighbours
from preimage.harness.world import World

PART = 8192  # training images that ours takes at a time, as it does with 2 GiB
DATA = "fashion-mnist"


class Took(NamedTuple):
    """Seconds of this process."""

    wall: float
    processor: float

    def __add__(self, other: object) -> Took:
        if not isinstance(other, Took):
            return NotImplemented
        return Took(self.wall + other.wall, self.processor + other.processor)


def timed(work: Callable[[], Indices]) -> tuple[Took, Indices]:
    """What some work took, and what it gave."""
    wall, processor = time.perf_counter(), time.process_time()
    given = work()
    return Took(time.perf_counter() - wall, time.process_time() - processor), given


def ours(queries: Floats, rows: Floats, squares: np.ndarray, kernel: Kernel) -> Indices:
    """The nearest rows by our search."""
    search, labels = Search(queries, kernel=kernel), np.zeros(len(rows), dtype=np.int64)
    for start in range(0, len(rows), PART):
        here = slice(start, start + PART)
        search.add(Part(start, rows[here], squares[here], labels[here]))
    return search.index[:, 0]


def by_cdist(queries: Floats, rows: Floats) -> Indices:
    """The nearest rows by torch's distances, a part of the rows at a time."""
    x, parts = torch.from_numpy(queries), torch.split(torch.from_numpy(rows), PART)
    apart = torch.cat([torch.cdist(x, y) for y in parts], dim=1)
    return apart.argmin(dim=1).numpy()


def search_in_l2(options: argparse.Namespace) -> list[str]:
    """The table of l2: each way in turn, blocks of 64 queries as requests have them, and all queries at once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what its bindings say of themselves
        import faiss

    faiss.omp_set_num_threads(1)
    rng = np.random.default_rng(0)
    queries, rows = (rng.random((n, options.width), dtype=np.float32) for n in (options.queries, options.train))
    index = faiss.IndexFlatL2(options.width)
    index.add(rows)
    squares = squares_of(rows)
    ways: dict[str, Callable[[Floats], Indices]] = {
        "faiss `IndexFlatL2`": lambda x: index.search(x, 1)[1][:, 0],
        "ours, with faiss": lambda x: ours(x, rows, squares, "faiss"),
        "ours, without": lambda x: ours(x, rows, squares, "product"),
        "`torch.cdist`": lambda x: by_cdist(x, rows),
    }
    table = [
        f"| l2, {len(queries):,} x {len(rows):,}, {options.width:,} values | wall | processor | to faiss, wall "
        "| to faiss, processor | answers that differ |",
        "|---|---|---|---|---|---|",
    ]
    for size in (64, len(queries)):
        table += _contest(ways, queries, size, options.rounds)
    print("\n".join(table), flush=True)
    return table


def _contest(ways: dict[str, Callable[[Floats], Indices]], queries: Floats, size: int, rounds: int) -> list[str]:
    """The rows of queries in blocks of a size: all ways on each block in turn, the median of some rounds."""
    taken: dict[str, list[Took]] = {name: [] for name in ways}
    found: dict[str, list[Indices]] = {name: [] for name in ways}
    for _ in range(rounds):
        total = dict.fromkeys(ways, Took(0.0, 0.0))
        found = {name: [] for name in ways}
        for start in range(0, len(queries), size):
            for name, way in ways.items():
                took, given = timed(lambda way=way, x=queries[start : start + size]: way(x))  # type: ignore[misc]
                total[name] = total[name] + took
                found[name].append(given)
        for name, took in total.items():
            taken[name].append(took)
    first, exact = next(iter(ways)), np.concatenate(found["ours, without"])
    lines = []
    for name in ways:
        wall, processor = (statistics.median(took[i] for took in taken[name]) for i in (0, 1))
        ratios = [
            statistics.median(took[i] / base[i] for took, base in zip(taken[name], taken[first], strict=True))
            for i in (0, 1)
        ]
        other = int((np.concatenate(found[name]) != exact).sum())
        which = "all at once" if size == len(queries) else f"blocks of {size}"
        lines.append(
            f"| {name}, {which} | {wall:.2f} s | {processor:.2f} s | {ratios[0]:.2f} | {ratios[1]:.2f} | {other} |"
        )
    return lines


def package_on(distance: Lpips) -> Callable[[Tensor, Tensor], Tensor]:
    """The ``lpips`` package with the same weights."""
    import lpips

    backbone = distance.backbone
    assert isinstance(backbone, ConvNet)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it uses names that torchvision has renamed
        reference = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    for part in reference.net.children():
        for name, module in part.named_children():
            module.load_state_dict(backbone.network.get_submodule(name).state_dict())
    return lambda x, y: reference(x, y, normalize=True).flatten()


def search_in_lpips(options: argparse.Namespace) -> list[str]:
    """The table of LPIPS: network passes and seconds, by embedding and pair by pair."""
    registry = Registry()
    distance = registry.distance("lpips-alex")
    assert isinstance(distance, Lpips)
    passes, layers = [0], distance.backbone.layers

    def counted(images: Tensor) -> list[Tensor]:
        passes[0] += len(images)
        return layers(images)

    distance.backbone.layers = counted  # type: ignore[method-assign]  # to be counted
    with tempfile.TemporaryDirectory() as folder:
        world = World(registry, limits=Limits(folder=Path(folder)))
        data = world.data(DATA)
        request = Neighbours(
            model=ModelKey("1nn", ""),
            images=data.split("test"),
            train=data.split("train"),
            train_size=options.lpips_train,
            label="none",
            distance=distance.name,
            distance_identity=identity_of(distance),
        )
        blocks = request.blocks(options.lpips_queries)
        took, nearest = timed(lambda: np.concatenate([request.measure(b, world).values["neighbour"] for b in blocks]))
        images, _ = world.images(request.images, range(options.pairs))
        near, _ = world.images(request.train, nearest[: options.pairs].astype(int).tolist())
    embedded, queries = passes[0], blocks.stop * request.block
    x, y = (torch.nn.functional.interpolate(part, 64, mode="bilinear").expand(-1, 3, -1, -1) for part in (images, near))
    package = package_on(distance)
    with torch.no_grad():
        apart = float((package(x, y) - distance(images, near)).abs().max())

        def pairwise() -> Indices:
            batches = zip(torch.split(x, 64), torch.split(y, 64), strict=True)
            return torch.cat([package(a, b) for a, b in batches]).numpy()

        sample, _ = timed(pairwise)
    pairs = queries * options.lpips_train
    slow = [seconds * pairs / options.pairs for seconds in sample]
    table = [
        f"| LPIPS through AlexNet, {queries:,} x {options.lpips_train:,} images of 28 x 28 | network passes | wall "
        "| processor |",
        "|---|---|---|---|",
        f"| by embedding, as `preimage run` | {embedded:,} | {took.wall:.0f} s | {took.processor:.0f} s |",
        f"| the `lpips` package, pair by pair (extrapolated from {options.pairs:,}) | {2 * pairs:,} "
        f"| {slow[0] / 3600:.1f} h | {slow[1] / 3600:.1f} h |",
        f"| times fewer | {2 * pairs / embedded:,.0f} | {slow[0] / took.wall:,.0f} | {slow[1] / took.processor:,.0f} |",
        "",
        f"Passes: every image once, and both of each pair that was found once more, for its distance. On these "
        f"{options.pairs:,} pairs the two agree to {apart:.1g}.",
    ]
    print("\n".join(table), flush=True)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=int, default=20_000, help="training images in l2 (default: %(default)s)")
    parser.add_argument("--queries", type=int, default=512, help="queries in l2 (default: %(default)s)")
    parser.add_argument("--width", type=int, default=3072, help="values of an image in l2 (default: 3 x 32 x 32)")
    parser.add_argument("--rounds", type=int, default=3, help="timings in l2, of which the median counts (default: 3)")
    parser.add_argument("--lpips-train", type=int, default=8192, help="training images in LPIPS (default: 8192)")
    parser.add_argument("--lpips-queries", type=int, default=1000, help="queries in LPIPS (default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=512, help="pairs that the package is called on (default: 512)")
    parser.add_argument("--only", choices=("l2", "lpips"), help="default: both")
    parser.add_argument("--write", type=Path, help="put the report into that page, besides on the standard output")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = [
        "# Speed of neighbours",
        "",
        f"Written by `benchmarks/speed/neighbours.py`: one thread, torch {torch.__version__}.",
        "",
    ]
    print("\n".join(lines), flush=True)
    if options.only != "lpips":
        lines += [*search_in_l2(options), ""]
    if options.only != "l2":
        lines += [*search_in_lpips(options), ""]
    if options.write:
        write_part(options.write, lines)


if __name__ == "__main__":
    main()
