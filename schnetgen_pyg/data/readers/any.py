"""One door for files: the suffix chooses the reader."""

from __future__ import annotations

import os
from pathlib import Path

from torch_geometric.data import Data

from schnetgen_pyg.data.readers.ase_formats import read
from schnetgen_pyg.data.readers.database import _read_db
from schnetgen_pyg.data.readers.npz import (
    _read_npz,
)
from schnetgen_pyg.data.readers.qm9 import _read_archive
from schnetgen_pyg.data.readers.sdf import _add_sdf_energies
from schnetgen_pyg.errors import InputError


def read_any(path: str | os.PathLike[str]) -> list[Data]:
    """Read a structure file, a QM9 archive or an npz file, without the cache."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty")
    if path.name.endswith((".tar.bz2", ".tar.gz", ".tar")):
        structures = sorted(_read_archive(path), key=lambda data: data.index)
        if not structures:
            raise InputError(f"{path}: the archive holds no .xyz record")
        return structures
    if path.suffix == ".npz":
        return _read_npz(path)
    if path.suffix == ".db":
        return _read_db(path)
    structures = read(path)
    if path.suffix == ".sdf":
        _add_sdf_energies(path, structures)
    return structures
