"""Feature metrics: how near a model's samples come to training and to unseen images, as an image network sees them."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import TYPE_CHECKING, ClassVar

from preimage.harness.asking_features import FeatureOptions, asks_of_comparison
from preimage.harness.benchmark import Ask, Data, MetricInfo, Model, Score
from preimage.harness.rows import Rows

if TYPE_CHECKING:
    from preimage.harness.rows import Estimate, Floats

_BOUNDS = (
    dict.fromkeys(("frechet_val", "frechet_train", "density"), (0.0, inf))
    | dict.fromkeys(("precision", "recall", "coverage"), (0.0, 1.0))
    | {"frechet_gap": (-inf, 1.0)}
)
"""What a metric cannot leave."""


class Frechet:
    """Frechet and kernel distances, precision, recall, density and coverage of the model's samples.

    Of the same number n of generated, training and validation images, since a Frechet distance's bias depends on n.
    Every metric has the extractor's name as suffix. Blind to memorisation where ``overfitting`` is not: Webster et al.,
    CVPR 2019, section 3.4.
    """

    name = "frechet"
    version = 1
    question = "How near do the model's samples come to real images, as an image network sees them?"
    formula = "FD(X, Y) = ‖μ_X − μ_Y‖² + tr(Σ_X + Σ_Y − 2 (Σ_X Σ_Y)^½); gap = (FD(val) − FD(train)) / FD(val)"
    options = FeatureOptions
    metrics: ClassVar[Mapping[str, MetricInfo]] = {
        "frechet_val": MetricInfo(
            "squared feature",
            "lower",
            "Frechet distance between samples and validation images; depends on n",
            ("generated", "val"),
        ),
        "frechet_train": MetricInfo(
            "squared feature",
            "lower",
            "Frechet distance between samples and the model's training images; same n",
            ("generated", "train"),
        ),
        "frechet_gap": MetricInfo(
            "share",
            "none",
            "(frechet_val - frechet_train) / frechet_val; near 0 even for models that memorise",
            ("generated", "train", "val"),
        ),
        "kid": MetricInfo(
            "squared MMD",
            "lower",
            "unbiased kernel distance between samples and validation images, cubic kernel",
            ("generated", "val"),
        ),
        "precision": MetricInfo(
            "share", "higher", "samples within a k-nearest ball of some validation image", ("generated", "val")
        ),
        "recall": MetricInfo(
            "share", "higher", "validation images within a k-nearest ball of some sample", ("generated", "val")
        ),
        "density": MetricInfo(
            "balls",
            "higher",
            "k-nearest balls of validation images that a sample lies in, on average, over k",
            ("generated", "val"),
        ),
        "coverage": MetricInfo(
            "share", "higher", "k-nearest balls of validation images that hold a sample", ("generated", "val")
        ),
    }

    def requests(self, model: Model, data: Data, options: FeatureOptions) -> dict[str, Ask]:
        """The comparison, and the three sets of features that it is of."""
        return asks_of_comparison(model, data, options)

    def summarise(self, rows: Mapping[str, Rows], options: FeatureOptions) -> list[Score]:
        """Each metric of all images, with a jackknife interval from those without a group of them."""
        from preimage.harness.jackknife import jackknife

        found = rows["comparison"]
        n = int(found["images"][0])

        def estimate(name: str) -> Estimate:
            values = _gap(found) if name == "frechet_gap" else found[name]
            least, most = _BOUNDS.get(name, (-inf, inf))
            return jackknife(float(values[0]), values[1:], n, least=least, most=most)

        return [Score(f"{name}/{options.extractor}", estimate(name)) for name in self.metrics]


def _gap(rows: Rows) -> Floats:
    """The gap of every row; 0 where the distance to validation images is."""
    import numpy as np

    train, val = rows["frechet_train"], rows["frechet_val"]
    return np.where(val > 0, (val - train) / np.where(val > 0, val, 1.0), 0.0)
