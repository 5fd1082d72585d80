"""A small world as a plug-in file: linear and curved generators, a data set, all of known numbers."""

from __future__ import annotations

from pathlib import Path

SMALL_WORLD = '''
"""Small models and data for tests."""
import time

import numpy as np
import torch

from preimage.harness import ArrayDataset, Generator, ImageSpec, LatentSpace, ModelCard, StandardNormal, hookimpl

IMAGE = ImageSpec(1, 8, 8)


class Linear(Generator):
    """G(z) = W z + b, of fixed W [64, 6]."""

    def __init__(self, seed=0, pause=0.0):
        super().__init__()
        rng = np.random.default_rng(seed)
        self.register_buffer("w", torch.tensor(0.05 * rng.standard_normal((64, 6)), dtype=torch.float32))
        self.register_buffer("b", torch.tensor(0.3 + 0.4 * rng.random(64), dtype=torch.float32))
        self.spaces = {"z": LatentSpace("z", 6, StandardNormal())}
        self.image = IMAGE
        self.num_classes = 0
        self.pause = pause

    def decode(self, code, label=None, *, space="z"):
        time.sleep(self.pause)
        return (code @ self.w.T + self.b).reshape(-1, 1, 8, 8)


class Curved(Linear):
    """A generator with a curve in it, so that solvers have something to do; one mean per class."""

    def __init__(self, pause=0.0):
        super().__init__(1, pause)
        self.num_classes = 3
        self.register_buffer("means", torch.tensor(np.random.default_rng(2).random((3, 64)), dtype=torch.float32))

    def decode(self, code, label=None, *, space="z"):
        time.sleep(self.pause)
        flat = torch.sigmoid(2 * torch.tanh(code @ self.w.T * 8) + 2 * self.means[label] - 1)
        return flat.reshape(-1, 1, 8, 8)


def images(count, seed):
    rng = np.random.default_rng(seed)
    return rng.random((count, 1, 8, 8)).astype(np.float32), rng.integers(0, 3, count)


def card(name, load=None, **more):
    return ModelCard(name=name, family="test", dataset="squares", image=IMAGE, load=load, **more)


@hookimpl
def register_models(register):
    register(card("linear", lambda device: Linear(), num_classes=0, trained_on=40))
    register(card("curved", lambda device: Curved(), num_classes=3))
    register(card("slow", lambda device: Curved(pause=0.004), num_classes=3))
    register(card("near", num_classes=3, kind="reference"))


@hookimpl
def register_datasets(register):
    register(ArrayDataset("squares", {"train": images(96, 3), "test": images(80, 4)}))
'''


def small_world(folder: Path) -> Path:
    """The plug-in's file, written into the folder: models linear, curved, slow and near, data set squares."""
    file = folder / "small_world.py"
    file.write_text(SMALL_WORLD)
    return file
