"""The database of a relaxation: an ASE database whose rows are minima, and nothing else.

Everything else lies in a table of its own in the same file, where ASE and other readers of
databases do not look: predicted energies of the structures before, what became of those that did
not converge, and all figures.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import ase
import ase.db
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.jsonio import decode, encode

from schnetgen_pyg.errors import InputError
from schnetgen_pyg.relaxation.calculators import reason
from schnetgen_pyg.storage.atomic import naming, replacing
from schnetgen_pyg.storage.settings import require_same_settings

#: Of the databases; those of another one are not continued.
FORMAT = 2

#: Figures of a record that are key-value pairs of its row, too, so that ``ase db`` shows them.
SHOWN = (
    *("status", "method", "changed", "smiles_before", "smiles_after", "failure_after"),
    *("released", "rmsd", "rmsd_heavy", "largest_force"),
)

#: The table beside the rows: predicted energies (kind ``energy``), records of the rows
#: (``converged``), and records and geometries of what is no minimum (``stopped``).
BESIDE = (
    "CREATE TABLE IF NOT EXISTS schnetgen_relax "
    "(kind TEXT, structure INTEGER, content TEXT, PRIMARY KEY (kind, structure))"
)


class Store:
    """Results of a relaxation as they come: what is there is not computed again.

    Args:
        path: of the database.
        structures: as they were before.
        wanted: settings that decide the results.

    Raises:
        InputError: if there is something else, or the results of other settings.
    """

    def __init__(self, path: Path, structures: Sequence[ase.Atoms], wanted: dict[str, Any]):
        self.path, self.structures = path, structures
        wanted = {"format": FORMAT, **wanted}
        if not path.is_file() or not path.stat().st_size:
            with replacing(path) as temporary:  # whole, so that a full disk leaves no half of it
                _begin(temporary, wanted)
        # One process writes; a lock file would outlive it if it is killed.
        self.database = ase.db.connect(path, type="db", use_lock_file=False)
        try:
            fresh = not self.database.metadata and not self.database.count()
            found = wanted if fresh else self.database.metadata.get("schnetgen_relax")
        except Exception as error:
            raise InputError(f"{path}: not an ASE database ({reason(error)})") from error
        require_same_settings(path, found, wanted)
        if fresh:
            with self._writing():
                _begin(path, wanted)

    def _writing(self) -> contextlib.AbstractContextManager[None]:
        left = "the results before are kept, the same command continues with the next one"
        return naming(self.path, left)

    def _beside(self, kind: str, index: int, content: dict[str, Any]) -> None:
        with self._writing():
            values = (kind, index, encode(content))
            _execute(self.path, "INSERT OR REPLACE INTO schnetgen_relax VALUES (?, ?, ?)", values)

    def write_energy(self, index: int, energy: float | str) -> None:
        """The predicted energy (eV) of a structure as it was, or why there is none."""
        self._beside("energy", index, {"energy": energy})

    def energies(self) -> dict[int, float | str]:
        return {k: content["energy"] for k, content in _read_beside(self.path, "energy")}

    def write(self, index: int, record: dict[str, Any], positions: Any, method: str) -> None:
        """What became of a structure: a row if it converged."""
        atoms = self.structures[index].copy()
        atoms.positions = positions
        if record["status"] != "converged":
            self._beside("stopped", index, {"record": record, "atoms": atoms.todict()})
            return
        atoms.calc = SinglePointCalculator(atoms, energy=record["energy_after"])
        pairs = {k: v for k, v in (record | {"method": method}).items() if k in SHOWN and v != ""}
        pairs = {name: value for name, value in pairs.items() if value is not None}
        # Not what an earlier relaxation said of the structure that it made.
        info = {k: v for k, v in atoms.info.items() if k not in (*SHOWN, "structure")}
        self._beside("converged", index, {"record": record})  # it is done when the row is there
        with self._writing():
            self.database.write(atoms, pairs, data={"info": info}, structure=index)

    def results(self) -> dict[int, tuple[dict[str, Any], ase.Atoms]]:
        """Record and last sound geometry of every structure that is through."""
        return _results(self.path, self.database)


def _begin(path: Path, settings: dict[str, Any]) -> None:
    """Make an empty database one of ours."""
    _execute(path, BESIDE)  # before what says that it is there
    ase.db.connect(path, type="db", use_lock_file=False).metadata = {"schnetgen_relax": settings}


def _execute(path: Path, command: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(command, values).fetchall()


def _read_beside(path: Path, kind: str) -> list[tuple[int, dict[str, Any]]]:
    command = "SELECT structure, content FROM schnetgen_relax WHERE kind = ?"
    return [(index, decode(text)) for index, text in _execute(path, command, [kind])]


def _results(path: Path, database: Any) -> dict[int, tuple[dict[str, Any], ase.Atoms]]:
    found, records = {}, dict(_read_beside(path, "converged"))
    for row in database.select():
        atoms = row.toatoms()
        atoms.info.update(row.data.get("info", {}))
        found[row.structure] = records[row.structure]["record"], atoms
    for index, content in _read_beside(path, "stopped"):
        record, atoms = content["record"], ase.Atoms.fromdict(content["atoms"])
        if (energy := record.get("energy_after")) is not None:
            atoms.calc = SinglePointCalculator(atoms, energy=energy)
        found[index] = record, atoms
    return found


def stored(path: str | os.PathLike[str]) -> Iterator[tuple[int, dict[str, Any], ase.Atoms]]:
    """Number, record and last sound geometry of every structure of a database that `relax` wrote,
    also of one that was killed.

    Raises:
        InputError: if the file is none.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        database = ase.db.connect(path, type="db", use_lock_file=False)
        settings = database.metadata.get("schnetgen_relax")
        if settings is None:
            raise InputError(f"{path}: not written by `schnetgen relax`")
        if settings.get("format") != FORMAT:
            raise InputError(f"{path}: of an older version, which is not read; relax once more")
        found = _results(path, database)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path}: not an ASE database ({reason(error)})") from error
    for number in sorted(found):
        yield number, *found[number]
