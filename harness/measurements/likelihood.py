"""The likelihood of images, measured: bounds on log p(x) by annealed importance sampling (METHODS 9, 13)."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from preimage.harness.errors import GeneratorError
from preimage.harness.generator import Generator
from preimage.harness.likelihood_requests import Likelihood, Simulated
from preimage.harness.measurements.curvature import stored_curvature
from preimage.harness.measurements.draws import draw_labels
from preimage.harness.measurements.labels import check_labels, labels_asked
from preimage.harness.measurements.noise import sigma2_of
from preimage.harness.measurements.parts import mixed_parts
from preimage.harness.measurements.tuning import stored_tuning
from preimage.harness.pictures import thumbnails
from preimage.harness.rows import Block
from preimage.harness.samplers.interface import Estimate, Exact
from preimage.harness.samplers.likelihood import Likelihood as LogLikelihood
from preimage.harness.samplers.simulate import simulate
from preimage.harness.streams import Streams, seed_of
from preimage.harness.variation import patch_variation
from preimage.harness.world import World

if TYPE_CHECKING:
    from preimage.harness.rows import Floats

NO_WEIGHT = -1e300
"""The stored log-weight of a chain that has none: rows are finite numbers."""


def measure_likelihood(request: Likelihood, block: int, world: World) -> Block:
    """Bounds on log p(x) of every image of the block, under each label that the request's rule asks for; a row each.
    Of a mixture the bounds of all parts make one row.

    Raises GeneratorError where the generator breaks its contract, or every chain of an image died.
    """
    torch.set_num_threads(request.threads)
    began = time.perf_counter()
    generator, sigma2 = world.measured(request.model), sigma2_of(request.noise, world)
    images = _images_of(request, block, sigma2, world, generator)
    if request.label == "part":
        runs = [_in_every_part(request, images, sigma2, generator, world)]
    else:
        passes = labels_asked(request.label, images.labels, request.labels)
        runs = [_annealed(request, images, label, sigma2, generator, world) for label in passes]
    columns = {name: np.stack([run.values[name] for run in runs], axis=1).reshape(-1) for name in runs[0].values}
    count, first = len(images.pixels), images.indices.start
    columns["true_label"] = np.repeat(_column(images.labels), len(runs))
    columns["variation"] = np.repeat(_column(patch_variation(images.pixels)), len(runs))
    columns["sigma2"] = np.full(count * len(runs), sigma2)
    columns["dimensions"] = np.full(count * len(runs), float(images.pixels[0].numel()))
    shown = {} if isinstance(request.images, Simulated) else {"images": thumbnails(images.pixels)}
    return Block(
        image=np.repeat(np.arange(first, first + count), len(runs)),
        label=np.stack([run.label for run in runs], axis=1).reshape(-1),
        values=columns,
        code=tuple(run.code[i].tobytes() for i in range(count) for run in runs),
        pixels=hashlib.sha256(images.pixels.cpu().numpy().tobytes()).hexdigest(),
        evaluations=int(columns["evaluations"].sum()) + images.evaluations,
        seconds=time.perf_counter() - began,
        pictures=shown,
    )


@dataclass(frozen=True)
class Images:
    """The images of a block: pixels [n, c, h, w], labels [n] (-1: none), evaluations spent on all of them.

    u: coordinates of the codes that they were simulated from, [n, dim]; None where they were not. parts: of a mixture
    the parts that they were simulated by, [n]; 0 where they were not.
    """

    indices: range
    pixels: Tensor
    labels: Tensor
    evaluations: int
    u: Tensor | None = None
    parts: Tensor | None = None


@dataclass(frozen=True)
class Annealed:
    """One pass over a block: values by name [n], codes [n, dim] little-endian float32."""

    label: np.ndarray[tuple[int], np.dtype[np.int64]]
    values: dict[str, Floats]
    code: np.ndarray[tuple[int, int], np.dtype[np.float32]]


def _images_of(request: Likelihood, block: int, sigma2: float, world: World, generator: Generator) -> Images:
    indices = range(block * request.block, (block + 1) * request.block)
    if isinstance(request.images, Simulated):
        seed = request.images.seed
        streams = Streams([seed_of(seed, "simulated", i) for i in indices], world.device)
        of_labels = Streams([seed_of(seed, "simulated label", i) for i in indices], world.device)
        under = draw_labels(generator, of_labels)
        made = simulate(generator, streams, sigma2, under, space=request.space)
        if under is None or request.label == "part":
            labels = torch.full((len(indices),), -1, device=world.device)
            return Images(indices, made.image, labels, len(indices), made.u, under)
        return Images(indices, made.image, under, len(indices), made.u)
    pixels, labels = world.images(request.images, indices)
    own_classes = world.dataset(request.images.dataset).num_classes == request.labels  # an outlier set has others
    if request.label == "true" or (request.label == "every" and own_classes):
        check_labels(labels, request.labels, request.images)
    return Images(range(indices.start, indices.start + len(pixels)), pixels, labels, 0, parts=torch.zeros_like(labels))


def _in_every_part(request: Likelihood, images: Images, sigma2: float, generator: Generator, world: World) -> Annealed:
    """A pass per part of a mixture, as one: the first by the parts that simulated the images, whose codes are known."""
    assert images.parts is not None
    parts = [(images.parts + turn) % request.labels for turn in range(request.labels)]
    others = dataclasses.replace(images, u=None)
    runs = [
        _annealed(request, images if turn == 0 else others, part, sigma2, generator, world)
        for turn, part in enumerate(parts)
    ]
    values, lead = mixed_parts(
        [run.values for run in runs], np.stack([run.label for run in runs]), generator.part_weights
    )
    code = np.stack([run.code for run in runs])[lead, np.arange(len(lead))]
    return Annealed(np.full(len(lead), -1, dtype=np.int64), values, code)


def _annealed(
    request: Likelihood, images: Images, label: Tensor | None, sigma2: float, generator: Generator, world: World
) -> Annealed:
    likelihood = LogLikelihood(generator, images.pixels, sigma2, label, space=request.space)
    curve = stored_curvature(request.curvature, images.pixels[0].numel(), sigma2, label, world)

    def streams(what: str) -> Streams:
        return Streams([seed_of(request.seed, what, i) for i in images.indices], world.device)

    exact = Exact(images.u, streams("back")) if request.bounded and images.u is not None else None
    try:
        found = request.sampler.estimate(
            likelihood, curve, stored_tuning(request.tuning, world), streams("chains"), exact
        )
    except GeneratorError as error:
        first = images.indices.start
        raise GeneratorError(
            f"model {request.model.name!r}, block of images {first} to {first + len(images.pixels) - 1}: {error}"
        ) from error
    values = _values(found)
    values["evaluations"] = _column(likelihood.evaluations)
    if generator.has_log_likelihood:
        closed = generator.log_likelihood(images.pixels, label, sigma2=sigma2, space=request.space)
        values["exact"] = _column(closed)
    used = torch.full((len(images.pixels),), -1) if label is None else label
    return Annealed(used.cpu().numpy().astype(np.int64), values, found.code.cpu().numpy().astype("<f4"))


def _values(found: Estimate) -> dict[str, Floats]:
    """An estimate as named columns: what scores, and what they can be recomputed from."""
    values = {
        "log_likelihood": _column(found.lower),
        "ess": _column(found.ess),
        "acceptance": _column(found.acceptance.mean(dim=1)),
        "step": _column(found.step),
        "non_finite": _column(found.non_finite),
        "dead_chains": _column(found.dead),
        "borrowed_curvature": _column(found.borrowed),
    }
    if found.upper is not None:
        values |= {"upper": _column(found.upper), "gap": _column(found.upper - found.lower)}
    tables = {"acceptance_chain": found.acceptance, "log_weight": _storable(found.log_weight)}
    if found.pilot_log_weight is not None:
        tables["pilot_log_weight"] = _storable(found.pilot_log_weight)
    for name, table in tables.items():
        values |= {f"{name}_{chain}": _column(table[:, chain]) for chain in range(table.shape[1])}
    return values | {
        f"acceptance_{share:02}": _column(found.profile[:, share]) for share in range(found.profile.shape[1])
    }


def _column(tensor: Tensor) -> Floats:
    column: Floats = tensor.detach().double().cpu().numpy()
    return column


def _storable(log_weight: Tensor) -> Tensor:
    """Log-weights with ``-inf``, those of chains without weight, as a number that is as good as it in any mean."""
    return log_weight.clamp_min(NO_WEIGHT)
