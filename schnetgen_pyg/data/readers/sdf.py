"""SDF files, through RDKit."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import ase.units
import torch
from torch_geometric.data import Data

from schnetgen_pyg.errors import InputError


def read_sdf(path: Path) -> Iterator[Data]:
    """The records of an SDF file; with QM9's energies U0 where PyG's table lies beside it."""
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs(), path.open("rb") as file:
        mols = list(Chem.ForwardSDMolSupplier(file, sanitize=False, removeHs=False))
    energies = _energies(path.with_name(path.name + ".csv"), len(mols))
    for number, mol in enumerate(mols):
        if mol is None:
            raise InputError(f"structure {number} is not a valid SDF record")
        data = Data(
            z=torch.tensor([atom.GetAtomicNum() for atom in mol.GetAtoms()]),
            pos=torch.as_tensor(mol.GetConformer().GetPositions(), dtype=torch.float32),
        )
        if energies is not None:
            data.energy = torch.tensor([energies[number]], dtype=torch.float64)
        yield data


def _energies(table: Path, num_structures: int) -> list[float] | None:
    """U0 in eV from the table that PyG keeps beside ``gdb9.sdf``."""
    if not table.is_file():
        return None
    with table.open() as file:
        rows = list(csv.DictReader(file))
    if len(rows) != num_structures or "u0" not in rows[0]:
        return None
    return [float(row["u0"]) * ase.units.Hartree for row in rows]
