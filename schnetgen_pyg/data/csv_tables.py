"""Tables of molecules (CSV) as they are: every row with its line, every cell as text."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path

from schnetgen_pyg.data.readers.packed import suffix_of, unpacked
from schnetgen_pyg.data.readers.table import table_in
from schnetgen_pyg.data.readers.text import lines_of
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.registry import nearest

#: Column of a table of results that says why a row has none.
FAILURE = "failure"
#: Cells that say that there is no number, in lower case.
NO_NUMBER = ("", "nan", "na", "n/a", "none", "null")


@dataclass(frozen=True)
class Table:
    """Rows of a table of molecules.

    Attributes:
        path: of the file.
        columns: their names, in the order of the file.
        smiles: name of the column of SMILES.
        lines: number of the line of every row, from 1.
        rows: cells of every row by the names of the columns.
    """

    path: Path
    columns: list[str]
    smiles: str
    lines: list[int]
    rows: list[dict[str, str]]

    def where(self, row: int) -> str:
        """What messages call a row."""
        return f"{self.path}: line {self.lines[row]}"

    def numbers(self, column: str) -> list[float]:
        """A column as numbers, NaN where a cell says that there is none (`NO_NUMBER`).

        Raises:
            InputError: if there is no such column, or naming the line with something else.
        """
        if column not in self.columns:
            raise InputError(
                f"{self.path}: has no column {column!r}{nearest(column, self.columns)}; it has "
                f"{', '.join(self.columns)}"
            )
        return [self._number(place, column) for place in range(len(self.rows))]

    def _number(self, place: int, column: str) -> float:
        text = self.rows[place][column].strip()
        if text.lower() in NO_NUMBER:
            return float("nan")
        try:
            value = float(text)
        except ValueError:
            value = float("inf")
        if value in (float("inf"), float("-inf")):
            raise InputError(
                f"{self.where(place)}: {column} is {text!r}, and no finite number; correct it, or "
                "leave the cell empty"
            )
        return value


def read_table(path: str | os.PathLike[str], smiles: str | None = None) -> Table:
    """A table (``.csv``, also packed) with a line of names.

    Args:
        path: of the file.
        smiles: name of the column of SMILES; by default the one that is called so, in any case.

    Raises:
        InputError: for what is no such table, naming the line.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: {'is a folder' if path.is_dir() else 'there is no such file'}")
    if suffix_of(path) != ".csv":
        raise InputError(f"{path}: is no table by its name; give a file .csv with a line of names")
    try:
        with unpacked(path) as plain:
            table = table_in(lines_of(plain), smiles)
            rows = list(table.rows)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (csv.Error, OSError) as error:
        raise InputError(f"{path}: is no table that can be read ({error})") from error
    if not rows:
        raise InputError(f"{path}: has names of columns and no rows below them")
    lines, cells = [line for line, _ in rows], [row for _, row in rows]
    return Table(path, table.columns, table.smiles, lines, cells)
