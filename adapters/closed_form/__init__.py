"""Models in closed form: probabilistic PCA, the mean image, and the reference ``1nn`` that remembers every training
image.

They have exact answers (recovery by least squares, likelihood of a Gaussian), so every benchmark can be checked on
them. Hook module: it names the builders by import string and leaves torch unimported.
"""

from __future__ import annotations

from pathlib import Path

from preimage.harness.cards import Family
from preimage.harness.hooks import Register, hookimpl, lazy


@hookimpl
def register_families(register: Register) -> None:
    home = "preimage.adapters.closed_form.family"
    read = lazy(f"{home}:read")
    register(Family("linear-gaussian", build=lazy(f"{home}:build_linear"), read=read))
    register(Family("constant", build=lazy(f"{home}:build_constant"), read=read))


@hookimpl
def register_models(register: Register) -> None:
    register(Path(__file__).parent)
