"""Random numbers: one stream per image, so that a draw depends on no other image, batch, worker or order."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def seed_of(*entropy: int | str) -> int:
    """A 64-bit seed from anything that names a stream, e.g. ``seed_of(request.seed, "start", restart, image)``.

    The same on every machine; two different tuples give unrelated seeds (BLAKE2b). A whole number of NumPy counts as
    the number it is.
    """
    parts = [part if isinstance(part, str) else int(part) for part in entropy]
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


class Streams:
    """Independent random streams, one per image of a batch.

    seeds: one integer per image, [n]. Draws come from NumPy's PCG64 on the CPU in float32 and are moved to ``device``,
    so the numbers are the same on every device.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device | str = "cpu") -> None:
        self._generators = [np.random.default_rng(seed) for seed in seeds]
        self.device = torch.device(device)

    def __len__(self) -> int:
        return len(self._generators)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal draws, [n, *shape] float32."""
        return self._stack([g.standard_normal(shape, dtype=np.float32) for g in self._generators], shape)

    def uniform(self, *shape: int) -> Tensor:
        """Draws from [0, 1), [n, *shape] float32."""
        return self._stack([g.random(shape, dtype=np.float32) for g in self._generators], shape)

    def integers(self, high: int) -> Tensor:
        """One draw from {0, ..., high - 1} per image, [n] int64."""
        return torch.tensor([int(g.integers(high)) for g in self._generators], dtype=torch.int64, device=self.device)

    def select(self, index: Tensor) -> Streams:
        """The streams of some images, [k] indices. They go on where they stand: streams are shared, not copied."""
        chosen = Streams([], self.device)
        chosen._generators = [self._generators[i] for i in index.tolist()]
        return chosen

    def _stack(self, draws: list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]], shape: tuple[int, ...]) -> Tensor:
        if not draws:
            return torch.empty((0, *shape), device=self.device)
        return torch.from_numpy(np.stack(draws)).to(self.device)
