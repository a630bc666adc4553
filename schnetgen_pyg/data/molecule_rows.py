"""The rows of a file of molecules that are given by their bonds: read one after the other, nothing
embedded, nothing left out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from rdkit import Chem

from schnetgen_pyg.data.given_molecules import WITH_SMILES, parsed
from schnetgen_pyg.data.readers.packed import suffix_of, unpacked
from schnetgen_pyg.data.readers.sdf import WITH_BONDS, read_mols
from schnetgen_pyg.data.readers.smiles import smiles_in
from schnetgen_pyg.data.readers.table import OpenTable, table_in
from schnetgen_pyg.data.readers.text import lines_of
from schnetgen_pyg.errors import InputError

#: What RDKit puts a record's title in.
TITLE = "_Name"


class MoleculeRow(NamedTuple):
    """A row of the file.

    Attributes:
        where: how messages name it.
        said: its columns, as they are in the file.
        text: its SMILES, or nothing where the file has the molecule itself.
        mol: that molecule.
    """

    where: str
    said: dict[str, Any]
    text: str
    mol: Chem.Mol | None = None

    def molecule(self) -> Chem.Mol:
        """With all its hydrogens; of salts and radicals, too.

        Raises:
            InputError: with what is wrong in its SMILES.
        """
        if self.mol is None and not self.text.strip():
            raise InputError(f"{self.where}: has no SMILES; give one")
        mol = parsed(self.text.strip(), self.where) if self.mol is None else self.mol
        return Chem.AddHs(mol)


class MoleculeRows:
    """The rows of a file.

    Args:
        path: ``.csv`` with a column of SMILES, ``.smi`` (SMILES and name) or ``.sdf`` and ``.mol``
            (drawings, too), packed or not.
        column: that of the SMILES, in a ``.csv``; by default the one that is called so.

    Attributes:
        columns: all that the rows say, in the order of the file.

    Raises:
        InputError: if there is no such file or column, or its suffix is of none of these.
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
        if self.suffix in WITH_BONDS:
            names = dict.fromkeys(n for mol in read_mols(path, drawings=True) for n in _said(mol))
            self.columns = [*names]
        elif self.suffix == ".csv":
            with self._table() as table:
                self.columns = table.columns
        else:
            self.columns = ["smiles", "name"]

    def __iter__(self) -> Iterator[MoleculeRow]:
        if self.suffix in WITH_BONDS:
            for number, mol in enumerate(read_mols(self.path, drawings=True)):
                yield MoleculeRow(f"{self.path}: structure {number}", _said(mol), "", mol)
        elif self.suffix == ".csv":
            with self._table() as table:
                for line, row in table.rows:
                    yield MoleculeRow(f"{self.path}: line {line}", {**row}, row[table.smiles])
        else:
            for line, text, info in smiles_in(self.path):
                yield MoleculeRow(f"{self.path}: line {line}", {"smiles": text, **info}, text)

    @contextmanager
    def _table(self) -> Iterator[OpenTable]:
        try:
            with unpacked(self.path) as plain:
                yield table_in(lines_of(plain), self.column)
        except InputError as error:
            raise InputError(f"{self.path}: {error}") from error


def _said(mol: Chem.Mol) -> dict[str, Any]:
    """Title, SMILES and properties of a record."""
    title = mol.GetProp(TITLE) if mol.HasProp(TITLE) else ""
    text = Chem.MolToSmiles(Chem.RemoveHs(mol, sanitize=False))
    return {"name": title, "smiles": text} | mol.GetPropsAsDict(autoConvertStrings=False)
