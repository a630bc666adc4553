"""Formulas from files: text with one in each line, or those of structures."""

from __future__ import annotations

import os
from pathlib import Path

from schnetgen_pyg.chem.formulas import FormulaPattern
from schnetgen_pyg.data.datasets import load
from schnetgen_pyg.data.electrons import electrons
from schnetgen_pyg.errors import InputError

#: Suffixes of text.
TEXT = ("", ".txt")


def read_formulas(path: str | os.PathLike[str]) -> list[FormulaPattern]:
    """Formulas, one in each line (``#`` begins a comment), or those of the structures in a file of
    any other format, as often as they are there.

    Raises:
        InputError: naming the line that is no formula, or if there are none.
    """
    path = Path(path)
    if path.suffix.lower() not in TEXT:
        return [FormulaPattern.of(data.z.tolist(), electrons(data).charge) for data in load(path)]
    found = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            found.append(FormulaPattern.parse(text))
        except InputError as error:
            raise InputError(f"{path}, line {number}: {error}") from error
    if not found:
        raise InputError(f"{path}: holds no formula; write one in each line, such as C7H10O2")
    return found
