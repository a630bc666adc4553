"""Everything that ASE reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import ase.io
from torch_geometric.data import Data

from schnetgen_pyg.data.conversion import from_ase


def read_ase(path: Path) -> Iterator[Data]:
    """The frames of any file that ASE knows: xyz, extxyz, cif, traj, …"""
    frames = ase.io.read(path, index=":", do_not_split_by_at_sign=True)
    for number, atoms in enumerate(frames):
        yield from_ase(atoms, f"structure {number}")
