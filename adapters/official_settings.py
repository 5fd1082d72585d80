"""The constructor settings of an official generator, as a card's config or a record of its release gives them."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping

from preimage.harness.cards import Config
from preimage.harness.errors import CardError

RECORD = "init_kwargs"  # a record of a release holds the settings under this name, beside much that is none


def official_settings(config: Config, known: Collection[str], family: str) -> dict[str, object]:
    """The settings by their upstream names: those under ``init_kwargs`` where there are any, and the config's own.

    known: every setting of the family, among them ours (e.g. ``truncation_psi``). What a record says beside its
    ``init_kwargs`` is ignored; in a plain config every name must be known. Raises CardError that lists the others.
    """
    record = config.get(RECORD)
    if isinstance(record, Mapping):
        own = {name: value for name, value in config.items() if name in known}
        return _checked({**record, **own}, known, family)
    return _checked(config, known, family)


def _checked(settings: Mapping[str, object], known: Collection[str], family: str) -> dict[str, object]:
    unknown = [name for name in settings if name not in known]
    if unknown:
        raise CardError(
            f"family {family!r}: unknown {'settings' if len(unknown) > 1 else 'setting'} in `config`: "
            f"{', '.join(_named(name, known) for name in unknown)}. Known are: {', '.join(sorted(known))}"
        )
    return dict(settings)


def _named(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"`{name}`" + (f" (did you mean `{close[0]}`?)" if close else "")
