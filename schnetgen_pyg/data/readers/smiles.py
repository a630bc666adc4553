"""SMILES, one in a line or in a table: molecules without coordinates, which are made here.

Each is embedded by RDKit (ETKDGv3, seeded, so that a file always gives the same structures) and
relaxed with MMFF94s, in several processes. These are no structures of quantum chemistry: relax them
(``schnetgen relax``) where that matters.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rdkit import Chem, rdBase
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers
from torch_geometric.data import Data

from schnetgen_pyg.data.electrons import state_electrons
from schnetgen_pyg.data.readers.table import table_in
from schnetgen_pyg.data.readers.text import lines_of
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.parallel import Failure, grouped, in_order, in_processes, job_count

#: Files of SMILES.
WITH_SMILES = (".smi", ".csv")

#: Molecules that a process gets at a time, fewer than which this one does, and seconds for them.
GROUP, FEW, SECONDS = 50, 20, 1200.0

#: Seed of the embedding, and steps of the relaxation.
SEED, STEPS = 0, 2000


class Row(NamedTuple):
    """A SMILES, the number of its line from 1, and what is said beside it."""

    line: int
    smiles: str
    info: dict[str, Any]


class _Made(NamedTuple):
    """Atomic numbers, positions [num_atoms, 3] (Å) and total charge (e)."""

    numbers: list[int]
    pos: np.ndarray
    charge: int


class _NotMade(NamedTuple):
    """Why there is no molecule: as the text is ``wrong``, or as none was found."""

    why: str
    wrong: bool


def read_smiles(path: Path) -> Iterator[Data]:
    """The molecules of lines ``SMILES NAME``, hydrogens added; ``smiles`` and ``name`` are in
    ``info``. What is no SMILES is an error; what cannot be embedded is left out with a warning."""
    yield from _structures(path, rows_of_lines(path))


def rows_of_lines(path: Path) -> Iterator[Row]:
    """Lines ``SMILES NAME`` that are not empty; nothing is embedded."""
    for number, line in enumerate(lines_of(path), 1):
        if words := line.split(None, 1):
            yield Row(number, words[0], {"name": words[1].strip()} if words[1:] else {})


def read_smiles_table(path: Path) -> Iterator[Data]:
    """The same of a table (CSV) with a column ``smiles``; its other columns are in ``info``."""
    yield from _structures(path, _rows_of_table(path))


def _rows_of_table(path: Path) -> Iterator[Row]:
    table = table_in(lines_of(path))
    for line, row in table.rows:
        if text := row.pop(table.smiles).strip():
            yield Row(line, text, {key: value for key, value in row.items() if key and value})


def parsed(text: str, where: str = "molecule") -> Chem.Mol:
    """What RDKit reads in a SMILES: salts, radicals and single atoms, too.

    Raises:
        InputError: with what is wrong in it.
    """
    with rdBase.BlockLogs():
        raw = Chem.MolFromSmiles(text, sanitize=False)
        if raw is None or not raw.GetNumAtoms():
            raise InputError(f"{where}: {text!r} is no SMILES that RDKit reads; correct it")
        problems = Chem.DetectChemistryProblems(raw)
        if problems:
            raise InputError(f"{where}: {text!r}: {problems[0].Message()}; correct it")
        if not all(atom.GetAtomicNum() for atom in raw.GetAtoms()):
            raise InputError(f"{where}: {text!r} is a pattern (*) and no molecule; leave it out")
        return Chem.MolFromSmiles(text)


def _structures(path: Path, rows: Iterable[Row]) -> Iterator[Data]:
    failed: list[str] = []
    number = 0
    for row, made in _embedded(iter(rows)):
        if isinstance(made, _NotMade) and made.wrong:
            raise InputError(f"structure {number} (line {row.line}): {row.smiles!r} {made.why}")
        if isinstance(made, _NotMade):
            failed.append(f"line {row.line}, {row.smiles} ({made.why})")
            continue
        data = Data(
            z=torch.tensor(made.numbers),
            pos=torch.from_numpy(made.pos).float(),
            info={"smiles": row.smiles, **row.info},
        )
        yield state_electrons(data, f"structure {number}", np.array([made.charge]))
        number += 1
    if failed:
        warnings.warn(
            f"{path.name}: {len(failed)} of {number + len(failed)} molecules could not be embedded "
            f"and are left out: {'; '.join(failed[:3])}{'; …' * (len(failed) > 3)}",
            stacklevel=2,
        )


def _embedded(rows: Iterator[Row]) -> Iterator[tuple[Row, _Made | _NotMade]]:
    """Rows with their molecules, in their order."""
    first = list(islice(rows, FEW))
    yield from zip(first, _embed([row.smiles for row in first]), strict=True)
    waiting: list[list[Row]] = []

    def tasks() -> Iterator[list[str]]:
        for group in grouped(rows, GROUP):
            waiting.append(group)
            yield [row.smiles for row in group]

    for found in in_order(in_processes(_embed, tasks(), jobs=job_count(None), timeout=SECONDS)):
        group = waiting.pop(0)
        lost = [_NotMade(found.reason, False)] * len(group) if isinstance(found, Failure) else found
        yield from zip(group, lost, strict=True)


def _embed(texts: list[str]) -> list[_Made | _NotMade]:
    with rdBase.BlockLogs():
        return [_one(text) for text in texts]


def _one(smiles: str) -> _Made | _NotMade:
    mol = Chem.MolFromSmiles(smiles)
    if mol is None or not mol.GetNumAtoms():
        return _NotMade("is no SMILES that RDKit reads; correct it, or leave it out", True)
    if not all(atom.GetAtomicNum() for atom in mol.GetAtoms()):
        return _NotMade("is a pattern (*) and no molecule; leave it out", True)
    found = embedded(mol)
    if found is None:
        return _NotMade("no coordinates fit its bonds", False)
    numbers = [atom.GetAtomicNum() for atom in found.GetAtoms()]
    return _Made(numbers, found.GetConformer().GetPositions(), Chem.GetFormalCharge(found))


def embedded(mol: Chem.Mol) -> Chem.Mol | None:
    """A molecule with its hydrogens, which come last, and a conformer; or nothing where there is
    none."""
    mol = Chem.AddHs(mol)
    parameters: Any = rdDistGeom.ETKDGv3()
    parameters.randomSeed = SEED
    if rdDistGeom.EmbedMolecule(mol, parameters) != 0:
        parameters.useRandomCoords = True
        if rdDistGeom.EmbedMolecule(mol, parameters) != 0:
            return None
    if rdForceFieldHelpers.MMFFHasAllMoleculeParams(mol):
        rdForceFieldHelpers.MMFFOptimizeMolecule(mol, mmffVariant="MMFF94s", maxIters=STEPS)
    return mol
