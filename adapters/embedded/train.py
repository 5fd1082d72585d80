"""Retrain a shipped model from its card.

    python -m preimage.adapters.embedded.train fashion-cgan.yaml --out DIR

writes DIR/NAME.safetensors (float16), DIR/NAME.png (samples, one row per class where there are classes) and
DIR/NAME.yaml, the card with the hash of the new weights and the minutes that training took. One thread, every draw
seeded: the same card gives the same bytes on the same kind of machine.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
import yaml
from PIL import Image
from safetensors.torch import save
from torch import Tensor

from preimage.adapters.embedded.autoencoder import train_autoencoder
from preimage.adapters.embedded.gan import train_gan
from preimage.adapters.embedded.glo import train_glo
from preimage.adapters.embedded.networks import Decoder, DecoderConfig
from preimage.adapters.embedded.recipe import Card, Images, Objective, Trained, read_card, read_recipe
from preimage.adapters.embedded.vae import train_vae
from preimage.adapters.fashion_mnist.arrays import read_split
from preimage.harness.errors import CardError

OBJECTIVES: Mapping[str, Objective] = {
    "gan": train_gan,
    "glo": train_glo,
    "autoencoder": train_autoencoder,
    "vae": train_vae,
}
REPORT_EVERY = 100  # steps
GRID = 10  # samples a side


def training_images(card: Card) -> Images:
    """The first ``trained_on`` training images of the card's data set."""
    if card.get("dataset") != "fashion-mnist":
        raise CardError(f"the embedded models are trained on fashion-mnist, the card says {card.get('dataset')}")
    pixels, labels = read_split("train")
    n = int(cast(int, card["trained_on"]))
    if not 0 < n <= len(pixels):
        raise CardError(f"trained_on is {n}, the data set ships {len(pixels)} training images")
    image = torch.from_numpy(pixels[:n]).unsqueeze(1).to(torch.float32) / 255
    return Images(image, torch.from_numpy(labels[:n]).to(torch.int64))


def train(card: Card) -> Trained:
    """The network that the card describes, trained from its seed."""
    recipe = read_recipe(card)
    if recipe.objective not in OBJECTIVES:
        raise CardError(f"no objective is called {recipe.objective!r}: {', '.join(sorted(OBJECTIVES))}")
    config = DecoderConfig.from_mapping(cast("Mapping[str, object]", card["config"]))
    return OBJECTIVES[recipe.objective](recipe, config, training_images(card), print_losses)


def print_losses(step: int, losses: Mapping[str, float]) -> None:
    if step % REPORT_EVERY == 0:
        values = ", ".join(f"{name} {value:.5f}" for name, value in losses.items())
        print(f"step {step}: {values}", file=sys.stderr, flush=True)


def shipped_weights(network: Trained) -> dict[str, Tensor]:
    """The state as it ships: float16, without the batch norms' counters."""
    state = network.state_dict()
    return {k: v.to(torch.float16).contiguous() for k, v in state.items() if not k.endswith("num_batches_tracked")}


def sample_grid(decoder: Decoder, seed: int) -> Image.Image:
    """Samples of the weights as given, one row per class where there are classes."""
    classes = decoder.config.num_classes
    rows = classes or GRID
    code = torch.randn(rows * GRID, decoder.config.dim, generator=torch.Generator().manual_seed(seed))
    label = torch.arange(rows).repeat_interleave(GRID) if classes else None
    with torch.no_grad():
        image = decoder(code, label).squeeze(1)
    tiles = image.reshape(rows, GRID, *image.shape[1:]).permute(0, 2, 1, 3).flatten(2).flatten(0, 1)
    return Image.fromarray((tiles * 255).round().to(torch.uint8).numpy())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("card", type=Path, help="the model's YAML card, with a training block")
    parser.add_argument("--out", type=Path, required=True, help="folder for the weights, the samples and the card")
    options = parser.parse_args()
    torch.set_num_threads(1)
    card = read_card(options.card)
    start = time.perf_counter()
    network = train(card)
    minutes = (time.perf_counter() - start) / 60
    options.out.mkdir(parents=True, exist_ok=True)
    write(card, network, minutes, options.out)


def write(card: Card, network: Trained, minutes: float, out: Path) -> None:
    """The three files that a training run leaves in ``out``."""
    name = str(card["name"])
    path = out / f"{name}.safetensors"
    weights = shipped_weights(network)
    path.write_bytes(save(weights, metadata={"config": json.dumps(network.config.to_mapping(), sort_keys=True)}))
    network.load_state_dict(weights, strict=False)  # what ships is the rounded state, so that is what the samples show
    decoder = network if isinstance(network, Decoder) else network.decoder
    sample_grid(decoder, seed=0).save(out / f"{name}.png")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    finished = card | {
        "weights": {"uri": f"package://preimage.adapters.embedded/{path.name}", "sha256": digest},
        "training": cast(Card, card["training"]) | {"minutes": round(minutes, 1)},
    }
    (out / f"{name}.yaml").write_text(yaml.safe_dump(finished, sort_keys=False, width=120), encoding="utf-8")
    print(f"{path}: {path.stat().st_size} bytes, sha256 {digest}, {minutes:.1f} minutes")


if __name__ == "__main__":
    main()
