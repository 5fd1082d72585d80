"""How benchmarks ask for likelihoods: one place where a model, its images and options become a request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from preimage.harness.asking import count_of, recovery_of_split, require_classes, train_size
from preimage.harness.benchmark import Ask, Data, Model, same_images
from preimage.harness.errors import Refused, UsageError
from preimage.harness.likelihood_requests import (
    Curvature,
    FittedNoise,
    FixedNoise,
    Likelihood,
    Noise,
    Simulated,
    Tuning,
)
from preimage.harness.options import RecoveryOptions, SearchOptions
from preimage.harness.requests import LabelRule, Recovery, Split
from preimage.harness.samplers.laplace import Laplace
from preimage.harness.settings import choice, option

if TYPE_CHECKING:
    from preimage.harness.samplers.interface import Sampler


@dataclass(frozen=True, kw_only=True)
class AnnealingOptions(SearchOptions):
    """How likelihoods are estimated (METHODS 9, 13)."""

    sampler: Sampler = field(
        default_factory=Laplace,
        metadata=choice("sampler", "what anneals codes towards an image; its settings: sampler.evaluations=..."),
    )
    sigma2: tuple[float, ...] = option(
        (), "noise variance per pixel, images in [0, 1]; several: each by itself; not set: the training images' error"
    )
    noise_images: int = option(128, "training images that are recovered for sigma2, the first so many")
    tuning_images: int = option(4, "simulated images that the sampler's steps are tuned on")
    annealed_block: int = option(16, "images annealed together; part of a likelihood's identity")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("noise_images", "annealed_block"):
            if getattr(self, name) < 1:
                raise UsageError(f"`{name}` is {getattr(self, name)}; it must be at least 1")
        if len(set(self.sigma2)) < len(self.sigma2):
            raise UsageError(f"`sigma2` is {list(self.sigma2)}; name each variance once")
        for value in self.sigma2:
            FixedNoise(value)


def noises_of(model: Model, data: Data, options: AnnealingOptions) -> Mapping[str, Noise]:
    """The noise that likelihoods are asked under, by the suffix of their scores: ``""``, or ``/sigma2=0.01``.

    Of one fixed variance the suffix is empty too. Raises Refused where sigma2 would have to come from training images
    and there are none, or where the model has no density to ask for.
    """
    require_density(model, data, options.space)
    if options.sigma2:
        several = len(options.sigma2) > 1
        return {f"/sigma2={value!r}" if several else "": FixedNoise(value) for value in options.sigma2}
    if model.card.dataset != data.name:
        raise Refused(
            f"was trained on {model.card.dataset!r}, not on {data.name!r}: there are no training images to take sigma2 "
            "from. Give it, e.g. --set 'sigma2=[0.01]'"
        )
    asked = RecoveryOptions(
        limit=min(options.noise_images, train_size(model, data)),
        solver=options.solver,
        restarts=options.restarts,
        draws=options.draws,
        space=options.space,
        encoder=False,
        threads=options.threads,
        seed=options.seed,
    )
    ask = recovery_of_split(model, data, "train", asked)
    assert isinstance(ask.request, Recovery)  # a reference was refused above
    return {"": FittedNoise(recovery=ask.request, images=ask.count)}


def require_density(model: Model, data: Data, space: str | None) -> None:
    """Raises Refused for a reference, for other images, for a space in which there is no density."""
    same_images(model, data)
    if model.is_reference:
        raise Refused("a reference: it has no codes, so it gives images no likelihood")
    name = space or model.card.space
    if name not in model.dims:
        raise Refused(f"has no latent space {name!r}; it has {', '.join(model.dims)}")
    if name not in (frozenset(model.dims) if model.densities is None else model.densities):
        there = sorted(model.densities or ())
        where = f"choose a space with one, e.g. --set space={there[0]}" if there else "none of its spaces has one"
        raise Refused(f"the prior of space {name!r} has no density, so images have no likelihood there; {where}")


def likelihood_of_split(
    model: Model, data: Data, split: str, options: AnnealingOptions, noise: Noise, *, every_label: bool = False
) -> Ask:
    """The likelihood of the first ``options.limit`` images of a split, under their own label (every label if asked)."""
    size = train_size(model, data) if data.resolve(split) == "train" else data.size(split)
    rule = _rule(model, data, every_label)
    return Ask(_request(model, data.split(split), rule, options, noise), count_of(size, options))


def likelihood_of_others(model: Model, images: Data, options: AnnealingOptions, noise: Noise) -> Ask:
    """The likelihood of test images of ``images``, of whatever classes: a conditional model's under every label."""
    same_images(model, images)
    rule = "every" if model.card.num_classes else _rule_without_classes(model)
    return Ask(_request(model, images.split("test"), rule, options, noise), count_of(images.size("test"), options))


def likelihood_of_simulated(
    model: Model, options: AnnealingOptions, noise: Noise, count: int, *, every_label: bool = False
) -> Ask:
    """The likelihood of so many draws from the model, noise and all: the exact law whose log density is estimated.

    Under their own labels there is an upper bound too, hence a gap.
    """
    rule = _rule_without_classes(model)
    if model.card.num_classes:
        rule = "every" if every_label else "true"
    return Ask(_request(model, Simulated(options.seed), rule, options, noise, most=count), count)


def _rule(model: Model, data: Data, every_label: bool) -> LabelRule:
    if not model.card.num_classes:
        return _rule_without_classes(model)
    require_classes(model, data)
    return "every" if every_label else "true"


def _rule_without_classes(model: Model) -> LabelRule:
    return "part" if model.parts else "none"


def _request(
    model: Model,
    images: Split | Simulated,
    label: LabelRule,
    options: AnnealingOptions,
    noise: Noise,
    most: int | None = None,
) -> Likelihood:
    space = options.space or model.card.space
    sampler, dim, labels = options.sampler, model.dims[space], model.labels
    threads, seed = options.threads, options.seed
    curvature = None
    if sampler.needs_curvature:
        curvature = Curvature(model=model.key, space=space, dim=dim, labels=labels, threads=threads, seed=seed)
    tuning = None
    if sampler.needs_tuning:
        tuning = Tuning(
            model=model.key,
            space=space,
            noise=noise,
            sampler=sampler,
            curvature=curvature,
            dim=dim,
            labels=labels,
            images=options.tuning_images,
            threads=threads,
            seed=seed,
        )
    return Likelihood(
        model=model.key,
        images=images,
        label=label,
        space=space,
        noise=noise,
        sampler=sampler,
        curvature=curvature,
        tuning=tuning,
        dim=dim,
        labels=labels,
        block=options.annealed_block if most is None else min(options.annealed_block, most),
        threads=threads,
        seed=seed,
    )
