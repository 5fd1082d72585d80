"""Make the weights that ship: fit the network to the training images and the numbers that they were drawn from.

    python -m preimage_shapes.train shapes-coordinate-net.safetensors

Two minutes on one core. Prints the sha256 for the card.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file

from preimage_shapes.coordinate_net import CoordinateNet, Settings
from preimage_shapes.shapes import factors, open_dataset


def train(steps: int = 3000, seed: int = 0) -> CoordinateNet:
    """Mean squared error over all training images at once, Adam, a cosine schedule."""
    torch.manual_seed(seed)
    generator = CoordinateNet(Settings())
    code = torch.from_numpy(factors("train")[0]).float()
    image, label = open_dataset().read("train", range(len(code)))
    optimiser = torch.optim.Adam(generator.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for step in range(steps):
        loss = (generator.decode(code, label) - image).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 500 == 0:
            print(f"step {step}: mean squared error {loss.item():.5f}")
    return generator


if __name__ == "__main__":
    path = Path(sys.argv[1])
    weights = {name: value.contiguous() for name, value in train().network.state_dict().items()}
    save_file(weights, path, metadata={"config": json.dumps(asdict(Settings()))})
    print(f"{path}: sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}")
