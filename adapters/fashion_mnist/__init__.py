"""Fashion-MNIST, 8,192 training and 1,024 test images of it, shipped as one .npz (MIT, see LICENSE-fashion-mnist.txt).

Hook module: it opens no file and leaves torch unimported.
"""

from __future__ import annotations

from preimage.harness.cards import DatasetCard, ImageSpec
from preimage.harness.hooks import Register, hookimpl, lazy


@hookimpl
def register_datasets(register: Register) -> None:
    register(
        DatasetCard(
            name="fashion-mnist",
            image=ImageSpec(1, 28, 28),
            num_classes=10,
            splits=("train", "test"),
            open=lazy("preimage.adapters.fashion_mnist.arrays:open_dataset"),
            licence="MIT",
            description="Ten kinds of clothes, 28x28 grey: 8,192 training and 1,024 test images",
        )
    )
