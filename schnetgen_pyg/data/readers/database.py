"""Databases of ASE."""

from __future__ import annotations

from pathlib import Path

import ase.data
import ase.db
import ase.units
import numpy as np
import torch
from torch_geometric.data import Data

from schnetgen_pyg.data.conversion import from_ase
from schnetgen_pyg.errors import InputError


def _read_db(path: Path) -> list[Data]:
    """An ASE database; also those of ISO17, where energies and forces are beside the atoms."""
    structures = []
    try:
        with ase.db.connect(path) as database:
            for index, row in enumerate(database.select()):
                data = from_ase(row.toatoms(), f"{path}: structure {index}")
                if data.get("energy") is None and "total_energy" in row:
                    data.energy = torch.tensor([row.total_energy], dtype=torch.float64)
                if data.get("forces") is None and "atomic_forces" in row.data:
                    data.forces = torch.as_tensor(np.array(row.data["atomic_forces"])).float()
                structures.append(data)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{path}: cannot be read as an ASE database ({type(error).__name__}: {error})"
        ) from error
    if not structures:
        raise InputError(f"{path}: holds no structure")
    return structures
