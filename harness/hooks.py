"""The hooks a plug-in may implement. Each is handed ``register`` and calls it once per thing it brings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import pluggy

hookspec = pluggy.HookspecMarker("preimage")
hookimpl = pluggy.HookimplMarker("preimage")

Register: TypeAlias = Callable[..., None]
"""``register(thing)``, or ``register(name, thing)`` for a thing that has no name of its own."""


class Hooks:
    """The hook specifications. Every hook is optional; built-ins use the same ones."""

    @hookspec
    def register_families(self, register: Register) -> None:
        """Architectures: ``register(Family(name, build, read))``."""

    @hookspec
    def register_models(self, register: Register) -> None:
        """Models: ``register(ModelCard(...))``, or ``register(path)`` of a YAML card or a folder of them."""

    @hookspec
    def register_datasets(self, register: Register) -> None:
        """Data sets: ``register(DatasetCard(...))`` (opened when needed) or ``register(dataset)``."""

    @hookspec
    def register_benchmarks(self, register: Register) -> None:
        """Evaluations: ``register(benchmark)``."""

    @hookspec
    def register_suites(self, register: Register) -> None:
        """Published protocols: ``register(path)`` of a suite's YAML file or a folder of them."""

    @hookspec
    def register_distances(self, register: Register) -> None:
        """Distances between images: ``register(distance)``, or ``register(DistanceCard(...))``, opened when needed."""

    @hookspec
    def register_backbones(self, register: Register) -> None:
        """Fixed image networks that distances look through: ``register(path)`` of a YAML card or a folder of them."""

    @hookspec
    def register_solvers(self, register: Register) -> None:
        """Optimisers of codes: ``register(SolverClass)``, a frozen dataclass of settings with a ``name``."""

    @hookspec
    def register_samplers(self, register: Register) -> None:
        """Samplers of codes: ``register(SamplerClass)``, a frozen dataclass of settings with a ``name``."""

    @hookspec
    def register_commands(self, cli: Any) -> None:
        """Verbs of the command line: ``cli.add_command(...)`` on the click group it is handed."""


@dataclass(frozen=True)
class Deferred:
    """A thing named by import string, ``"package.module:name"``, imported when it is first asked for.

    ``register(name, Deferred(...))``: hook modules use it for what listing models does not need. call: the name is of a
    class or function that makes the thing.
    """

    target: str
    call: bool = False

    def get(self) -> Any:
        """The thing itself."""
        import importlib

        module, _, attribute = self.target.partition(":")
        found = getattr(importlib.import_module(module), attribute)
        return found() if self.call else found


def lazy(target: str) -> Callable[..., Any]:
    """A callable named by import string, ``"package.module:function"``, imported when it is first called.

    Hook modules use it so that listing what is installed imports neither torch nor weights.
    """
    module, _, attribute = target.partition(":")

    def call(*args: Any, **kwargs: Any) -> Any:
        import importlib

        return getattr(importlib.import_module(module), attribute)(*args, **kwargs)

    call.__name__ = call.__qualname__ = attribute
    call.__doc__ = f"Calls {target}."
    return call
