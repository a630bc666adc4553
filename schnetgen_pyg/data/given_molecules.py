"""Molecules that are given without positions, or whose positions do not count: SMILES, RDKit
molecules, files of either."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rdkit import Chem, rdBase

from schnetgen_pyg.data.readers.packed import suffix_of
from schnetgen_pyg.data.readers.sdf import WITH_BONDS, read_mols
from schnetgen_pyg.data.readers.smiles import smiles_in
from schnetgen_pyg.errors import InputError

#: Files of SMILES.
WITH_SMILES = (".smi", ".csv")


class Given(NamedTuple):
    """A molecule with all its hydrogens, its name, and what messages call it."""

    mol: Chem.Mol
    name: str
    where: str


def given_molecules(source: Any) -> list[Given]:
    """The molecules of a source, with their stereochemistry and their hydrogens.

    Args:
        source: SMILES; an RDKit molecule; a file of SMILES (``.smi``, or ``.csv`` with a column
            ``smiles``) or of molecules (``.sdf``, ``.mol``, drawings too); or a list of these.

    Raises:
        InputError: naming what is no molecule, is several molecules or a radical, or has no
            elements.
    """
    several = isinstance(source, Sequence) and not isinstance(source, str)
    found: list[Given] = []
    for item in source if several else [source]:
        found += _of(item, len(found))
    if not found:
        raise InputError("there are no molecules: give SMILES, RDKit molecules or a file of them")
    return found


def _of(item: Any, number: int) -> Iterator[Given]:
    if isinstance(item, Chem.Mol):
        where = f"molecule {number}"
        yield _checked(item, _name(item), where)
        return
    if not isinstance(item, (str, os.PathLike)):
        raise InputError(
            f"molecule {number}: expected SMILES, an RDKit molecule or a file, got "
            f"{type(item).__name__}"
        )
    path = Path(item)
    suffix = suffix_of(path)
    if suffix in (*WITH_BONDS, *WITH_SMILES) and (path.is_file() or suffix != ".csv"):
        yield from _of_file(path, suffix)
    elif path.is_file() or isinstance(item, os.PathLike):
        raise InputError(
            f"{path}: is no file of molecules with bonds; give {', '.join(WITH_BONDS)}, or SMILES "
            f"in {' or '.join(WITH_SMILES)}"
        )
    else:
        yield of_smiles(str(item), "", f"molecule {number}")


def _of_file(path: Path, suffix: str) -> Iterator[Given]:
    if not path.is_file():
        raise InputError(f"{path}: {'is a folder' if path.is_dir() else 'there is no such file'}")
    if suffix in WITH_BONDS:
        for number, mol in enumerate(read_mols(path, drawings=True)):
            yield _checked(mol, _name(mol), f"{path}: structure {number}")
        return
    for line, text, info in _read(path):
        name = next((str(info[key]) for key in ("name", "id") if key in info), "")
        yield of_smiles(text, name, f"{path}: line {line}")


def _read(path: Path) -> list[tuple[int, str, dict[str, Any]]]:
    try:
        return list(smiles_in(path))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _name(mol: Chem.Mol) -> str:
    for key in ("_Name", "name"):
        if mol.HasProp(key) and mol.GetProp(key).strip():
            return str(mol.GetProp(key).strip())
    return ""


def of_smiles(text: str, name: str = "", where: str = "molecule") -> Given:
    """The molecule that a SMILES is.

    Raises:
        InputError: with what is wrong in it.
    """
    return _checked(parsed(text, where), name, where)


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
        return Chem.MolFromSmiles(text)


def _checked(mol: Chem.Mol, name: str, where: str) -> Given:
    atoms = list(mol.GetAtoms())
    if not atoms:
        raise InputError(f"{where}: has no atoms; leave it out")
    text = Chem.MolToSmiles(mol)
    if not all(atom.GetAtomicNum() for atom in atoms):
        raise InputError(f"{where}: {text} is a pattern (*) and no molecule; leave it out")
    if len(Chem.GetMolFrags(mol)) > 1:
        raise InputError(
            f"{where}: {text} is several molecules, and nothing says where they lie to each other; "
            "give each by itself, salts without their counterions"
        )
    if radical := next((atom for atom in atoms if atom.GetNumRadicalElectrons()), None):
        raise InputError(
            f"{where}: {text} has an unpaired electron at {radical.GetSymbol()} "
            f"{radical.GetIdx()}, and generators make closed-shell molecules only; correct it"
        )
    mol = Chem.Mol(mol)
    mol.RemoveAllConformers()
    return Given(Chem.AddHs(mol), name, where)
