"""What an optimiser of codes is: frozen settings, a state per image, one step of a whole batch at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from preimage.harness.errors import UsageError
from preimage.harness.streams import Streams

S = TypeVar("S", bound=tuple[Any, ...])


class Value(NamedTuple):
    """The energy of each image's code and its gradient: energy [n] float32, gradient [n, dim] float32."""

    energy: Tensor
    gradient: Tensor


class Energy(Protocol):
    """What is minimised over the codes of a batch of independent images. One call: one generator evaluation per image.

    ``preconditioner`` is the model's metric for these images (see ``metric.py``), or None where the solver does not
    ask for it. ``floor``: an energy at or below it is rounding and nothing else; ``-inf`` where there is no such bound.
    """

    def __call__(self, code: Tensor) -> Value: ...

    def select(self, index: Tensor) -> Energy:
        """The energy of some of the images, [k] indices into the batch."""
        ...

    @property
    def preconditioner(self) -> Preconditioner | None: ...

    @property
    def floor(self) -> float: ...


class Preconditioner(Protocol):
    """A positive definite model H of the inverse Hessian of the energy at its start, the same for all steps.

    ``H = scale(start energy) * inverse``, and ``inverse`` is proportional to ``L L^T`` with ``L = colour``.
    """

    def inverse(self, vector: Tensor) -> Tensor:
        """H v per image, up to ``scale``, [n, dim] -> [n, dim]."""
        ...

    def scale(self, energy: Tensor) -> Tensor:
        """The factor that makes ``inverse`` the inverse Hessian where the energy has this value, [n] -> [n]."""
        ...

    def colour(self, vector: Tensor) -> Tensor:
        """L v: whitened coordinates to code, [n, dim] -> [n, dim]. A white step has the length of a coloured one."""
        ...

    def adjoint(self, vector: Tensor) -> Tensor:
        """L^T v: the gradient in the code to the gradient in whitened coordinates, [n, dim] -> [n, dim]."""
        ...

    def select(self, index: Tensor) -> Preconditioner: ...


class Info(NamedTuple):
    """What a step has seen. It evaluated the energy ONCE per image, at ``code``.

    code: [n, dim], where. energy: [n], what it was there (non-finite where it was so). done: [n] bool, the solver can
    go no further for this image.
    """

    code: Tensor
    energy: Tensor
    done: Tensor


Projection = Callable[[Tensor], Tensor]
"""Codes to codes, applied after each step: onto a ball, a box, or nothing at all."""


class Solver(Protocol[S]):
    """An optimiser. Implementations are frozen dataclasses whose fields are its settings (and its options on the
    command line, its row in the docs and its record in the database).

    ``steps`` is the most evaluations one run may spend on an image. An image has converged once its energy has gained
    less than the share ``tolerance`` in ``patience`` evaluations; patience 0: never, and all steps
    are spent. Modules of settings import no torch.
    """

    name: ClassVar[str]

    @property
    def steps(self) -> int: ...

    @property
    def tolerance(self) -> float: ...

    @property
    def patience(self) -> int: ...

    @property
    def needs_metric(self) -> bool:
        """Whether ``energy.preconditioner`` must be there."""
        ...

    def init(self, energy: Energy, position: Tensor) -> S:
        """The state before the first step, without any evaluation. position: [n, dim], the start."""
        ...

    def step(self, energy: Energy, state: S, streams: Streams | None, projection: Projection | None) -> tuple[S, Info]:
        """One evaluation per image, and what follows from it. Every tensor of the state has the images first."""
        ...


def select_state(state: S, index: Tensor) -> S:
    """The state of some images: every tensor in it, or in a record in it, narrowed to [k] indices."""

    def narrowed(part: Any) -> Any:
        if isinstance(part, Tensor):
            return part[index]
        return select_state(part, index) if isinstance(part, tuple) else part

    return type(state)(*[narrowed(part) for part in state])


def merge_state(state: S, index: Tensor, fresh: S) -> S:
    """The state with the images at [k] indices replaced by those of ``fresh``."""

    def replaced(old: Any, new: Any) -> Any:
        if isinstance(old, Tensor):
            return old.index_copy(0, index, new)
        return merge_state(old, index, new) if isinstance(old, tuple) else old

    return type(state)(*[replaced(old, new) for old, new in zip(state, fresh, strict=True)])


def all_finite(value: Value) -> Tensor:
    """Which images have a finite energy and gradient, [n] bool."""
    return torch.isfinite(value.energy + value.gradient.sum(dim=1))  # a sum with a non-finite term is not finite


def required_preconditioner(energy: Energy, who: str, otherwise: str) -> Preconditioner:
    """The energy's preconditioner. Raises UsageError where there is none."""
    if energy.preconditioner is None:
        raise UsageError(
            f"{who} works in the model's metric, and this energy has none. "
            f"Give RecoveryEnergy a preconditioner, or set {otherwise}"
        )
    return energy.preconditioner
