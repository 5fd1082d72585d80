"""Retrain the classifier that ships from its card.

    python -m preimage.adapters.timm_classifier.train fashion-classifier.yaml --out DIR

writes DIR/NAME.safetensors (float32, under timm's own names) and DIR/NAME.yaml, the card with the hash of the new
weights, their accuracy on the test images and the minutes of processor time that training took. One thread, every
draw seeded: the same card gives the same bytes on the same kind of machine.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast

import torch
import yaml
from safetensors.torch import save
from torch import Tensor
from torch.nn.functional import cross_entropy, pad

from preimage.adapters.fashion_mnist.arrays import read_split
from preimage.harness.cards import Config, read_table
from preimage.harness.errors import CardError
from preimage.harness.timm_networks import COUNTER, TimmNetwork, build_timm, drawn_weights


@dataclass(frozen=True)
class Recipe:
    """One training run: everything that its weights depend on, beside the card's config and images."""

    epochs: int
    batch: int  # images a step
    lr: float  # AdamW, at the end of the warm-up; then it falls to 0 as a half cosine
    weight_decay: float
    smoothing: float  # of the labels
    shift: int  # pixels by which an image moves at most, each way; half of the images are mirrored
    seed: int
    warmup: float = 0.2  # share of the steps


def read_recipe(card: dict[str, Any]) -> Recipe:
    """The ``training:`` block of a card. Raises CardError where it is not one of a classifier."""
    block = {k: v for k, v in (card.get("training") or {}).items() if k not in ("script", "minutes", "test_accuracy")}
    try:
        return Recipe(**block)
    except TypeError as error:
        known = ", ".join(field.name for field in fields(Recipe))
        raise CardError(f"the training block of {card.get('name')}: {error}. It has: {known}") from error


def split(name: str, count: int | None) -> tuple[Tensor, Tensor]:
    """The first images of a split, float32 [n, 1, 28, 28] in [0, 1], and their labels [n]."""
    pixels, labels = read_split(name)
    image = torch.from_numpy(pixels[:count]).unsqueeze(1).float() / 255
    return image, torch.from_numpy(labels[:count]).long()


def train(config: Config, recipe: Recipe, images: Tensor, labels: Tensor) -> TimmNetwork:
    """The network after all epochs, in eval mode."""
    random = torch.Generator().manual_seed(recipe.seed)
    network = build_timm(config, drawn_weights(config, recipe.seed)).requires_grad_(True)
    steps = len(images) // recipe.batch * recipe.epochs
    adam = torch.optim.AdamW(network.parameters(), recipe.lr, weight_decay=recipe.weight_decay)
    pace = torch.optim.lr_scheduler.OneCycleLR(adam, recipe.lr, steps, pct_start=recipe.warmup)
    network.train()
    for epoch in range(recipe.epochs):
        total = 0.0
        order = torch.randperm(len(images), generator=random)
        for chosen in torch.split(order[: len(images) // recipe.batch * recipe.batch], recipe.batch):
            logits = network.logits(moved(images[chosen], recipe.shift, random))
            loss = cross_entropy(logits, labels[chosen], label_smoothing=recipe.smoothing)
            adam.zero_grad()
            torch.autograd.backward(loss)
            adam.step()
            pace.step()
            total += loss.item() * len(chosen)
        print(f"epoch {epoch + 1}: loss {total / len(images):.4f}", file=sys.stderr, flush=True)
    return network.eval().requires_grad_(False)


def moved(images: Tensor, shift: int, random: torch.Generator) -> Tensor:
    """Half of the images mirrored, all moved by up to so many pixels, each way; what comes in is black."""
    mirrored = torch.rand(len(images), generator=random) < 0.5
    wide = pad(torch.where(mirrored.reshape(-1, 1, 1, 1), images.flip(3), images), [shift] * 4)
    height, width = images.shape[2:]
    places = torch.randint(2 * shift + 1, (len(images), 2), generator=random).tolist()
    return torch.stack([w[:, y : y + height, x : x + width] for w, (y, x) in zip(wide, places, strict=True)])


@torch.no_grad()
def accuracy(network: TimmNetwork, images: Tensor, labels: Tensor) -> float:
    """The share of images whose likeliest class is their own."""
    parts = zip(torch.split(images, 64), torch.split(labels, 64), strict=True)
    right = [network.logits(part).argmax(dim=1) == own for part, own in parts]
    return float(torch.cat(right).double().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("card", type=Path, help="the classifier's YAML card, with a training block")
    parser.add_argument("--out", type=Path, required=True, help="folder for the weights and the card")
    options = parser.parse_args()
    torch.set_num_threads(1)
    card = read_table(options.card)
    start = time.process_time()
    network = train(cast(Config, card["config"]), read_recipe(card), *split("train", int(card["trained_on"])))
    minutes = (time.process_time() - start) / 60
    options.out.mkdir(parents=True, exist_ok=True)
    write(card, network, minutes, options.out)


def write(card: dict[str, Any], network: TimmNetwork, minutes: float, out: Path) -> None:
    """The two files that a training run leaves in ``out``."""
    path = out / f"{card['name']}.safetensors"
    state = network.network.state_dict().items()
    path.write_bytes(save({name: value.contiguous() for name, value in state if not name.endswith(COUNTER)}))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    share = accuracy(network, *split("test", None))
    finished = card | {
        "weights": {"uri": f"package://preimage.adapters.timm_classifier/{path.name}", "sha256": digest},
        "training": card["training"] | {"test_accuracy": round(share, 4), "minutes": round(minutes, 1)},
    }
    text = yaml.safe_dump(finished, sort_keys=False, width=120, default_flow_style=None)
    (out / f"{card['name']}.yaml").write_text(text, encoding="utf-8")
    print(f"{path}: {path.stat().st_size} bytes, sha256 {digest}, {share:.4f} of test images, {minutes:.1f} minutes")


if __name__ == "__main__":
    main()
