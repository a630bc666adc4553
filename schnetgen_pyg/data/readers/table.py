"""Tables of molecules (CSV): a line of names, and a column of SMILES."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from schnetgen_pyg.errors import InputError
from schnetgen_pyg.registry import nearest


class OpenTable(NamedTuple):
    """A table that is being read.

    Attributes:
        columns: their names, in the order of the file.
        smiles: name of the column of SMILES.
        rows: number of the line of every row, from 1, and its cells by the names of the columns.
    """

    columns: list[str]
    smiles: str
    rows: Iterator[tuple[int, dict[str, str]]]


def table_in(text: Iterator[str], smiles: str | None = None) -> OpenTable:
    """The table that lines of text are; what is wrong is said without the name of the file.

    Args:
        text: the lines.
        smiles: name of the column of SMILES; by default the one that is called so, in any case.

    Raises:
        InputError: for what is no such table; while it is read, naming the line.
    """
    # The lines come without their ends, and a cell between quotes may have several.
    reader = csv.DictReader(f"{line}\n" for line in text)
    columns = [name.strip() for name in reader.fieldnames or ()]
    if not columns:
        raise InputError("the file is empty; it needs a line of names, such as smiles,logS")
    twice = [name for name, number in Counter(columns).items() if number > 1]
    if twice:
        raise InputError(f"has several columns {twice[0]!r}; rename all but one")
    reader.fieldnames = columns
    return OpenTable(columns, _smiles_column(columns, smiles), _rows(reader, columns))


def _rows(reader: csv.DictReader[str], columns: list[str]) -> Iterator[tuple[int, dict[str, str]]]:
    for row in reader:
        if None in row or None in row.values():
            number = len(columns) + len(row.pop(None, [])) - list(row.values()).count(None)
            raise InputError(
                f"line {reader.line_num}: has {number} cells, the first line {len(columns)}; put "
                "cells with commas between quotes"
            )
        yield reader.line_num, row


def _smiles_column(columns: list[str], asked: str | None) -> str:
    if asked is None:
        asked = next((name for name in columns if name.lower() == "smiles"), None)
        if asked is None:
            raise InputError(
                f"has no column smiles; it has {', '.join(columns)}; name the one to take "
                "(smiles=…, --smiles)"
            )
    if asked not in columns:
        raise InputError(
            f"has no column {asked!r}{nearest(asked, columns)}; it has {', '.join(columns)}"
        )
    return asked
