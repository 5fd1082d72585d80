"""Recovered images scored in another distance, from their stored codes: nothing is recovered again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from preimage.harness.requests import Images, Neighbours, Recovery, Request

if TYPE_CHECKING:
    from preimage.harness.rows import Block
    from preimage.harness.world import World


@dataclass(frozen=True, kw_only=True)
class Rescored(Request):
    """The distance of each recovered image (a reference's neighbour) from its target, in another distance than it was
    found by. One row per row of ``of``; it takes one generator evaluation, to decode the code.
    """

    kind: ClassVar[str] = "rescored"
    of: Recovery | Neighbours
    distance: str
    distance_identity: str = ""

    @classmethod
    def asked(cls, of: Recovery | Neighbours, distance: str) -> Rescored:
        """The rescoring of a request's rows, in blocks of the same images."""
        return cls(model=of.model, of=of, distance=distance, block=of.block, threads=of.threads, seed=of.seed)

    @property
    def images(self) -> Images:
        """The images that were recovered."""
        return self.of.images

    def needs(self) -> tuple[tuple[Request, int | None], ...]:
        return ((self.of, None),)

    def evaluations(self, images: int) -> int:
        if isinstance(self.of, Neighbours):
            return 0
        return images * (self.of.labels if self.of.label == "every" else 1)

    def measure(self, block: int, world: World) -> Block:
        from preimage.harness.measurements.rescored import measure_rescored

        return measure_rescored(self, block, world)
