"""How benchmarks ask for features: one place where a model, its images and options become a comparison."""

from __future__ import annotations

from dataclasses import dataclass

from preimage.harness.asking import train_size
from preimage.harness.benchmark import Ask, Data, Model, same_images
from preimage.harness.errors import Refused, UsageError
from preimage.harness.feature_requests import FeatureComparison, Features
from preimage.harness.requests import Images, ModelKey, Samples
from preimage.harness.settings import option


@dataclass(frozen=True, kw_only=True)
class FeatureOptions:
    """Whose features are compared, of how many images, and how."""

    limit: int | None = option(
        None, "images of each set: the first so many; not set: as many as training and validation images both have"
    )
    extractor: str = option("alexnet", "the backbone whose features are compared; every score has its name as suffix")
    k: int = option(5, "balls of precision, recall, density and coverage reach to the k-th nearest of a set's own")
    groups: int = option(20, "intervals come from leaving out each of so many groups of images")
    block: int = option(64, "images measured together; part of a result's identity")
    threads: int = option(1, "threads of one measurement; part of a result's identity")
    seed: int = option(0, "of every random stream")

    def __post_init__(self) -> None:
        for name, least in (("limit", 1), ("k", 1), ("groups", 2)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise UsageError(f"`{name}` is {value}; it must be at least {least}")
        if not 0 <= self.seed < 2**63:
            raise UsageError(f"`seed` is {self.seed}; it must be from 0 to 2^63 - 1")


def asks_of_comparison(model: Model, data: Data, options: FeatureOptions) -> dict[str, Ask]:
    """Features of the first n generated, training and validation images, and their comparison.

    n is the same for all three: what training and validation sets both have, at most the limit, since the bias of a
    Frechet distance depends on it. Training images are the model's own. The samples of a reference that has
    neighbours for an answer are its training images.

    Raises Refused for a model without samples (a classifier) or training images, or too few images for the groups.
    """
    same_images(model, data)
    if "train" not in data.sizes:
        raise Refused(f"data set {data.name!r} has no training split")
    size = min(train_size(model, data), data.size("val"))
    size = size if options.limit is None else min(options.limit, size)
    least = FeatureComparison.least_size(options.k, options.groups)
    if size < least:
        raise Refused(
            f"there are {size} images of each set; {options.groups} groups and k = {options.k} need at least {least}. "
            "Ask for more images with --limit, or for fewer groups: --set groups=5"
        )
    if not model.is_reference and model.priors is not None and model.native not in model.priors:
        raise Refused(f"space {model.native!r} has no prior to draw samples from")

    def features(of: ModelKey, images: Images) -> Features:
        return Features(
            model=of,
            images=images,
            extractor=options.extractor,
            block=options.block,
            threads=options.threads,
            seed=options.seed if isinstance(images, Samples) else 0,
        )

    extractor = ModelKey(options.extractor, "")
    train, val = (features(extractor, data.split(split)) for split in ("train", "val"))
    generated = train if model.is_reference else features(model.key, Samples(options.seed))
    comparison = FeatureComparison(
        model=model.key,
        generated=generated,
        train=train,
        val=val,
        size=size,
        k=options.k,
        groups=options.groups,
        block=1 + options.groups,
        threads=options.threads,
    )
    return {
        "comparison": Ask(comparison, comparison.rows),
        "generated": Ask(generated, size),
        "train": Ask(train, size),
        "val": Ask(val, size),
    }
