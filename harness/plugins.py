"""What is installed: every plug-in loaded once, everything it registers in one catalogue per kind."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import pluggy

from preimage.harness.backbone_cards import BackboneCard, read_any_cards
from preimage.harness.cards import DatasetCard, Family, ImageSpec, ModelCard
from preimage.harness.derived_names import HUB, base_name, derivation
from preimage.harness.distances import DistanceCard, WeightedSum, terms
from preimage.harness.errors import DuplicateName, PluginError, PreimageError, UnknownName, UsageError
from preimage.harness.hooks import Deferred, Hooks

if TYPE_CHECKING:
    import click

    from preimage.harness.backbones import Backbone
    from preimage.harness.benchmark import Benchmark
    from preimage.harness.datasets import Dataset
    from preimage.harness.distances import Distance
    from preimage.harness.samplers.interface import Sampler
    from preimage.harness.solvers.interface import Solver
    from preimage.harness.suites import Suite

T = TypeVar("T")


class Catalogue(Generic[T]):
    """Things of one kind by name, each with the plug-in that brought it."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._things: dict[str, T | Deferred] = {}
        self._owners: dict[str, str] = {}

    def add(self, name: str, thing: T | Deferred, owner: str) -> None:
        """Raises DuplicateName, naming both plug-ins, where the name is taken."""
        if name in self._things:
            first = self._owners[name]
            both = f"plug-in {first!r} twice" if first == owner else f"plug-ins {first!r} and {owner!r} both"
            raise DuplicateName(f"{both} register a {self.kind} named {name!r}. Rename one, or leave one out")
        self._things[name] = thing
        self._owners[name] = owner

    def drop(self, owner: str, only: str | None = None) -> None:
        """Forget what a plug-in has registered, or one thing of it."""
        for name in [name for name, its in self._owners.items() if its == owner and only in (None, name)]:
            del self._things[name], self._owners[name]

    def __getitem__(self, name: str) -> T:
        if name not in self._things:
            raise UnknownName(self.kind, name, self._things)
        found = self._things[name]
        if isinstance(found, Deferred):
            found = self._things[name] = found.get()
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._things

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._things))

    def __len__(self) -> int:
        return len(self._things)

    def owner(self, name: str) -> str:
        """The plug-in that registered the name."""
        return self._owners[name]

    def items(self) -> list[tuple[str, T]]:
        return [(name, self[name]) for name in self]


@dataclass(frozen=True)
class Plugin:
    """A plug-in: where it comes from and, where it could not be loaded, what went wrong."""

    name: str
    source: str
    problem: str = ""
    trace: str = field(default="", repr=False)


@dataclass(frozen=True)
class Sources:
    """Which plug-ins and cards to load: what a worker process needs to see the same world as its parent."""

    plugins: tuple[str, ...] = ()
    cards: tuple[str, ...] = ()
    datasets: tuple[tuple[str, ImageSpec | None], ...] = ()
    """Files or folders of images, and the shape that a folder's images are resized to."""
    entry_points: bool = True


