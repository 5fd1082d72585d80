"""What a sampler of ``log p(x)`` is: frozen settings, numbers tuned once per model, bounds for a batch of images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from preimage.harness.samplers.curvature import Curvature
    from preimage.harness.samplers.likelihood import Likelihood
    from preimage.harness.streams import Streams

SHARES = 16
"""Equal shares of a path in which its acceptance is reported."""


class Exact(NamedTuple):
    """Where simulated images came from, for their upper bounds: coordinates u [n, dim], and the reverse chains' own
    streams, so that lower bounds are the same with and without."""

    u: Tensor
    streams: Streams


class Estimate(NamedTuple):
    """log p(x) of each image in nats, and what says how far to believe it. float64 where not said otherwise.

    lower: [n]. upper: [n], where exact codes were given. ess: effective number of chains, [n], the least on the path
    where they were resampled. acceptance: mean chance over the transitions of each chain, [n, chains]. profile: mean
    chance over chains in 16 equal shares of the path, from start to posterior, [n, 16]. step: mean, white units (code
    units where there is no metric), [n]. non_finite: proposals rejected for it, [n] int64. dead: chains that never had
    a finite likelihood or proposal, [n] int64. log_weight: [n, chains]; -inf for a dead start. pilot_log_weight: the
    same of the pilot, where there is one. code: of the chain with the highest joint density at the end, [n, dim]
    float32, a code of the space. evaluations: counted over all chains, of both bounds, [n] int64. borrowed: whether
    the model's curvature stood in for the image's own, which was not finite, [n] bool.

    But for ``lower``, ``upper`` and ``pilot_log_weight``, all is said of the measured forward chains alone.
    """

    lower: Tensor
    upper: Tensor | None
    ess: Tensor
    acceptance: Tensor
    profile: Tensor
    step: Tensor
    non_finite: Tensor
    dead: Tensor
    log_weight: Tensor
    pilot_log_weight: Tensor | None
    code: Tensor
    evaluations: Tensor
    borrowed: Tensor


class Sampler(Protocol):
    """A way to anneal. Implementations are frozen dataclasses whose fields are its settings; their modules import no
    torch, their numerics lie in modules of their own.

    An image's numbers depend on its own streams and on what was tuned for the model, on no other image.
    """

    name: ClassVar[str]

    @property
    def chains(self) -> int:
        """Per image, at least 2."""
        ...

    @property
    def evaluations(self) -> int:
        """Gradient evaluations per chain, pilots and Jacobians included."""
        ...

    @property
    def needs_curvature(self) -> bool:
        """Whether ``curve`` must be there."""
        ...

    @property
    def needs_tuning(self) -> bool:
        """Whether ``tuned`` must be there."""
        ...

    def cost(self, dim: int, upper: bool = False) -> int:
        """Exact generator evaluations of one image in a space of this dimension, all chains; of both bounds where
        ``upper``. Raises UsageError where ``evaluations`` cannot pay for it."""
        ...

    def tuning_cost(self, dim: int, images: int) -> int:
        """Exact generator evaluations of ``tune`` on so many images."""
        ...

    def tune(self, likelihood: Likelihood, curve: Curvature | None, streams: Streams, exact: Exact) -> dict[str, float]:
        """Numbers by name, fixed for a model before anything is measured, from images simulated for this alone."""
        ...

    def estimate(
        self,
        likelihood: Likelihood,
        curve: Curvature | None,
        tuned: Mapping[str, float],
        streams: Streams,
        exact: Exact | None = None,
    ) -> Estimate:
        """Lower bounds, and upper ones where the exact codes are given.

        curve: of each image, or one for all. Raises GeneratorError that lists the images on which every chain died.
        """
        ...
