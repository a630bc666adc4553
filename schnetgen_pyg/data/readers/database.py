"""Databases of ASE."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import ase.db
import numpy as np
import torch
from torch_geometric.data import Data

from schnetgen_pyg.data.conversion import from_ase


def read_database(path: Path) -> Iterator[Data]:
    """The rows of an ASE database; also of ISO17's (Schütt et al., NeurIPS 2017), which has
    energies (eV) and forces (eV/Å) beside the atoms."""
    with ase.db.connect(path) as database:
        for number, row in enumerate(database.select()):
            atoms = row.toatoms()
            atoms.info |= {**row.key_value_pairs, **row.data.get("info", {})}
            data = from_ase(atoms, f"structure {number}")
            if "energy" not in data and "total_energy" in row:
                data.energy = torch.tensor([row.total_energy], dtype=torch.float64)
            if "forces" not in data and "atomic_forces" in row.data:
                forces = np.array(row.data["atomic_forces"])
                data.forces = torch.as_tensor(forces, dtype=torch.float32)
            yield data
