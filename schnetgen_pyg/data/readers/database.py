"""Databases of ASE, also those of SchNetPack and ISO17."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import ase.db
import numpy as np
from ase.db.row import AtomsRow
from torch_geometric.data import Data

from schnetgen_pyg.data.conversion import convert
from schnetgen_pyg.errors import InputError

#: Labels by the names that ISO17 (Schütt et al., NeurIPS 2017) gives them, in eV and Å.
ISO17 = {"total_energy": "energy", "atomic_forces": "forces"}

#: Labels whose unit SchNetPack states beside them; without a word it is not known.
LABELS = ("energy", "forces", "stress")

#: Rows that are in memory at a time.
ROWS = 1000


def read_database(path: Path) -> Iterator[Data]:
    """The rows of an ASE database (.db or .json) with their key-value pairs and data.

    Arrays with a row for each atom are attributes, everything else is in ``info``. Units are those
    in the metadata of SchNetPack 2 (``_distance_unit``, ``_property_unit_dict``); labels of a row's
    data without one have to be told (`load`'s ``units``).
    """
    kind = path.suffix.lower().removeprefix(".")
    _require_ase(path, kind)
    found = 0
    with ase.db.connect(path, type=kind, use_lock_file=False) as database:
        units = _units(database.metadata)
        for row in _rows(database):
            yield _structure(row, units, f"structure {found}")
            found += 1
        if found != len(database):
            raise InputError(f"has {len(database)} rows, but only {found} could be read")


def _rows(database: Any) -> Iterator[AtomsRow]:
    """The rows in the order of their ids; ASE itself would fetch all at once."""
    last = -1
    while rows := list(database.select(f"id>{last}", sort="id", limit=ROWS)):
        yield from rows
        last = rows[-1].id


def _require_ase(path: Path, kind: str) -> None:
    """Refuse what is no database of ASE, which would write its tables into any other one."""
    if kind == "db":
        uri = f"{path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as database:
            found = [name for (name,) in database.execute("SELECT name FROM sqlite_master")]
        missing = "systems" not in found
    else:
        content = json.loads(path.read_bytes())
        missing = not isinstance(content, dict) or "ids" not in content
    if missing:
        raise InputError("is no database of ASE; convert it to one, or to .extxyz")


def _units(metadata: dict[str, Any]) -> dict[str, str]:
    """Units by attribute, as SchNetPack 2 states them."""
    units = {name: str(unit) for name, unit in (metadata.get("_property_unit_dict") or {}).items()}
    if metadata.get("_distance_unit"):
        units["pos"] = str(metadata["_distance_unit"])
    return units


def _structure(row: AtomsRow, units: dict[str, str], where: str) -> Data:
    atoms = row.toatoms()
    said = {**row.key_value_pairs, **row.data}
    for own in ("info", "arrays"):  # as this library's own databases have what ASE has no key for
        if isinstance(said.get(own), dict):
            said |= said.pop(own)
    units = {name: unit for name, unit in units.items() if name in said or name == "pos"}
    for old, new in ISO17.items():
        if old in said and new not in said:
            said[new] = said.pop(old)
            units.setdefault(new, "eV" if new == "energy" else "eV/Å")
    labels = {name: said.pop(name) for name in LABELS if name in said}
    for name, value in said.items():
        array = np.asarray(value)
        per_atom = array.ndim and array.shape[0] == len(atoms) and array.dtype.kind in "biufU"
        if per_atom and not name.startswith("_") and len(atoms) > 1:
            atoms.set_array(name, array)
        else:
            atoms.info[name] = array.item() if array.size == 1 and array.ndim else value
    data = convert(atoms, where)
    for name, value in labels.items():
        if name not in data:  # that of a calculator comes first
            data[name] = np.asarray(value)
            units.setdefault(name, "")
    if units:
        data.units = units
    return data