class Registry:
    """Everything that is installed. A plug-in that fails to import is noted in ``plugins`` and skipped.

    Raises DuplicateName for two things of one kind and name, CardError for a card that is none, UsageError for a
    plug-in's file that is not there.
    """

    def __init__(self, sources: Sources = Sources()) -> None:
        self.sources = sources
        self.plugins: list[Plugin] = []
        self.families: Catalogue[Family] = Catalogue("family")
        self.models: Catalogue[ModelCard] = Catalogue("model")
        self.datasets: Catalogue[DatasetCard | Dataset] = Catalogue("dataset")
        self.benchmarks: Catalogue[Benchmark[Any]] = Catalogue("benchmark")
        self.suites: Catalogue[Suite] = Catalogue("suite")
        self.distances: Catalogue[Distance | DistanceCard] = Catalogue("distance")
        self.backbones: Catalogue[BackboneCard] = Catalogue("backbone")
        self.solvers: Catalogue[type[Solver[Any]]] = Catalogue("solver")
        self.samplers: Catalogue[type[Sampler]] = Catalogue("sampler")
        self._catalogues: tuple[Catalogue[Any], ...] = (
            *(self.families, self.models, self.datasets, self.benchmarks),
            *(self.suites, self.distances, self.backbones, self.solvers, self.samplers),
        )
        self._manager = pluggy.PluginManager("preimage")
        self._manager.add_hookspecs(Hooks)
        self._opened: dict[str, Dataset] = {}
        self._distances: dict[str, Distance] = {}
        self._backbones: dict[str, Backbone] = {}
        for name, load, source in _found(sources):
            self._load(name, load, source)
        self._register_all()
        for card_path in sources.cards:
            self._add_cards(Path(card_path), f"card {card_path}", stands_in=True)
        for path, image in sources.datasets:
            from preimage.harness.readers import dataset_from

            dataset = dataset_from(path, image=image)
            taken = dataset.name in self.datasets  # mnist.npz is no fault because there is a data set mnist
            name = Path(path).name + "/" * Path(path).expanduser().is_dir() if taken else dataset.name
            self.datasets.add(name, dataset, f"path {path}")

    @property
    def choices(self) -> Mapping[str, Catalogue[type[Any]]]:
        """The records that options choose by name, by what is chosen."""
        return {"solver": self.solvers, "sampler": self.samplers}

    def brought(self, model: str) -> bool:
        """Whether the model comes from a card or plug-in of this command, not from an installed one."""
        files = {str(Path(file)) for file in self.sources.plugins}
        own = {plugin.name for plugin in self.plugins if plugin.source in files}
        return self.models.owner(model) in own | {f"card {path}" for path in self.sources.cards}

    def dataset(self, name: str, *, offline: bool = False) -> Dataset:
        """The data set of that name, registered or derived (see ``derived_names.py``), opened once.

        offline: nothing may be downloaded. Raises UnknownName, and UsageError for a shape or address that is none.
        """
        if name not in self._opened:
            self.check_dataset(name)
            self._opened[name] = self._open(name, offline)
        return self._opened[name]

    def has_dataset(self, name: str) -> bool:
        """Whether the name means a data set that is registered, one made from it, or an address on the Hub."""
        base = base_name(name, self.datasets)
        return base in self.datasets or base.startswith(HUB)

    def check_dataset(self, name: str) -> None:
        """Raises UnknownName for a name that means no data set, UsageError for a shape that is none; opens nothing."""
        if not self.has_dataset(name):
            raise UnknownName("dataset", base_name(name, self.datasets), self.datasets)
        while name not in self.datasets and (derived := derivation(name)) is not None:
            name = derived.base
        if name not in self.datasets:
            from preimage.harness.hub_address import hub_address

            hub_address(name)

    def _open(self, name: str, offline: bool) -> Dataset:
        if name in self.datasets:
            found = self.datasets[name]
            if not isinstance(found, DatasetCard):
                return found
            return found.open(offline=offline) if found.downloads else found.open()
        from preimage.harness.derived_data import Inverted, in_shape

        derived = derivation(name)
        if derived is None:
            from preimage.harness.hub_data import open_hub_dataset

            return open_hub_dataset(name, offline=offline)
        source = self.dataset(derived.base, offline=offline)
        return Inverted(source) if derived.image is None else in_shape(source, derived.image)

    def distance(self, name: str, *, offline: bool = False) -> Distance:
        """The distance of that name, or the weighted sum that it spells; opened once.

        Raises UnknownName, UsageError for a weight that is none, WeightsError where weights cannot be had.
        """
        if name not in self._distances:
            self.check_distance(name)
            self._distances[name] = self._open_distance(name, offline)
        return self._distances[name]

    def check_distance(self, name: str) -> None:
        """Raises UnknownName for a name that means no distance, UsageError for a sum that is none; opens nothing."""
        for _, part in [(1.0, name)] if name in self.distances else terms(name):
            self.distances[part]

    def backbones_of(self, distance: str) -> list[str]:
        """The names of the backbones that a distance looks through."""
        self.check_distance(distance)
        parts = [distance] if distance in self.distances else [part for _, part in terms(distance)]
        cards = [card for part in parts if isinstance(card := self.distances[part], DistanceCard)]
        return list(dict.fromkeys(name for card in cards for name in card.backbones))

    def backbone(self, name: str, *, offline: bool = False) -> Backbone:
        """The backbone of that name, loaded once. Raises UnknownName, and WeightsError where it cannot be had."""
        if name not in self._backbones:
            from preimage.harness.backbones import load_backbone

            self._backbones[name] = load_backbone(self.backbones[name], offline=offline)
        return self._backbones[name]

    def _open_distance(self, name: str, offline: bool) -> Distance:
        if name not in self.distances:
            return WeightedSum(name, [(w, self.distance(part, offline=offline)) for w, part in terms(name)])
        found = self.distances[name]
        if isinstance(found, DistanceCard):
            return found.open(lambda backbone: self.backbone(backbone, offline=offline))
        return found

    def add_commands(self, cli: click.Group) -> None:
        """Let every plug-in add its verbs to the command line. Raises PluginError that names one that fails to."""
        for hook in self._manager.hook.register_commands.get_hookimpls():
            try:
                hook.function(cli)
            except PreimageError:
                raise
            except Exception as error:  # a stranger's hook may raise anything
                raise PluginError(f"plug-in {hook.plugin_name!r} fails to add its verbs: {error!r}") from error

    def _load(self, name: str, load: Callable[[], object], source: str) -> None:
        try:
            plugin = load()
            self._manager.register(plugin, name=name)
            try:
                self._manager.check_pending()  # a misspelt hook would never be called
            except pluggy.PluginValidationError:
                self._manager.unregister(plugin)
                raise
        except (Exception, SystemExit) as error:  # a stranger's module may raise anything at all at import
            self.plugins.append(Plugin(name, source, f"{type(error).__name__}: {error}", traceback.format_exc()))
        else:
            self.plugins.append(Plugin(name, source))

    def _register_all(self) -> None:
        for plugin in [p for p in self.plugins if not p.problem]:
            module = self._manager.get_plugin(plugin.name)
            others = [m for m in self._manager.get_plugins() if m is not module]
            try:
                self._register(plugin.name, self._manager.subset_hook_caller, others)
            except DuplicateName:
                raise
            except Exception as error:
                broken = Plugin(plugin.name, plugin.source, f"{type(error).__name__}: {error}", traceback.format_exc())
                self.plugins[self.plugins.index(plugin)] = broken
                for catalogue in self._catalogues:
                    catalogue.drop(plugin.name)

    def _register(self, owner: str, caller: Callable[..., Any], others: list[Any]) -> None:
        def call(hook: str, add: Callable[..., None]) -> None:
            caller(hook, others)(register=add)

        def add_models(*args: Any) -> None:
            if isinstance(args[-1], ModelCard):
                self.models.add(args[-1].name, args[-1], owner)
                return
            self._add_cards(Path(str(args[-1])), owner)

        def add_backbones(*args: Any) -> None:
            if isinstance(args[-1], BackboneCard):
                self.backbones.add(args[-1].name, args[-1], owner)
                return
            self._add_cards(Path(str(args[-1])), owner)

        def add_suites(path: Path | str) -> None:
            from preimage.harness.suites import read_suites

            for suite in read_suites(Path(path)):
                self.suites.add(suite.name, suite, owner)

        call("register_families", _adder(self.families, owner))
        call("register_models", add_models)
        call("register_datasets", _adder(self.datasets, owner))
        call("register_benchmarks", _adder(self.benchmarks, owner))
        call("register_suites", add_suites)
        call("register_distances", _adder(self.distances, owner))
        call("register_backbones", add_backbones)
        call("register_solvers", _adder(self.solvers, owner))
        call("register_samplers", _adder(self.samplers, owner))

    def _add_cards(self, path: Path, owner: str, *, stands_in: bool = False) -> None:
        """Add the cards of a file or folder. stands_in: a backbone's card may take the place of one of its name."""
        for card in read_any_cards(path):
            if isinstance(card, ModelCard):
                self.models.add(card.name, card, owner)
            else:
                if stands_in and card.name in self.backbones:
                    self.backbones.drop(self.backbones.owner(card.name), card.name)
                self.backbones.add(card.name, card, owner)


