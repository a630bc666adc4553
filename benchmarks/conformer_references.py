"""Molecules with reference ensembles, on which `conformers.py` judges."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import ase
import numpy as np
from rdkit import Chem

from schnetgen_pyg import load
from schnetgen_pyg.chem.identity import smiles
from schnetgen_pyg.chem.molecules import known_or_perceived
from schnetgen_pyg.data.conversion import to_ase
from schnetgen_pyg.errors import InputError


@dataclass(frozen=True)
class Reference:
    """A molecule and its ensemble.

    Attributes:
        name: of the molecule.
        mol: with hydrogens, in the order of the positions; ``None`` where there is none.
        positions: of the reference conformers in Å [num_atoms, 3].
        failure: why there is no molecule.
    """

    name: str
    mol: Chem.Mol | None
    positions: list[np.ndarray]
    failure: str = ""


def references(path: Path) -> list[Reference]:
    """Of a file of ensembles (`make_ensembles.py`), or the conformer set (``.npz`` with
    ``smiles``, ``names`` and ``charge`` of molecules; https://github.com/ghutchis/conformer-scoring).

    Raises:
        InputError: if the file holds no ensembles.
    """
    found = [*(_of_arrays(path) if path.suffix == ".npz" else _of_ensembles(path))]
    if not found:
        raise InputError(f"{path}: holds no ensembles; make them with make_ensembles.py")
    return found


def _of_ensembles(path: Path) -> Iterator[Reference]:
    groups: dict[str, list[ase.Atoms]] = {}
    for number, data in enumerate(load(str(path))):
        atoms = to_ase(data)
        if "smiles" not in atoms.info:
            raise InputError(
                f"{path}: structure {number} does not say its smiles; make the file with "
                "make_ensembles.py"
            )
        groups.setdefault(str(atoms.info["smiles"]), []).append(atoms)
    for text, own in groups.items():
        yield _reference(text, text, own)


def _of_arrays(path: Path) -> Iterator[Reference]:
    with np.load(path) as file:
        data = {name: file[name] for name in ("molecule", "n_atoms", "z", "pos", "names")}
        data |= {name: file[name] for name in ("smiles", "charge")}
    stop = np.cumsum(data["n_atoms"].astype(int))
    start = stop - data["n_atoms"]
    for number, (name, text) in enumerate(zip(data["names"], data["smiles"], strict=True)):
        own = []
        for row in np.flatnonzero(data["molecule"] == number):
            part = slice(start[row], stop[row])
            info = {"charge": int(data["charge"][number])}
            own.append(ase.Atoms(data["z"][part], data["pos"][part], info=info))
        yield _reference(str(name), str(text), own)


def _reference(name: str, text: str, own: list[ase.Atoms]) -> Reference:
    """The molecule is the one that its first conformer shows, if that is what it is called."""
    mol = known_or_perceived(own[0]).mol
    if mol is None:
        return Reference(name, None, [], "its first conformer is no valid molecule")
    asked = Chem.MolFromSmiles(text)
    if asked is None or smiles(mol) != smiles(asked):
        return Reference(name, None, [], f"its conformer is {smiles(mol)}, not {text}")
    alike = [atoms.positions for atoms in own if np.array_equal(atoms.numbers, own[0].numbers)]
    if len(alike) < len(own):
        return Reference(name, None, [], "its conformers have their atoms in different orders")
    mol = Chem.Mol(mol)
    mol.RemoveAllConformers()
    return Reference(name, mol, alike)
