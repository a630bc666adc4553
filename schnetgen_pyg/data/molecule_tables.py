"""Files of molecules rather than of atoms: SDF, SMILES and CSV, by perception with RDKit.

What a structure's ``info`` has goes along: as properties of a record, as columns of a table.
"""

from __future__ import annotations

import csv
import io
import json
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import ase
import numpy as np
from rdkit import Chem, rdBase

from schnetgen_pyg.chem.bonds import connectivity
from schnetgen_pyg.chem.elements import hill_formula
from schnetgen_pyg.chem.identity import smiles
from schnetgen_pyg.chem.molecules import FORMAL_CHARGE, VALENCE, known_or_perceived
from schnetgen_pyg.errors import InputError

#: Keys of ``info`` that may be a molecule's name; the first that is there counts.
NAMES = ("name", "title", "sample")

#: What has a unit is called by it. These columns of a table come first.
UNITS = {"energy": "energy (eV)", "log_prob": "log_prob (nats)"}

#: The same for properties of a record.
UNITS_OF_RECORDS = UNITS | {"forces": "forces (eV/Angstrom)"}


def molecule_name(atoms: ase.Atoms, number: int) -> str:
    """What a structure is called: by its ``info``, else its number in the file."""
    return str(next((atoms.info[key] for key in NAMES if key in atoms.info), number))


def _text(value: Any) -> str:
    """A value in one cell or one property of an SDF file; the rows of an array in a line each, a
    dictionary such as that of units as JSON."""
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, np.ndarray) and value.ndim > 1:
        return "\n".join(_text(row) for row in value)
    if isinstance(value, np.ndarray):
        return " ".join(str(item) for item in value.tolist())
    # Records and lines end at empty lines.
    return "\n".join(line for line in str(value).splitlines() if line.strip())


def _known(atoms: ase.Atoms) -> dict[str, Any]:
    """What is known of a structure beside its atoms: results of its calculator, ``info``."""
    results = getattr(atoms.calc, "results", {})
    return {key: value for key, value in {**results, **atoms.info}.items() if value is not None}


def _refuse_cells(structures: Sequence[ase.Atoms]) -> None:
    for number, atoms in enumerate(structures):
        if atoms.pbc.any():
            raise InputError(
                f"structure {number}: is periodic, and this format has no cell; take .extxyz or .db"
            )


def _records(structures: Sequence[ase.Atoms]) -> Iterator[str]:
    for number, atoms in enumerate(structures):
        perceived = known_or_perceived(atoms)
        mol = perceived.mol or connectivity(atoms)
        mol.SetProp("_Name", molecule_name(atoms, number))
        properties = _known(atoms)
        if perceived.mol is None:
            properties["failure"] = perceived.failure
        else:
            properties["smiles"] = smiles(perceived.mol, stereo=True)
        own = ("numbers", "positions", FORMAL_CHARGE, VALENCE)  # which the record has
        properties |= {name: value for name, value in atoms.arrays.items() if name not in own}
        for key, value in properties.items():
            mol.SetProp(UNITS_OF_RECORDS.get(key, str(key)), _text(value))
        text = io.StringIO()
        with Chem.SDWriter(text) as writer:
            writer.SetKekulize(perceived.mol is not None)
            writer.write(mol)
        yield text.getvalue()


def write_sdf(path: Path, structures: Sequence[ase.Atoms]) -> None:
    """A record of every structure: its name, bonds (with orders where it is valid, else with
    ``failure``), and all else as properties."""
    _refuse_cells(structures)
    with rdBase.BlockLogs(), path.open("w") as file:
        file.writelines(_records(structures))


def write_smiles(path: Path, structures: Sequence[ase.Atoms]) -> None:
    """A line ``SMILES NAME`` of every valid structure, with its stereochemistry; the others have
    none, which a warning says."""
    _refuse_cells(structures)
    lines = []
    for number, atoms in enumerate(structures):
        mol = known_or_perceived(atoms).mol
        if mol is not None:
            lines.append(f"{smiles(mol, stereo=True)} {molecule_name(atoms, number)}\n")
    missing = len(structures) - len(lines)
    if missing:
        warnings.warn(
            f"{missing} of {len(structures)} structures are no valid molecules and have no SMILES: "
            "they are not in the file; .csv says why, .extxyz and .sdf keep them",
            stacklevel=2,
        )
    with path.open("w") as file:
        file.writelines(lines)


def _row(atoms: ase.Atoms, number: int) -> dict[str, Any]:
    perceived = known_or_perceived(atoms)
    row: dict[str, Any] = {"name": molecule_name(atoms, number), "smiles": "", "inchikey": ""}
    if perceived.mol is not None:
        row["smiles"] = smiles(perceived.mol, stereo=True)
        row["inchikey"] = Chem.MolToInchiKey(perceived.mol)
    row["formula"] = hill_formula(atoms.numbers)
    row |= {"valid": perceived.valid, "failure": perceived.failure}
    known = _known(atoms)
    known.pop("forces", None)
    units = known.pop("units", None) or {}
    first = {UNITS[key]: known.pop(key) for key in UNITS if key in known}
    named = {f"{k} ({units[k]})" if k in units else k: value for k, value in known.items()}
    return row | first | {key: _text(value) for key, value in named.items() if key not in row}


def write_csv(path: Path, structures: Sequence[ase.Atoms]) -> None:
    """A row of every structure: SMILES and InChIKey (with stereochemistry), formula, valid or why
    not, energy and log-probability where they are known, and all of its ``info``. It holds no
    positions."""
    _refuse_cells(structures)
    with rdBase.BlockLogs():
        rows = [_row(atoms, number) for number, atoms in enumerate(structures)]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, columns)
        table.writeheader()
        table.writerows(rows)
