"""Errors. Each says what happened, the value seen and what to type; ``preimage`` prints the message alone."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PreimageError(Exception):
    """Anything that preimage refuses to do, told in words that help."""


class UsageError(PreimageError):
    """The command asks for something that cannot be meant: an unknown name, an unknown option. Exit status 2."""


class UnknownName(UsageError):
    """A name that nothing registered answers to."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        guess = f" Did you mean {' or '.join(repr(c) for c in close)}?" if close else ""
        plural = {"class": "classes", "family": "families"}.get(kind, f"{kind}s")
        super().__init__(f"unknown {kind} {name!r}.{guess} Type `preimage list {plural}` to see all {len(names)}.")


class CardError(UsageError):
    """A model card with a missing, unknown or impossible field."""


class WeightsError(PreimageError):
    """Weights that are missing, have another hash than the card says, or do not fit the architecture."""


class DatasetError(PreimageError):
    """Images that cannot be read, or are not what a data set promises (size, range, labels)."""


class GeneratorError(PreimageError):
    """A generator that breaks its contract: shape, dtype, non-finite images, unknown space or label."""


class NotFiniteJacobian(GeneratorError):
    """Derivatives of a generator that are not finite at the codes where they were taken."""


class PluginError(PreimageError):
    """A plug-in that fails to import or registers what it must not."""


class DuplicateName(PluginError):
    """Two plug-ins register one name."""


class StoreError(PreimageError):
    """The database cannot be used: another version, locked, full, not a database."""


class MergeConflict(StoreError):
    """Two databases hold other rows for the same block."""


class NotFiniteRows(PreimageError):
    """A measurement gave a value that is not a finite number; it is not stored."""


class Refused(PreimageError):
    """A benchmark cannot score this model; the message is the reason. A row on the board, never a crash."""


class EmptySplit(PreimageError):
    """A statistic was asked of no finite value at all."""
