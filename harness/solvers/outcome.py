"""How the recovery of one image ended."""

from __future__ import annotations

from enum import Enum


class Outcome(Enum):
    """The end of a minimisation, as a sentence with its remedy."""

    EXACT = "The error is below the rounding of float32; nothing is left to gain."
    ENCODED = "The model's own encoder gave the code in one pass; nothing was minimised."
    CONVERGED = "Converged: the energy stopped falling."
    STALLED = (
        "No step lowers the energy, not even along the preconditioned gradient: a minimum to float32 rounding, "
        "or a kink. If the error looks too high, try more restarts."
    )
    BUDGET_SPENT = "All steps were spent before the energy stopped falling. More may lower it: raise `steps`."
    RESTARTED = (
        "The energy became non-finite and the search was started again from another draw; the best finite code is "
        "kept. If this is common, lower the learning rate or keep codes plausible with a projection."
    )
    DIVERGED = (
        "The energy became non-finite and there was no restart left; the best finite code is kept. "
        "Lower the learning rate, keep codes plausible with a projection, or allow restarts."
    )
    NON_FINITE = (
        "The energy was non-finite at every code tried: there is no recovery. "
        "Run `preimage check` on the model, and look at the image for values that are not finite."
    )

    @property
    def found(self) -> bool:
        """Whether there is a code with a finite energy."""
        return self is not Outcome.NON_FINITE
