"""SDF and mol files (V2000 and V3000): records cut out here, molecules through RDKit.

RDKit's own supplier loses the rest of a file in silence where a ``$$$$`` is missing, or the empty
line that ends a property. Here every record begins with its counts line.
"""

from __future__ import annotations

import contextlib
import csv
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase.units
import numpy as np
import torch
from rdkit import Chem, rdBase
from torch_geometric.data import Data

from schnetgen_pyg.data.electrons import state_electrons
from schnetgen_pyg.data.readers.packed import unpacked
from schnetgen_pyg.data.readers.text import lines_of
from schnetgen_pyg.errors import InputError

#: The counts line, fourth of a record, which names the version of the format.
COUNTS = re.compile(r"^.{6}.*V[23]000\s*$")
#: Suffixes of files whose molecules have bond orders.
WITH_BONDS = (".sdf", ".sd", ".mol")
END, SEPARATOR = "M  END", "$$$$"

#: The header of a property, with its name.
PROPERTY = re.compile(r"^>.*?<(.+)>")

#: The name of a property that states a unit, such as ``energy (eV)``.
WITH_UNIT = re.compile(r"(energy|forces|log_prob) \((.+)\)")


@dataclass
class _Record:
    """Lines of one record: molecule with ``M  END``, the rest before ``$$$$``; ``first`` is the
    number of the first line in the file, from 1."""

    first: int
    molecule: list[str]
    rest: list[str]
    separated: bool


def read_sdf(path: Path) -> Iterator[Data]:
    """The records of an SDF or mol file.

    Titles and properties are in ``info`` (``name`` and the properties' names); those whose names
    state a unit, ``energy (eV)`` and ``forces (eV/Angstrom)``, are labels. The sum of the
    formal charges is ``charge``, radicals make ``spin_multiplicity``, isotopes ``masses``. With
    QM9's energies U0 where PyG's table lies beside ``gdb9.sdf``.
    """
    energies = _energies(path.with_name(path.name + ".csv"))
    separated, unfinished, number = False, "", -1
    for number, record in enumerate(_records(lines_of(path))):
        where = f"structure {number}"
        with rdBase.BlockLogs():
            data = _structure(record, where)
        separated |= record.separated
        if not record.separated and any(record.rest):
            unfinished = unfinished or f"{where} (line {record.first})"
        if separated and unfinished:
            raise InputError(
                f"{unfinished}: its properties do not end with {SEPARATOR}; the file is cut"
            )
        if energies is not None and number < len(energies):
            data.energy = torch.tensor([energies[number]], dtype=torch.float64)
        yield data
    if energies is not None and len(energies) != number + 1:
        raise InputError(
            f"{path.name}.csv beside it has {len(energies)} rows for {number + 1} records; move it "
            "away, or take the table of this file"
        )


def read_mols(path: Path, drawings: bool = False) -> Iterator[Chem.Mol]:
    """The records of an SDF or mol file, packed or not, as RDKit molecules with their bond orders,
    as they are; a record's title and properties are theirs.

    Args:
        drawings: also those without 3-D coordinates.

    Raises:
        InputError: naming a record that RDKit cannot read, or that has no 3-D coordinates.
    """
    try:
        with unpacked(path) as inner:
            for number, record in enumerate(_records(lines_of(inner))):
                yield _mol(record, f"structure {number}", drawings)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _mol(record: _Record, where: str, drawings: bool) -> Chem.Mol:
    with rdBase.BlockLogs():
        mol = Chem.MolFromMolBlock("\n".join(record.molecule), removeHs=False)
    if mol is None or not mol.GetNumAtoms():
        raise InputError(
            f"{where} (line {record.first}): RDKit reads no molecule in it; correct its valences "
            "and charges"
        )
    if not drawings:
        _require_embedded(record, mol.GetConformer().GetPositions(), where)
    head, properties = _information(record, where)
    for name, text in (head | properties).items():
        mol.SetProp(name, text)
    return mol


def _records(lines: Iterable[str]) -> Iterator[_Record]:
    """Cut the lines of a file into records."""
    held: list[str] = []  # from the first line of a record on, or before the first record
    first, number = 0, -1
    for line in lines:
        held.append(line)
        if not COUNTS.match(line):
            continue
        begin = len(held) - 4
        if number < 0:
            _nothing_between(held[: max(begin, 0)], 0, begin, 0)
        else:
            yield _record(held[:begin], first, number)
        held, first, number = held[max(begin, 0) :], first + begin, number + 1
    if number < 0:
        _nothing_between(held, 0, len(held), 0)
    else:
        yield _record(held, first, number)


def _record(own: list[str], first: int, number: int) -> _Record:
    """The record in lines that begin with its title, the first of them with this number from 0."""
    separator = next((k for k, line in enumerate(own) if line.startswith(SEPARATOR)), None)
    if separator is not None:
        rest, own = own[separator + 1 :], own[:separator]
        after = first + separator + 1
        _nothing_between(rest, after, after + len(rest), number + 1)
    ends = [place for place, line in enumerate(own) if line.rstrip() == END]
    if len(ends) != 1:
        raise InputError(
            f"structure {number} (line {first + 1}): {len(ends) or 'no'} {END!r}, expected "
            "one; the record is cut or damaged"
        )
    end = ends[0] + 1
    return _Record(first + 1, own[:end], own[end:], separator is not None)


