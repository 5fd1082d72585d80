"""Images that no model was trained on, without a download: single colours, noise, scikit-learn's digits.

Hook module: it opens nothing and leaves torch unimported.
"""

from __future__ import annotations

from preimage.harness.cards import DatasetCard, ImageSpec
from preimage.harness.hooks import Register, hookimpl, lazy

NATURAL = ImageSpec(3, 32, 32)
"""The shape of what can be drawn in any, where none is asked."""


@hookimpl
def register_datasets(register: Register) -> None:
    drawn = "drawn in whatever shape is asked, e.g."
    register(
        DatasetCard(
            name="constant",
            image=NATURAL,
            num_classes=0,
            splits=("test",),
            open=lazy("preimage.adapters.outlier_sets.drawn:constant"),
            licence="CC0-1.0",
            description=f"10,000 single-colour images, uniform in [0, 1] per channel; {drawn} constant@1x28x28",
        )
    )
    register(
        DatasetCard(
            name="uniform-noise",
            image=NATURAL,
            num_classes=0,
            splits=("test",),
            open=lazy("preimage.adapters.outlier_sets.drawn:uniform_noise"),
            licence="CC0-1.0",
            description=f"10,000 images of noise, uniform in [0, 1] per pixel; {drawn} uniform-noise@1x28x28",
        )
    )
    register(
        DatasetCard(
            name="digits",
            image=ImageSpec(1, 8, 8),
            num_classes=10,
            splits=("train", "test"),
            open=lazy("preimage.adapters.outlier_sets.digits:open_dataset"),
            licence="CC-BY-4.0",
            description="scikit-learn's handwritten digits (UCI), 8x8 grey: 797 training and 1,000 test images",
        )
    )
