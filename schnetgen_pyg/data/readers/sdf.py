"""SDF files, through RDKit."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import ase
import ase.data
import ase.db
import ase.formula
import ase.io
import ase.units
import torch
from torch_geometric.data import Data


def _read_sdf(content: bytes) -> Iterator[ase.Atoms | None]:
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        for mol in Chem.ForwardSDMolSupplier(io.BytesIO(content), sanitize=False, removeHs=False):
            yield (
                None
                if mol is None
                else ase.Atoms(
                    [atom.GetAtomicNum() for atom in mol.GetAtoms()],
                    mol.GetConformer().GetPositions(),
                )
            )


def _add_sdf_energies(path: Path, structures: list[Data]) -> None:
    """QM9's U0 from the table that PyG keeps beside ``gdb9.sdf``."""
    table = path.with_name(path.name + ".csv")
    if table.is_file():
        with table.open() as file:
            rows = list(csv.DictReader(file))
        if len(rows) == len(structures) and "u0" in rows[0]:
            for data, row in zip(structures, rows, strict=True):
                data.energy = torch.tensor(
                    [float(row["u0"]) * ase.units.Hartree], dtype=torch.float64
                )
