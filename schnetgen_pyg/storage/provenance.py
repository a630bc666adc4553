"""What a result is quoted with: versions, machine, time."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    pass


def provenance() -> dict[str, Any]:
    """What a result should be quoted with: time, machine and versions."""
    packages = ("schnetgen_pyg", "torch", "torch-geometric", "lightning")
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "versions": {name: version(name) for name in packages}
        | {"python": platform.python_version()},
    }


#: Packages whose versions decide what is found; some are optional.
PACKAGES = (
    *("schnetgen_pyg", "rdkit", "ase", "numpy", "scipy", "torch", "torch-geometric"),
    *("openbabel-wheel", "posebusters"),
)


def versions() -> dict[str, str]:
    """Of the packages that take part, where they are installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
