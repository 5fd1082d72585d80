"""The data sets that torchvision knows, by name. They lie in the folder that PREIMAGE_DATA names, else in the cache.

Hook module: it opens nothing and leaves torch and torchvision unimported.
"""

from __future__ import annotations

from functools import partial

from preimage.harness.cards import DatasetCard, ImageSpec
from preimage.harness.hooks import Register, hookimpl, lazy

CUT = (
    "shorter side resized bilinearly to 64 (antialiased), centre 64x64 cut out; @3x128x128 cuts anew from the originals"
)
"""What is done to photographs, as cards say it."""

SCENES = {
    "bedroom": "bedroom",
    "bridge": "bridge",
    "church": "church_outdoor",
    "classroom": "classroom",
    "conference-room": "conference_room",
    "dining-room": "dining_room",
    "kitchen": "kitchen",
    "living-room": "living_room",
    "restaurant": "restaurant",
    "tower": "tower",
}
"""LSUN's classes: ours (after ``lsun-``) and theirs."""


@hookimpl
def register_datasets(register: Register) -> None:
    for card in (*_small(), _celeba(), *_lsun()):
        register(card)


def _small() -> list[DatasetCard]:
    def card(name: str, image: ImageSpec, opener: str, licence: str, description: str) -> DatasetCard:
        return DatasetCard(
            name=name,
            image=image,
            num_classes=10,
            splits=("train", "test"),
            open=lazy(f"preimage.adapters.torchvision_data.{opener}"),
            licence=licence,
            description=description,
            downloads=True,
        )

    mnist = "60,000 training and 10,000 test images, as they are; downloaded when first used"
    return [
        card("mnist", ImageSpec(1, 28, 28), "idx:mnist", "CC-BY-SA-3.0", f"Handwritten digits, 28x28 grey: {mnist}"),
        card(
            "fashion-mnist-full",
            ImageSpec(1, 28, 28),
            "idx:fashion_mnist",
            "MIT",
            f"Ten kinds of clothes, 28x28 grey, of which `fashion-mnist` is a part: {mnist}",
        ),
        card(
            "cifar10",
            ImageSpec(3, 32, 32),
            "arrays:cifar10",
            "not stated",
            "Ten kinds of objects, 32x32: 50,000 training and 10,000 test images, as they are; downloaded when first "
            "used",
        ),
        card(
            "svhn",
            ImageSpec(3, 32, 32),
            "arrays:svhn",
            "non-commercial use only",
            "House numbers, one digit cropped to 32x32: 73,257 training and 26,032 test images, as they are (not the "
            "531,131 extra ones); downloaded when first used",
        ),
    ]


def _celeba() -> DatasetCard:
    return DatasetCard(
        name="celeba",
        image=ImageSpec(3, 64, 64),
        num_classes=0,
        splits=("train", "val", "test"),
        open=lazy("preimage.adapters.torchvision_data.celeba:open_dataset"),
        licence="non-commercial research only",
        description=f"202,599 aligned faces of 218x178 in the authors' three splits, without labels; {CUT}",
        downloads=True,
    )


def _lsun() -> list[DatasetCard]:
    opener = lazy("preimage.adapters.torchvision_data.lsun:open_dataset")
    return [
        DatasetCard(
            name=f"lsun-{name}",
            image=ImageSpec(3, 64, 64),
            num_classes=0,
            splits=("train", "test"),
            open=partial(opener, name),
            licence="not stated",
            description=f"LSUN scenes, {scene.replace('_', ' ')}, fetched by hand; `test` is their `val`; {CUT}",
        )
        for name, scene in SCENES.items()
    ]
