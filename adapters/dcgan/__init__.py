"""DCGAN in the two layouts that are around: the GAN zoo's, and that of PyTorch's examples.

Hook module: it names the builders by import string and leaves torch unimported.
"""

from __future__ import annotations

from preimage.harness.cards import Family
from preimage.harness.hooks import Register, hookimpl, lazy


@hookimpl
def register_families(register: Register) -> None:
    home = "preimage.adapters.dcgan"
    register(Family("dcgan-zoo", build=lazy(f"{home}.zoo:build"), read=lazy(f"{home}.zoo:read")))
    register(Family("dcgan-examples", build=lazy(f"{home}.examples:build"), read=lazy(f"{home}.examples:read")))
