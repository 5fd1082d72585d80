"""The engine of preimage: contracts, numerics, running, storing, the command line.

The public names below are the contract that plug-ins build on. They are resolved when first used (PEP 562), so that
importing this package imports neither torch nor numpy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from preimage.harness.backbone_cards import BackboneCard as BackboneCard
    from preimage.harness.benchmark import Benchmark as Benchmark
    from preimage.harness.cards import Config as Config
    from preimage.harness.cards import DatasetCard as DatasetCard
    from preimage.harness.cards import Family as Family
    from preimage.harness.cards import ImageSpec as ImageSpec
    from preimage.harness.cards import ModelCard as ModelCard
    from preimage.harness.cards import Weights as Weights
    from preimage.harness.classifiers import Classifier as Classifier
    from preimage.harness.datasets import ArrayDataset as ArrayDataset
    from preimage.harness.datasets import Dataset as Dataset
    from preimage.harness.distances import Distance as Distance
    from preimage.harness.distances import DistanceCard as DistanceCard
    from preimage.harness.distances import distance as distance
    from preimage.harness.errors import PreimageError as PreimageError
    from preimage.harness.errors import Refused as Refused
    from preimage.harness.generator import Generator as Generator
    from preimage.harness.generator import LatentSpace as LatentSpace
    from preimage.harness.generator import prepare as prepare
    from preimage.harness.hooks import hookimpl as hookimpl
    from preimage.harness.hooks import hookspec as hookspec
    from preimage.harness.hooks import lazy as lazy
    from preimage.harness.loading import build as build
    from preimage.harness.priors import Prior as Prior
    from preimage.harness.priors import SphereUniform as SphereUniform
    from preimage.harness.priors import StandardNormal as StandardNormal
    from preimage.harness.priors import TruncatedNormal as TruncatedNormal
    from preimage.harness.priors import Uniform as Uniform
    from preimage.harness.readers import FolderDataset as FolderDataset
    from preimage.harness.readers import IdxDataset as IdxDataset
    from preimage.harness.readers import NpzDataset as NpzDataset
    from preimage.harness.requests import Request as Request
    from preimage.harness.rows import Estimate as Estimate
    from preimage.harness.solvers.interface import Solver as Solver
    from preimage.harness.streams import Streams as Streams

_HOMES = {
    "ArrayDataset": "datasets",
    "BackboneCard": "backbone_cards",
    "Benchmark": "benchmark",
    "Classifier": "classifiers",
    "Config": "cards",
    "Dataset": "datasets",
    "DatasetCard": "cards",
    "Distance": "distances",
    "DistanceCard": "distances",
    "Estimate": "rows",
    "Family": "cards",
    "FolderDataset": "readers",
    "Generator": "generator",
    "IdxDataset": "readers",
    "ImageSpec": "cards",
    "LatentSpace": "generator",
    "ModelCard": "cards",
    "NpzDataset": "readers",
    "PreimageError": "errors",
    "Prior": "priors",
    "Refused": "errors",
    "Request": "requests",
    "Solver": "solvers.interface",
    "SphereUniform": "priors",
    "StandardNormal": "priors",
    "Streams": "streams",
    "TruncatedNormal": "priors",
    "Uniform": "priors",
    "Weights": "cards",
    "build": "loading",
    "distance": "distances",
    "hookimpl": "hooks",
    "hookspec": "hooks",
    "lazy": "hooks",
    "prepare": "generator",
}

__all__ = sorted(_HOMES)  # one table, not two lists


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