def _adder(catalogue: Catalogue[Any], owner: str) -> Callable[..., None]:
    def register(*args: Any) -> None:
        if not 1 <= len(args) <= 2 or (len(args) == 2 and not isinstance(args[0], str)):
            raise PluginError(f"plug-in {owner!r}: call register(thing) or register(name, thing), not register{args!r}")
        thing = args[-1]
        name = args[0] if len(args) == 2 else getattr(thing, "name", None)
        if not isinstance(name, str) or not name:
            raise PluginError(
                f"plug-in {owner!r} registers a {catalogue.kind} without a name: {thing!r}. "
                "Give it a `name`, or call register(name, thing)"
            )
        catalogue.add(name, thing, owner)

    return register


def _found(sources: Sources) -> list[tuple[str, Callable[[], object], str]]:
    found: list[tuple[str, Callable[[], object], str]] = []
    if sources.entry_points:
        named: dict[object, str] = {}  # a distribution parses all its metadata each time it is asked its name
        for point in importlib.metadata.entry_points(group="preimage"):
            if point.dist not in named:
                named[point.dist] = point.dist.name if point.dist is not None else "?"
            package = named[point.dist]
            found.append((point.name, point.load, f"{package} ({point.value})"))
    for file in sources.plugins:
        path = Path(file)
        if not path.is_file():
            raise UsageError(f"there is no plug-in file {file!r}; give --plugin FILE.py")
        found.append((f"{path.stem} ({path})", lambda path=path: _import_file(path), str(path)))  # type: ignore[misc]  # bound now
    return found


def _import_file(path: Path) -> object:
    name = f"preimage_plugin_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PluginError(f"{str(path)!r} is not a Python file; give --plugin FILE.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@lru_cache(maxsize=1)
def installed() -> Registry:
    """The registry of the installed plug-ins, loaded once per process."""
    return Registry()


def expand(catalogue: Catalogue[T], patterns: Sequence[str]) -> list[str]:
    """Names that match shell globs, each once, in the order asked. Raises UnknownName for a pattern without a match."""
    import fnmatch

    chosen: dict[str, None] = {}
    for pattern in patterns:
        matches = [name for name in catalogue if fnmatch.fnmatchcase(name, pattern)]
        if not matches:
            raise UnknownName(catalogue.kind, pattern, catalogue)
        chosen.update(dict.fromkeys(matches))
    return list(chosen)
