"""What a measurement may touch: models, data sets, distances, rows that it builds on. Each loaded once per process."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch

from preimage.harness.backbones import Backbone
from preimage.harness.benchmark import Data, Model
from preimage.harness.classifiers import Classifier
from preimage.harness.datasets import Dataset, check_pixels
from preimage.harness.derived_names import INVERTED
from preimage.harness.distances import Distance, identity_of
from preimage.harness.embedding_files import EmbeddingFolder
from preimage.harness.errors import DatasetError, PreimageError, Refused, StoreError, UsageError, WeightsError
from preimage.harness.generator import Generator
from preimage.harness.limits import Limits
from preimage.harness.loading import is_classifier, load_classifier, load_with_key, model_key
from preimage.harness.plugins import Registry
from preimage.harness.priors import has_density
from preimage.harness.requests import ModelKey, Request, Split
from preimage.harness.results import Results
from preimage.harness.rows import Rows

T = TypeVar("T")
_KEPT = 16


class World:
    """Models and data of a registry on a device, with the results that measured rows are read from.

    say: is told in a line what a user should know while it measures; by default it is printed on stderr.
    """

    def __init__(
        self,
        registry: Registry,
        database: Path | None = None,
        device: str = "cpu",
        *,
        offline: bool = False,
        limits: Limits | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.registry = registry
        self.database = database
        self.device = _usable(device)
        self.offline = offline
        self.limits = Limits() if limits is None else limits
        self.say = tell if say is None else say
        self.embedding_files = EmbeddingFolder(self.limits.embeddings, self.limits.cache)
        self._generators: OrderedDict[str, Generator] = OrderedDict()
        self._classifiers: OrderedDict[str, Classifier] = OrderedDict()
        self._keys: dict[str, ModelKey] = {}
        self._kept: OrderedDict[Any, Any] = OrderedDict()
        self._latest: dict[str, tuple[Any, Any]] = {}

    def generator(self, name: str) -> Generator:
        """The prepared generator of a model; the two used last are kept."""
        if name not in self._generators:
            card = self.registry.models[name]
            loaded = load_with_key(card, self.registry, self.device, offline=self.offline)
            self._generators[name], self._keys[name] = loaded
            while len(self._generators) > 2:
                self._generators.popitem(last=False)
        self._generators.move_to_end(name)
        return self._generators[name]

    def measured(self, key: ModelKey) -> Generator:
        """The generator that a request names. Raises WeightsError where what loads now is another one."""
        generator = self.generator(key.name)
        self._check(key)
        return generator

    def classifier(self, name: str) -> Classifier:
        """The network of a classifier; the two used last are kept."""
        if name not in self._classifiers:
            card = self.registry.models[name]
            self._classifiers[name] = load_classifier(card, self.registry, self.device, offline=self.offline)
            self._keys[name] = model_key(card, self._classifiers[name], offline=self.offline)
            while len(self._classifiers) > 2:
                self._classifiers.popitem(last=False)
        self._classifiers.move_to_end(name)
        return self._classifiers[name]

    def measured_classifier(self, key: ModelKey) -> Classifier:
        """The network that a request names. Raises WeightsError as ``measured`` does."""
        network = self.classifier(key.name)
        self._check(key)
        return network

    def _check(self, key: ModelKey) -> None:
        """Raises WeightsError where the model that was loaded is not the one that a request names."""
        if self._keys[key.name] != key:
            raise WeightsError(
                f"model {key.name!r} is not the one that was planned: identity {self._keys[key.name].identity[:12]} "
                f"loaded, {key.identity[:12]} planned. Its weights change from load to load, or were "
                "replaced meanwhile: fix them and type the same command again"
            )

    def model(self, name: str) -> Model:
        """What benchmarks may know of the model; loads it."""
        card = self.registry.models[name]
        if is_classifier(card, self.registry):
            self.classifier(name)
            return Model(card, self._keys[name], {}, classifies=True)
        if card.kind == "reference":
            return Model(card, model_key(card, None, offline=self.offline), {})
        generator = self.generator(name)
        priors = frozenset(space.name for space in generator.spaces.values() if space.prior is not None)
        dims = {space.name: space.dim for space in generator.spaces.values()}
        densities = frozenset(name for name in priors if has_density(generator.spaces[name].prior))
        return Model(
            card,
            self._keys[name],
            dims,
            generator.has_encoder,
            generator.native.name,
            priors,
            densities,
            trained_codes=len(generator.kept_codes),
            parts=len(generator.part_weights),
        )

    def data(self, name: str) -> Data:
        """What benchmarks may know of the data set; opens it and hashes its splits."""
        dataset = self.dataset(name)
        return Data(
            name,
            dataset.image,
            dataset.num_classes,
            {s: dataset.size(s) for s in dataset.splits},
            {s: dataset.fingerprint(s) for s in dataset.splits},
            self._other,
        )

    def _other(self, name: str, beside: Data, if_present: bool) -> Data:
        """See ``Data.other``."""
        asked = f"{INVERTED}{beside.name}" if name == "inverted" else name
        try:
            image = self.registry.dataset(asked, offline=self.offline or if_present).image
            return self.data(asked if image == beside.image else f"{asked}@{beside.image}")
        except PreimageError as error:
            raise Refused(f"other data set {name!r}: {error}") from error
        except Exception as error:  # a stranger's reader may raise anything
            raise Refused(f"other data set {name!r} cannot be opened: {type(error).__name__}: {error}") from error

    def dataset(self, name: str) -> Dataset:
        """The data set of that name."""
        return self.registry.dataset(name, offline=self.offline)

    def distance(self, name: str, identity: str | None = None) -> Distance:
        """The distance of that name. Raises WeightsError where it is not the one that a request names by identity."""
        found = self.registry.distance(name, offline=self.offline)
        if identity is not None and identity_of(found) != identity:
            raise WeightsError(
                f"distance {name!r} is not the one that was planned: identity {identity_of(found)[:12] or 'none'} "
                f"loaded, {identity[:12] or 'none'} planned. Its weights were replaced meanwhile: type the same "
                "command again"
            )
        return found

    def backbone(self, name: str) -> Backbone:
        """The backbone of that name, on whichever device it was used last."""
        return self.registry.backbone(name, offline=self.offline)

    def images(self, split: Split, indices: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Images [n, c, h, w] and labels [n] of a split, checked, on the device. Indices beyond the split are left out.

        Raises DatasetError where the data is not what the request names.
        """
        dataset = self.dataset(split.dataset)
        if dataset.fingerprint(split.split) != split.fingerprint:
            raise DatasetError(
                f"data set {split.dataset!r}, split {split.split!r} has changed since the run was planned: "
                f"fingerprint {dataset.fingerprint(split.split)[:12]}, planned {split.fingerprint[:12]}. "
                "Type the same command again"
            )
        size = dataset.size(split.split)
        chosen = [index for index in indices if index < size]
        images, labels = dataset.read(split.split, chosen)
        what = f"data set {split.dataset!r}, split {split.split!r}"
        check_pixels(images, dataset.image, what)
        if not len(images) == len(labels) == len(chosen):
            raise DatasetError(f"{what}: {len(images)} images, {len(labels)} labels read; {len(chosen)} were asked for")
        return images.to(self.device), labels.to(self.device)

    def rows(self, request: Request, count: int) -> tuple[Rows, list[bytes]]:
        """The stored rows and codes of a request that was measured before."""
        if self.database is None:
            raise StoreError("this measurement builds on stored rows, but there is no database")
        with Results(self.database) as results:
            return results.rows(request.key(), count), results.codes(request.key(), count)

    def block(self, request: Request, number: int) -> tuple[Rows, list[bytes]]:
        """The stored rows and codes of one block of a request that was measured before."""
        if self.database is None:
            raise StoreError("this measurement builds on stored rows, but there is no database")
        with Results(self.database) as results:
            return results.block(request.key(), number)

    def keep(self, key: Any, make: Callable[[], T]) -> T:
        """The value of ``make()``, made once per key; the ones used last are kept."""
        if key not in self._kept:
            self._kept[key] = make()
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]  # type: ignore[no-any-return]  # what make() gave

    def keep_latest(self, kind: str, key: Any, make: Callable[[], T]) -> T:
        """As ``keep``, for what is large: of each kind one is kept, and it goes before another is made."""
        if kind not in self._latest or self._latest[kind][0] != key:
            self._latest.pop(kind, None)
            self._latest[kind] = (key, make())
        return self._latest[kind][1]  # type: ignore[no-any-return]  # what make() gave


def tell(line: str) -> None:
    """Print a line on stderr, as preimage's."""
    print(f"preimage: {line}", file=sys.stderr)


def _usable(device: str) -> torch.device:
    """The device of that name. Raises UsageError where this machine has none."""
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:  # AssertionError: this build of torch leaves the device out
        said = str(error).split("\n")[0]
        raise UsageError(f"device {device!r} cannot be used: {said}. Type --device cpu, or leave it out") from error
