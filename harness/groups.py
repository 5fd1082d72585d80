"""Groups of images for a delete-a-group jackknife: alike in size, each spread over the whole set."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import torch
from torch import Tensor


@dataclass(frozen=True)
class Groups:
    """So many groups of ``size`` images; image i is of group i mod ``count``."""

    size: int
    count: int

    @cached_property
    def order(self) -> Tensor:
        """The images' indices, those of a group side by side, [size]."""
        return (torch.arange(self.size) % self.count).argsort(stable=True)

    @property
    def sizes(self) -> list[int]:
        """How many images each group has."""
        return [len(range(group, self.size, self.count)) for group in range(self.count)]

    @property
    def slices(self) -> list[slice]:
        """Where each group stands among images in ``order``."""
        return [slice(end - size, end) for size, end in zip(self.sizes, accumulate(self.sizes), strict=True)]

    def without(self, images: Tensor, group: int) -> Tensor:
        """The images, which stand in ``order``, but for those of one group."""
        left = self.slices[group]
        return torch.cat([images[: left.start], images[left.stop :]])