def _nothing_between(lines: list[str], start: int, stop: int, number: int) -> None:
    """Refuse text that belongs to no record, also where a header lacks lines; ``lines`` are those
    from ``start`` to ``stop``."""
    if stop < start:
        raise InputError(
            f"structure {number} is not a valid SDF record (line {stop + 4}: fewer than three "
            "lines before the counts of atoms and bonds)"
        )
    for place, line in enumerate(lines, start + 1):
        if line.strip():
            raise InputError(
                f"structure {number} is not a valid SDF record (line {place}: "
                f"{line.strip()[:60]!r} belongs to no molecule with a counts line that "
                "ends with V2000 or V3000)"
            )


def _structure(record: _Record, where: str) -> Data:
    mol = Chem.MolFromMolBlock("\n".join(record.molecule), sanitize=False, removeHs=False)
    if mol is None or not mol.GetNumAtoms():
        raise InputError(
            f"{where} is not a valid SDF record (line {record.first}: RDKit finds "
            f"{'no molecule' if mol is None else 'no atoms'} in it)"
        )
    atoms = list(mol.GetAtoms())
    numbers = [atom.GetAtomicNum() for atom in atoms]
    if not all(numbers):
        unknown = numbers.index(0)
        raise InputError(
            f"{where}: atom {unknown} is {atoms[unknown].GetSymbol()!r}, no element; a pattern or "
            "a fragment is no molecule"
        )
    pos = mol.GetConformer().GetPositions()
    _require_embedded(record, pos, where)
    head, properties = _information(record, where)
    data = Data(
        z=torch.tensor(numbers),
        pos=torch.as_tensor(pos, dtype=torch.float32),
        info=head | {name: number_in(text) for name, text in properties.items()},
    )
    if any(atom.GetIsotope() for atom in atoms):
        data.masses = torch.tensor([atom.GetMass() for atom in atoms], dtype=torch.float64)
    _set_labels(data, where)
    unpaired = sum(atom.GetNumRadicalElectrons() for atom in atoms)
    formal = Chem.GetFormalCharge(mol)
    state_electrons(data, where, np.array([formal]))
    if formal and data.charge != formal:
        raise InputError(
            f"{where}: a property states a charge of {data.charge:+d}, its atoms {formal:+d}; "
            "correct one of them"
        )
    if unpaired:
        data.spin_multiplicity = data.get("spin_multiplicity", unpaired + 1)
    return data


def _require_embedded(record: _Record, pos: Any, where: str) -> None:
    """Refuse a drawing: the header says 2D, and the third coordinate is zero everywhere."""
    drawn = record.molecule[1][20:22] == "2D"
    if len(pos) > 1 and drawn and not pos[:, 2].any():
        raise InputError(
            f"{where} (line {record.first}): has no 3-D coordinates (its header says 2D and all z "
            "are 0); embed it first, for example with RDKit or Open Babel"
        )


def _information(record: _Record, where: str) -> tuple[dict[str, str], dict[str, str]]:
    """Title and comment; and properties, as texts."""
    found: dict[str, str] = {}
    for name, line in (("name", record.molecule[0]), ("comment", record.molecule[2])):
        if line.strip():
            found[name] = line.strip()
    values: dict[str, list[str]] = {}
    open_property = None
    for line in record.rest:
        header = PROPERTY.match(line)
        if header:
            open_property = values.setdefault(header[1], [])
        elif not line.strip():
            open_property = None
        elif open_property is None:
            raise InputError(
                f"{where} (line {record.first}): {line.strip()[:60]!r} after {END!r} belongs to no "
                "property; write '> <NAME>' before it"
            )
        else:
            open_property.append(line)
    return found, {name: "\n".join(text) for name, text in values.items()}


def _set_labels(data: Data, where: str) -> None:
    """Make labels of properties that state their unit."""
    _set_units(data.info)
    for name in list(data.info):
        stated = WITH_UNIT.fullmatch(name)
        if stated is None:
            continue
        value = data.info.pop(name)
        if stated[1] == "log_prob":
            data.info["log_prob"] = value
            continue
        try:
            rows = _rows(str(value))
        except ValueError:
            raise InputError(
                f"{where}: {name} must be numbers, got {value!r}; correct it, or leave it out"
            ) from None
        if not rows:
            raise InputError(f"{where}: {name} is empty; give it a value, or leave it out")
        data[stated[1]] = torch.tensor(rows if stated[1] == "forces" else rows[0])
        data.units = {**data.get("units", {}), stated[1]: stated[2]}


def _set_units(info: dict[str, Any]) -> None:
    """Read the property ``units``, where it says the units of others as JSON, and the arrays among
    these."""
    try:
        units = json.loads(str(info.get("units")))
    except json.JSONDecodeError:
        return
    if not isinstance(units, dict):
        return
    info["units"] = units
    for name in units:
        if isinstance(text := info.get(name), str) and text:
            with contextlib.suppress(ValueError):
                rows = _rows(text)
                info[name] = rows if len(rows) > 1 else rows[0]


def _rows(text: str) -> list[list[float]]:
    """Numbers of every line."""
    return [[float(word) for word in row.split()] for row in text.splitlines()]


def number_in(text: str) -> str | int | float:
    """A number where the text is one; ``007`` and ``nan`` are none."""
    if re.fullmatch(r"-?(0|[1-9]\d*)", text.strip()):
        return int(text)
    if re.fullmatch(r"[+-]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][+-]?\d+)?", text.strip()):
        return float(text)
    return text


def _energies(table: Path) -> list[float] | None:
    """U0 in eV from the table that PyG keeps beside ``gdb9.sdf``."""
    if not table.is_file():
        return None
    with table.open() as file:
        rows = csv.DictReader(file)
        if "u0" not in (rows.fieldnames or ()):
            return None
        return [float(row["u0"]) * ase.units.Hartree for row in rows] or None
