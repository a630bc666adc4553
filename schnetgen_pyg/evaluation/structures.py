"""Structures at the door of the evaluation: molecules in vacuum, with the charge they state."""

from __future__ import annotations

import os
from typing import Any

import ase
from torch_geometric.data import Data

from schnetgen_pyg.chem.electrons import CHARGE, SPIN
from schnetgen_pyg.data.conversion import as_data, to_ase
from schnetgen_pyg.data.datasets import load
from schnetgen_pyg.data.origin import named
from schnetgen_pyg.errors import InputError


def judgeable(structures: Any, where: str = "structure", **reading: Any) -> list[ase.Atoms]:
    """Structures of any accepted kind as ASE ``Atoms`` (Å), whose info has the ``charge`` and
    ``spin_multiplicity`` that they state.

    Args:
        structures: ASE ``Atoms`` or ``Data``, or what `schnetgen_pyg.load` takes: a file or the
            name of a data set.
        where: how messages name a structure, before its number.
        reading: how a file is read: ``keys`` and ``units`` of `schnetgen_pyg.load`.

    Raises:
        InputError: naming the structure that is periodic, or cannot be used.
    """
    if isinstance(structures, (str, os.PathLike)):
        structures = load(structures, **reading)
    checked = as_data(structures, where)
    given = list(structures) if isinstance(structures, list) else checked
    if len(given) != len(checked):  # batches among them
        given = checked
    pairs = zip(given, checked, strict=True)
    return [
        _judgeable(one, data, named(data, f"{where} {k}")) for k, (one, data) in enumerate(pairs)
    ]


def _judgeable(given: Any, data: Data, where: str) -> ase.Atoms:
    atoms = given if isinstance(given, ase.Atoms) else to_ase(data)
    if atoms.pbc.any():
        lengths = " ".join(f"{x:.4g}" for x in atoms.cell.lengths())
        raise InputError(
            f"{where}: {atoms.get_chemical_formula()} is periodic (cell of {lengths} Å), and bonds "
            "across a cell are not judged; take the cell away (atoms.pbc = False, no Lattice in "
            "the file) if this is a molecule in a box, whole and not cut by its walls"
        )
    told = {name: data[name] for name in (CHARGE, SPIN) if isinstance(data.get(name), int)}
    missing = {name: value for name, value in told.items() if name not in atoms.info}
    if missing:
        copy = atoms.copy()
        copy.info |= missing
        copy.calc = atoms.calc
        return copy
    return atoms
