"""Structures at the door of the evaluation: molecules in vacuum, with the charge they state."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, TypeVar

import ase
from torch_geometric.data import Data

from schnetgen_pyg.chem.electrons import CHARGE, SPIN
from schnetgen_pyg.data.conversion import as_data, to_ase
from schnetgen_pyg.data.datasets import load
from schnetgen_pyg.data.origin import named
from schnetgen_pyg.data.stored import StoredStructures
from schnetgen_pyg.errors import InputError

T = TypeVar("T")


class Computed(Sequence[T]):
    """Items that are made anew each time they are asked for, so that they need no memory.

    Args:
        length: how many.
        item: the one with this number.
    """

    def __init__(self, length: int, item: Callable[[int], T]):
        self._length, self._item = length, item

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self._item(k) for k in range(self._length)[number]]
        return self._item(range(self._length)[number])


def chained(groups: Sequence[Sequence[T]]) -> Sequence[T]:
    """All items of all groups."""
    ends = [*accumulate(map(len, groups))]

    def item(number: int) -> T:
        group = bisect_right(ends, number)
        return groups[group][number - (ends[group - 1] if group else 0)]

    return Computed(ends[-1], item)


def judgeable(structures: Any, where: str = "structure", **reading: Any) -> Sequence[ase.Atoms]:
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
    if isinstance(structures, Computed):  # by this function
        return structures
    if isinstance(structures, StoredStructures):
        stored = structures
        return Computed(len(stored), lambda k: _judgeable(data := stored[k], data, f"{where} {k}"))
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
