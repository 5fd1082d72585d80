"""What a run ran on: recorded beside its numbers."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "preimage",
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "scikit-learn",
    "timm",
    "lpips",
    "safetensors",
    "pillow",
)


def package_versions() -> dict[str, str]:
    """The versions of the packages that can change numbers."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def described_machine(device: str) -> dict[str, Any]:
    """Processor, cores, system and device."""
    import torch

    name = (
        torch.cuda.get_device_name(device) if device.startswith("cuda") else platform.processor() or platform.machine()
    )
    capability = torch.backends.cpu.get_cpu_capability()
    return {
        "device": device,
        "processor": name,
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "vector": capability,
    }


def git_revision() -> str:
    """The revision of the checkout this package runs from, with ``+`` where it was changed; "" outside one."""
    folder = Path(__file__).resolve().parent
    try:
        revision = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, timeout=10)
        status = subprocess.run(
            ["git", "status", "--porcelain", "-uno"], cwd=folder, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    if revision.returncode or status.returncode:
        return ""
    return revision.stdout.strip() + ("+" if status.stdout.strip() else "")


def default_workers(device: str) -> int:
    """One worker per core this process may use; one for an accelerator."""
    return (
        len(os.sched_getaffinity(0))
        if device == "cpu" and hasattr(os, "sched_getaffinity")
        else (os.cpu_count() or 1 if device == "cpu" else 1)
    )
