"""Fit the closed-form models of this folder to the shipped training images.

    python -m preimage.adapters.closed_form.fit --out DIR

writes the weights and the finished cards of ``ppca`` and ``mean-image`` into DIR.

Tipping and Bishop, "Probabilistic Principal Component Analysis", J. R. Statist. Soc. B 61 (1999), section 3.2.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import yaml
from numpy.typing import NDArray
from safetensors.numpy import save

from preimage.adapters.fashion_mnist.arrays import read_split

IMAGE = [1, 28, 28]
HERE = Path(__file__).parent


class Ppca(NamedTuple):
    """The maximum-likelihood fit ``x = W z + b + noise``: W [D, d], b [D], noise variance sigma2 per pixel."""

    W: NDArray[np.float64]
    b: NDArray[np.float64]
    sigma2: float


def fit_ppca(pixels: NDArray[np.float64], dim: int) -> Ppca:
    """Maximum likelihood of pixels [n, D] in closed form.

    ``sigma2`` is the mean of the D - d smallest eigenvalues of the covariance (divided by n, not n - 1), and ``W =
    U (Lambda - sigma2 I)^(1/2)`` of its d largest (eqs. 7 and 8, rotation R = I). Each column's largest entry is
    positive, which fixes the sign that the eigenvectors leave open.
    """
    mean = pixels.mean(axis=0)
    centred = pixels - mean
    values, vectors = np.linalg.eigh(centred.T @ centred / len(pixels))
    sigma2 = float(values[:-dim].mean())
    top, directions = values[::-1][:dim], vectors[:, ::-1][:, :dim]
    largest = np.abs(directions).argmax(axis=0)
    directions = directions * np.sign(directions[largest, np.arange(dim)])
    return Ppca(directions * np.sqrt(top - sigma2), mean, sigma2)


def training_pixels(trained_on: int) -> NDArray[np.float64]:
    """The first training images as rows, [n, 784] in [0, 1]."""
    images, _ = read_split("train")
    return images[:trained_on].reshape(trained_on, -1) / 255.0


def write(name: str, weights: dict[str, NDArray[np.float64]], config: dict[str, object], out: Path) -> None:
    """DIR/NAME.safetensors (float32, the config in its metadata) and DIR/NAME.yaml, the card of this folder brought
    up to date."""
    path = out / f"{name}.safetensors"
    tensors = {key: np.ascontiguousarray(value, dtype=np.float32) for key, value in weights.items()}
    path.write_bytes(save(tensors, metadata={"config": json.dumps(config, sort_keys=True)}))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    card = _card(name) | {"config": config}
    card["weights"] = {"uri": f"package://preimage.adapters.closed_form/{path.name}", "sha256": digest}
    (out / f"{name}.yaml").write_text(yaml.safe_dump(card, sort_keys=False, width=120), encoding="utf-8")
    print(f"{path}: {path.stat().st_size} bytes, sha256 {digest}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for weights and cards")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    card = _card("ppca")
    dim = int(cast("dict[str, int]", card["config"])["dim"])
    fit = fit_ppca(training_pixels(int(cast(int, card["trained_on"]))), dim)
    write("ppca", {"W": fit.W, "b": fit.b}, {"dim": dim, "sigma2": fit.sigma2, "image": IMAGE}, options.out)

    pixels = training_pixels(int(cast(int, _card("mean-image")["trained_on"])))
    write("mean-image", {"mean": pixels.mean(axis=0).reshape(IMAGE)}, {"image": IMAGE}, options.out)


def _card(name: str) -> dict[str, object]:
    return cast("dict[str, object]", yaml.safe_load((HERE / f"{name}.yaml").read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
