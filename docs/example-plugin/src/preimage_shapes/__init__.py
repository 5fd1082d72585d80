"""What this plug-in brings: an architecture, a model of it (a card beside this file), and a data set.

The hooks name their builders by import string (``lazy``), so that ``preimage list models`` imports neither torch nor
the weights.
"""

from __future__ import annotations

from pathlib import Path

from preimage.harness import DatasetCard, Family, ImageSpec, hookimpl, lazy
from preimage.harness.hooks import Register


@hookimpl
def register_families(register: Register) -> None:
    register(
        Family(
            "coordinate-net",
            build=lazy("preimage_shapes.coordinate_net:build"),
            read=lazy("preimage_shapes.coordinate_net:read"),
        )
    )


@hookimpl
def register_models(register: Register) -> None:
    register(Path(__file__).parent)  # every card (*.yaml) of this folder


@hookimpl
def register_datasets(register: Register) -> None:
    register(
        DatasetCard(
            name="shapes",
            image=ImageSpec(1, 8, 8),
            num_classes=2,
            splits=("train", "test"),
            open=lazy("preimage_shapes.shapes:open_dataset"),
            licence="CC0-1.0",
            description="Spots and bars, 8x8 grey, drawn by a formula: 512 training and 128 test images",
        )
    )
