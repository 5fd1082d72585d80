"""What the settings of a sampler may be, and what a chain of so many evaluations costs exactly."""

from __future__ import annotations

from preimage.harness.errors import UsageError

LONGEST = 2.0
"""Longest trajectory, leapfrogs x step in white units. Near pi a Gaussian is mapped onto its mirror image: nearly
every proposal is accepted, and nothing mixes."""


def check_chains(chains: int) -> None:
    """Raises UsageError for fewer than 2 chains: no effective sample size, no spread."""
    if chains < 2:
        raise UsageError(f"chains is {chains}; at least 2 are needed to see how far chains disagree, e.g. chains=4")


def check_transition(leapfrogs: int, persistence: float, shift: float) -> None:
    """Raises UsageError where no transition could have these settings."""
    if leapfrogs < 1:
        raise UsageError(f"leapfrogs is {leapfrogs}; a transition needs at least 1")
    if not 0 <= persistence < 1:
        raise UsageError(f"persistence is {persistence}; it must be at least 0 and below 1")
    if not 0 < shift <= 1:
        raise UsageError(f"shift is {shift}; it must be above 0, and at most 1, which draws each level anew")


def check_evaluations(evaluations: int, leapfrogs: int) -> None:
    """Raises UsageError where a chain could not afford one transition."""
    if evaluations < 1 + leapfrogs:
        raise UsageError(
            f"evaluations is {evaluations}; a chain with {leapfrogs} leapfrogs needs at least {1 + leapfrogs} for one "
            "transition, and some thousand for a close bound, e.g. evaluations=2500"
        )


def check_share(name: str, value: float) -> None:
    """Raises UsageError unless the value lies between 0 and 1, both excluded."""
    if not 0 < value < 1:
        raise UsageError(f"{name} is {value}; it must be above 0 and below 1")


def check_resampling(times: int, after: float) -> None:
    """Raises UsageError where chains cannot be resampled so."""
    if times < 0:
        raise UsageError(f"resamplings is {times}; it is how often chains are resampled, 0 for never")
    if not 0 <= after < 1:
        raise UsageError(f"resampled_after is {after}; a share of the path lies between 0 and below 1, e.g. 0.3")


def intervals_for(evaluations: int, leapfrogs: int) -> int:
    """The most temperatures above 0 that a chain can have for this many gradient evaluations; at least 1."""
    return max(1, 1 + (evaluations - 1) // leapfrogs)


def chain_cost(evaluations: int, leapfrogs: int) -> int:
    """What a chain that may spend so many gradient evaluations does spend: its start, and whole transitions."""
    return 1 + leapfrogs * (intervals_for(evaluations, leapfrogs) - 1)
