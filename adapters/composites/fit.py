"""Fit the closed-form generators of each class to the shipped training images.

    python -m preimage.adapters.composites.fit --out DIR

writes the weights and the finished card of ``ppca-per-class`` into DIR: one probabilistic PCA for the training images
of each class, all in one file.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray
from safetensors.numpy import save

from preimage.adapters.closed_form.fit import IMAGE, fit_ppca, training_pixels
from preimage.adapters.fashion_mnist.arrays import read_split
from preimage.harness.cards import read_table

NAME = "ppca-per-class"
HERE = Path(__file__).parent


def fit(dim: int, trained_on: int, classes: int) -> tuple[dict[str, NDArray[np.float32]], list[float]]:
    """Weights ``0.W``, ``0.b``, ``1.W``, ... as float32, and the noise variance of each class."""
    pixels, labels = training_pixels(trained_on), read_split("train")[1][:trained_on]
    fits = [fit_ppca(pixels[labels == label], dim) for label in range(classes)]
    weights = {f"{label}.{name}": getattr(one, name) for label, one in enumerate(fits) for name in ("W", "b")}
    return {k: np.ascontiguousarray(v, dtype=np.float32) for k, v in weights.items()}, [one.sigma2 for one in fits]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for weights and card")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    card = read_table(HERE / f"{NAME}.yaml")
    dim = int(card["training"]["dim"])
    weights, noise = fit(dim, int(card["trained_on"]), int(card["num_classes"]))
    path = options.out / f"{NAME}.safetensors"
    path.write_bytes(save(weights))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    parts = [{"family": "linear-gaussian", "config": {"dim": dim, "sigma2": s, "image": list(IMAGE)}} for s in noise]
    card["config"] = {"models": parts}
    card["weights"] = {"uri": f"package://preimage.adapters.composites/{path.name}", "sha256": digest}
    text = yaml.safe_dump(card, sort_keys=False, width=120, default_flow_style=None)
    (options.out / f"{NAME}.yaml").write_text(text, encoding="utf-8")
    print(f"{path}: {path.stat().st_size} bytes, sha256 {digest}")


if __name__ == "__main__":
    main()
