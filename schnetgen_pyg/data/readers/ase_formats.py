"""Everything that ASE reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import ase.io
from torch_geometric.data import Data

from schnetgen_pyg.data.conversion import convert
from schnetgen_pyg.data.readers.xyz import read_xyz


def read_ase(path: Path) -> Iterator[Data]:
    """The frames of any file that ASE knows: cif, traj, …; those of the xyz family by `read_xyz`,
    whatever the name of the file."""
    if ase.io.formats.filetype(str(path)) in ("xyz", "extxyz"):
        yield from read_xyz(path)
        return
    frames = ase.io.iread(str(path), index=":", do_not_split_by_at_sign=True)
    for number, atoms in enumerate(frames):
        yield convert(atoms, f"structure {number}")
