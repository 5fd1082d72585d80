"""Which declared metric a score is of: a variant has a suffix, and a family of metrics is declared by a pattern."""

from __future__ import annotations

from collections.abc import Iterable


def declared(metric: str, names: Iterable[str]) -> str | None:
    """The name that ``metric`` is declared by: itself, else the longest that it is a variant of, else a pattern.

    ``accuracy/likelihood/sigma2=0.01`` is a variant of ``accuracy/likelihood`` where that is declared, of ``accuracy``
    where it is not; ``share_svhn/50`` is of the family ``share_*``. None: it is not declared.
    """
    known = list(names)
    parts = metric.split("/")
    for length in range(len(parts), 0, -1):
        if (head := "/".join(parts[:length])) in known:
            return head
    return next((name for name in known if name.endswith("*") and metric.startswith(name[:-1])), None)
