"""How benchmarks ask for recoveries: one place where a model, images and options become a request."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from preimage.harness.benchmark import Ask, Data, Model, same_images
from preimage.harness.errors import Refused
from preimage.harness.operators import Identity
from preimage.harness.options import RecoveryOptions, SearchOptions
from preimage.harness.requests import First, LabelRule, ModelMetric, Neighbours, Recovery, Request, Samples, Split
from preimage.harness.solvers.encoder import Encoder

if TYPE_CHECKING:
    from preimage.harness.solvers.interface import Solver


def recovery_of_split(
    model: Model, data: Data, split: str, options: RecoveryOptions, *, every_label: bool = False
) -> Ask:
    """Recover the first ``options.limit`` images of a split, under their own label (under every label where asked).

    Raises Refused where the model cannot be asked: other image shape, other classes.
    """
    same_images(model, data)
    size = train_size(model, data) if data.resolve(split) == "train" else data.size(split)
    return Ask(_request(model, data, data.split(split), options, every_label), count_of(size, options))


def recovery_of_samples(model: Model, data: Data, split: str, options: RecoveryOptions) -> Ask:
    """Recover the model's own samples, as many as of the split: the optimiser floor (METHODS 1).

    An operator that changes targets alone is left out: it would take the samples out of the model's range. A
    reference's samples are its training images, so its floor is measured on those.
    """
    same_images(model, data)
    if not options.operator.both_sides:
        options = dataclasses.replace(options, operator=Identity())
    count = count_of(data.size(split), options)
    if model.is_reference:
        train = train_size(model, data)
        return Ask(_request(model, data, data.split("train"), options, False), min(count, train))
    return Ask(_request(model, data, Samples(options.seed), options, False), count)


def recovery_by_best_label(model: Model, data: Data, images: Data, options: RecoveryOptions) -> Ask:
    """Recover test images of ``images``, of whatever classes, for the least distance that the model comes to each.

    A conditional generator recovers them under every label of its own. data: what the model was trained on.
    """
    same_images(model, data)
    every = bool(model.card.num_classes) and not model.is_reference
    return Ask(_request(model, data, images.split("test"), options, every), count_of(images.size("test"), options))


def require_classes(model: Model, data: Data) -> None:
    """Raises Refused for a model or data set without classes, or with different numbers of them."""
    if data.num_classes < 2:
        raise Refused(f"data set {data.name!r} has no classes")
    if not model.is_reference and model.card.num_classes == 0:
        raise Refused("unconditional: it has no generator per class")
    if not model.is_reference and model.card.num_classes != data.num_classes:
        raise Refused(f"conditional on {model.card.num_classes} classes; data set {data.name!r} has {data.num_classes}")


def count_of(size: int, options: SearchOptions) -> int:
    """How many of so many images are asked for: the first ``options.limit``, or all."""
    return size if options.limit is None else min(options.limit, size)


def train_size(model: Model, data: Data) -> int:
    """How many images the model was trained on: the first so many of ``train``. Raises Refused for another data set."""
    if model.card.dataset != data.name:
        raise Refused(f"was trained on {model.card.dataset!r}, not on {data.name!r}, so it has no training images here")
    size = data.size("train")
    return size if model.card.trained_on is None else min(model.card.trained_on, size)


def _request(model: Model, data: Data, images: Split | Samples, options: RecoveryOptions, every_label: bool) -> Request:
    label: LabelRule = "none"
    if every_label:
        label = "every"
    elif model.card.num_classes and not model.is_reference:
        require_classes(model, data)
        label = "true"
    elif model.parts:
        label = "part"
    options.operator.check(data.image)
    if model.is_reference:
        assert isinstance(images, Split)  # its samples are its training images
        return _neighbours(model, data, images, options, label)
    space = options.space or model.card.space
    if space not in model.dims:
        raise Refused(f"has no latent space {space!r}; it has {', '.join(model.dims)}")
    solver = _solver(model, options)
    one_pass = isinstance(solver, Encoder)
    if one_pass:
        options = dataclasses.replace(options, restarts=1, draws=1, penalty=0.0, project=False)  # none is used
    _require_prior(model, space, options, drawn=isinstance(images, Samples) or not one_pass)

    def metric(distance: str) -> ModelMetric | None:
        if not solver.needs_metric:
            return None
        return ModelMetric(
            model=model.key,
            space=space,
            distance=distance,
            operator=options.operator if options.operator.both_sides else Identity(),
            dim=model.dims[space],
            labels=model.labels,
            threads=options.threads,
            seed=options.seed,
        )

    first = None
    if options.first_distance is not None and not one_pass:
        steps = round(options.first_share * solver.steps)
        first = First(distance=options.first_distance, steps=steps, metric=metric(options.first_distance))
    return Recovery(
        model=model.key,
        images=images,
        label=label,
        space=space,
        distance=options.distance,
        operator=options.operator,
        solver=solver,
        restarts=options.restarts,
        draws=options.draws,
        penalty=options.penalty,
        project=options.project,
        labels=model.labels,
        metric=metric(options.distance),
        first=first,
        trained_start=_trained_start(model, data, images, space, options) and not one_pass,
        block=options.block,
        threads=options.threads,
        seed=options.seed,
    )


def _neighbours(model: Model, data: Data, images: Split, options: RecoveryOptions, label: LabelRule) -> Neighbours:
    """What answers for a reference: the nearest of its training images."""
    count = train_size(model, data)
    return Neighbours(
        model=model.key,
        images=images,
        train=data.split("train"),
        train_size=count,
        label=label,
        distance=options.distance,
        operator=options.operator,
        labels=data.num_classes if label == "every" else 0,
        leave_one_out=options.leave_one_out,
        block=options.block,
        threads=options.threads,
        seed=options.seed,
    )


def _solver(model: Model, options: RecoveryOptions) -> Solver[Any]:
    """The model's encoder where it has one that is wanted and sees whole images, else the solver of the options."""
    whole = not options.operator.both_sides
    if model.has_encoder and options.encoder and whole:
        return Encoder()
    if isinstance(options.solver, Encoder) and not (model.has_encoder and whole):
        why = (
            f"its encoder sees no whole images under {options.operator.name!r}"
            if model.has_encoder
            else "has no encoder"
        )
        raise Refused(f"{why}; choose an optimiser, e.g. --set solver=lbfgs")
    return options.solver


def _trained_start(model: Model, data: Data, images: Split | Samples, space: str, options: RecoveryOptions) -> bool:
    """Whether the images begin at the codes that they were trained with. Raises Refused where there are none."""
    if not options.trained_start or images != data.split("train"):
        return False
    if not model.trained_codes:
        raise Refused("keeps no codes of its training images, so `trained_start` has no meaning there")
    if space != model.native:
        raise Refused(f"keeps codes of its training images in space {model.native!r}, not in {space!r}")
    return True


def _require_prior(model: Model, space: str, options: RecoveryOptions, *, drawn: bool) -> None:
    """Raises Refused where codes must be drawn, projected or penalised and there is no prior to do it by."""
    priors = frozenset(model.dims) if model.priors is None else model.priors
    if drawn and not {space, model.native} & priors:
        raise Refused(f"neither space {space!r} nor {model.native!r} has a prior to draw codes from")
    if (options.project or options.penalty) and space not in priors:
        what = "project" if options.project else "penalty"
        raise Refused(f"space {space!r} has no prior, so `{what}` has no meaning there")
