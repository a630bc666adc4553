"""The rows of a file of molecules that are given by their bonds: read one after the other, nothing
embedded, nothing left out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rdkit import Chem

from schnetgen_pyg.data.readers.packed import suffix_of, unpacked
from schnetgen_pyg.data.readers.sdf import WITH_BONDS, read_mols
from schnetgen_pyg.data.readers.smiles import WITH_SMILES, parsed, rows_of_lines
from schnetgen_pyg.data.readers.table import table_in
from schnetgen_pyg.data.readers.text import lines_of
from schnetgen_pyg.errors import InputError

#: What RDKit puts a record's title in.
TITLE = "_Name"


@dataclass(frozen=True)
class MoleculeRow:
    """A row of the file.

    Attributes:
        where: how messages name it.
        cells: its columns, as they are in the file; nothing where the file has the molecule itself.
        text: its SMILES, or nothing likewise.
        mol: that molecule.
    """

    where: str
    cells: dict[str, Any]
    text: str
    mol: Chem.Mol | None = None

    @cached_property
    def said(self) -> dict[str, Any]:
        """By column; of a record its title, its SMILES and its properties."""
        return self.cells if self.mol is None else _said(self.mol)

    def molecule(self) -> Chem.Mol:
        """With all its hydrogens; of salts and radicals, too.

        Raises:
            InputError: with what is wrong in it.
        """
        if self.mol is None and not self.text.strip():
            raise InputError(f"{self.where}: has no SMILES; give one")
        mol = parsed(self.text.strip(), self.where) if self.mol is None else self.mol
        numbers = [atom.GetAtomicNum() for atom in mol.GetAtoms()]
        if not numbers or not all(numbers):
            why = "has dummy atoms (*), which are no atoms" if numbers else "has no atoms"
            raise InputError(f"{self.where}: {why}; correct it, or leave it out")
        return Chem.AddHs(mol)


class MoleculeRows:
    """The rows of a file.

    Args:
        path: ``.csv`` with a column of SMILES, ``.smi`` (SMILES and name) or ``.sdf`` and ``.mol``
            (drawings, too), packed or not.
        column: that of the SMILES, in a ``.csv``; by default the one that is called so.

    Raises:
        InputError: if there is no such file, or its suffix is of none of these; where it is read,
            for what is no table.
    """

    def __init__(self, path: Path, column: str | None = None):
        self.path, self.suffix, self.column = path, suffix_of(path), column
        if self.suffix not in (*WITH_BONDS, *WITH_SMILES):
            raise InputError(
                f"{path}: is no file of molecules with bonds; give {', '.join(WITH_BONDS)}, or "
                f"SMILES in {' or '.join(WITH_SMILES)}"
            )
        if not path.is_file():
            why = "is a folder" if path.is_dir() else "there is no such file"
            raise InputError(f"{path}: {why}")
        if column is not None and self.suffix != ".csv":
            raise InputError(
                f"{path}: has no columns of which one could be {column!r} (smiles=…, --smiles): "
                "that is for .csv; leave it out"
            )

    @cached_property
    def columns(self) -> list[str]:
        """All that the rows say, in the order of the file, which is read for it."""
        if self.suffix in WITH_BONDS:
            mols = read_mols(self.path, drawings=True)
            return [*dict.fromkeys(name for mol in mols for name in _said(mol))]
        if self.suffix == ".csv":
            with self._unpacked() as path:
                return table_in(lines_of(path), self.column).columns
        return ["smiles", "name"]

    def __iter__(self) -> Iterator[MoleculeRow]:
        if self.suffix in WITH_BONDS:
            for number, mol in enumerate(read_mols(self.path, drawings=True)):
                yield MoleculeRow(f"{self.path}: structure {number}", {}, "", mol)
            return
        with self._unpacked() as path:
            if self.suffix == ".csv":
                table = table_in(lines_of(path), self.column)
                for line, row in table.rows:
                    yield MoleculeRow(f"{self.path}: line {line}", row, row[table.smiles])
            else:
                for line, text, info in rows_of_lines(path):
                    cells = {"smiles": text, **info}
                    yield MoleculeRow(f"{self.path}: line {line}", cells, text)

    @contextmanager
    def _unpacked(self) -> Iterator[Path]:
        try:
            with unpacked(self.path) as path:
                yield path
        except InputError as error:
            raise InputError(f"{self.path}: {error}") from error


def _said(mol: Chem.Mol) -> dict[str, Any]:
    """Title, SMILES and properties of a record."""
    title = mol.GetProp(TITLE) if mol.HasProp(TITLE) else ""
    text = Chem.MolToSmiles(Chem.RemoveHs(mol, sanitize=False))
    return {"name": title, "smiles": text} | mol.GetPropsAsDict(autoConvertStrings=False)
