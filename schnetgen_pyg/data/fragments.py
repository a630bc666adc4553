"""Fragments from what people have: structure files, SMILES, RDKit molecules, structures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ase
from rdkit import Chem, rdBase
from torch_geometric.data import Data

from schnetgen_pyg.chem.conformers import with_conformers
from schnetgen_pyg.chem.fragments import Fragment
from schnetgen_pyg.data.coincidence import require_distinct
from schnetgen_pyg.data.conversion import as_data, check, to_ase
from schnetgen_pyg.data.electrons import electrons
from schnetgen_pyg.data.readers import READERS, read
from schnetgen_pyg.data.readers.packed import suffix_of
from schnetgen_pyg.data.readers.sdf import WITH_BONDS, read_mols
from schnetgen_pyg.data.readers.smiles import embedded
from schnetgen_pyg.errors import InputError


def fragment(source: Any, attach: Sequence[int] = (), where: str = "fragment") -> Fragment:
    """What a molecule is to be built upon.

    Args:
        source: a structure file, of which the first structure counts; SMILES, whose atoms beside
            hydrogen are embedded; an RDKit molecule; ASE ``Atoms`` or ``Data``. Dummy atoms
            (``*``) of SMILES, SDF and RDKit molecules stand for atoms that are to come. Bond orders
            of the others are found by their bond lengths.
        attach: atoms, numbered from 0, that are to get a heavy neighbour: hydrogens, which are
            replaced, or atoms that lack a bond. Where neither these nor dummy atoms are named,
            every neutral atom that lacks a bond may get others or hydrogens. What is not named then
            stays closed.

    Raises:
        InputError: for what is none of these, has no open place, is periodic or a radical by its
            own word, or whose parts overlap.
    """
    found = _fragment(source, attach, where)
    if not (found.lacking > 0).any():
        raise InputError(
            f"{where}: none of its atoms lacks a bond, so that nothing can grow on it; name "
            "attachment points, such as hydrogens that are to be replaced"
        )
    return found


def _fragment(source: Any, attach: Sequence[int], where: str) -> Fragment:
    if isinstance(source, Fragment):
        if attach:
            raise InputError(f"{where}: its attachment points are settled; leave attach out")
        return source
    if isinstance(source, Chem.Mol):
        return _of_mol(source, attach, where)
    if isinstance(source, (str, os.PathLike)):
        return _of_text(source, attach, where)
    if not isinstance(source, (ase.Atoms, Data)):
        raise InputError(
            f"{where}: expected a file, SMILES, an RDKit molecule, ASE Atoms or Data, got "
            f"{type(source).__name__}"
        )
    data = check(as_data(source, where)[0], where)
    require_distinct(data, where)
    found = electrons(data, where)
    if data.get("cell") is not None:
        raise InputError(f"{where}: is periodic, and generators make molecules; remove the cell")
    if found.multiplicity > 1 and not found.unstated:
        raise InputError(
            f"{where}: has {found.words()}, and generators make closed-shell molecules only; "
            "correct what it states"
        )
    atoms = source.copy() if isinstance(source, ase.Atoms) else to_ase(data)
    atoms.info["charge"] = found.charge
    return Fragment.of_atoms(atoms, attach, where)


def _of_text(source: str | os.PathLike[str], attach: Sequence[int], where: str) -> Fragment:
    """Of a file or SMILES."""
    path = Path(source)
    suffix = suffix_of(path)
    if path.is_file():
        if suffix in WITH_BONDS:
            mol = next(read_mols(path), None)
            if mol is None:
                raise InputError(f"{path}: holds no structure; give a file with the fragment")
            return Fragment.of_mol(mol, attach, str(path))
        structures = read(path)
        if not len(structures):
            raise InputError(f"{path}: holds no structure; give a file with the fragment")
        return _fragment(structures[0], attach, str(path))
    if isinstance(source, os.PathLike) or suffix in READERS or (os.sep in str(source) and suffix):
        raise InputError(f"{path}: there is no such file")
    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(str(source))
    if mol is None or not mol.GetNumAtoms():
        raise InputError(
            f"{where}: {str(source)!r} is neither a file nor SMILES that RDKit reads; correct it"
        )
    return _of_mol(mol, attach, where)


def _of_mol(mol: Chem.Mol, attach: Sequence[int], where: str) -> Fragment:
    if mol.GetNumConformers() and mol.GetConformer().Is3D():
        return Fragment.of_mol(mol, attach, where)
    if len(Chem.GetMolFrags(mol)) > 1:
        raise InputError(
            f"{where}: SMILES of several parts do not say where these are; give a file with "
            "their positions"
        )
    return Fragment.of_mol(_with_conformer(mol, where), attach, where)


def _with_conformer(mol: Chem.Mol, where: str) -> Chem.Mol:
    """The same atoms in 3-D, as they are in a molecule where dummy atoms are carbons."""
    whole = Chem.RWMol(mol)
    for atom in whole.GetAtoms():
        if atom.GetAtomicNum() == 0:
            atom.SetAtomicNum(6)
            atom.SetIsotope(0)
            atom.SetNoImplicit(False)
    with rdBase.BlockLogs():
        if Chem.SanitizeMol(whole, catchErrors=True):
            raise InputError(f"{where}: has bonds that no molecule has; correct its dummy atoms")
        found = embedded(whole.GetMol())
    if found is None:
        raise InputError(f"{where}: no coordinates fit its bonds; give a file with positions")
    return with_conformers(mol, [found.GetConformer().GetPositions()[: mol.GetNumAtoms()]])
