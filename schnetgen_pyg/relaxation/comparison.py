"""What a relaxation changed: the geometry, and which atoms are bonded."""

from __future__ import annotations

from typing import Any

import ase
import numpy as np
from ase.neighborlist import neighbor_list
from rdkit import Chem

from schnetgen_pyg.chem.bonds import bond_reaches, connectivity
from schnetgen_pyg.chem.geometry import changes, rmsd
from schnetgen_pyg.chem.identity import smiles
from schnetgen_pyg.chem.perception import perceive
from schnetgen_pyg.data.electrons import electrons


def not_judged(atoms: ase.Atoms) -> str:
    """Why the rules of neutral closed-shell molecules do not apply; empty where they do."""
    if atoms.pbc.any():
        return "periodic"
    found = electrons(atoms)
    return "" if found.closed_shell_neutral or found.unstated else found.words()


def constitution(atoms: ase.Atoms) -> tuple[str, str]:
    """SMILES, of a structure that is not valid with its bonds' orders unknown, and why it is not
    valid or was not judged; no SMILES of a periodic one."""
    if atoms.pbc.any():
        return "", f"not judged: {not_judged(atoms)}"
    if other := not_judged(atoms):
        return str(Chem.MolToSmiles(connectivity(atoms))), f"not judged: {other}"
    found = perceive(atoms)
    if found.mol is not None:
        return smiles(found.mol), ""
    return str(Chem.MolToSmiles(connectivity(atoms))), found.failure


def compared(before: ase.Atoms, after: ase.Atoms) -> dict[str, Any]:
    """What changed in the geometry.

    Returns:
        ``rmsd``, ``rmsd_heavy`` (Å), mean and largest change of bonds (Å), angles and torsions (°),
        ``smiles_after`` and ``failure_after`` (`constitution`), and ``changed``: whether other
        atoms are bonded. Of periodic structures RMSDs are without superposition, but for a common
        shift, and there are no angles and torsions.
    """
    new, failure = constitution(after)
    result = {"smiles_after": new, "failure_after": failure}
    heavy = bool((before.numbers != 1).any())
    if before.pbc.any():
        return result | _in_cell(before, after)
    return result | {
        "rmsd": rmsd(before, after),
        "rmsd_heavy": rmsd(before, after, heavy=True) if heavy else None,
        **changes(before, after),
        "changed": new != constitution(before)[0],
    }


def _bonds_in_cell(atoms: ase.Atoms) -> dict[tuple[int, ...], float]:
    """Length in Å of each bond: its two atoms and the image of the second."""
    first, second, image, length = neighbor_list("ijSd", atoms, bond_reaches(atoms.numbers))
    pairs = np.column_stack([first, second, image]).tolist()
    return dict(zip(map(tuple, pairs), length.tolist(), strict=True))


def _in_cell(before: ase.Atoms, after: ase.Atoms) -> dict[str, Any]:
    moved = after.positions - before.positions
    heavy = before.numbers != 1
    old, new = _bonds_in_cell(before), _bonds_in_cell(after)
    change = [abs(new[bond] - length) for bond, length in old.items() if bond in new]
    bonds = {"bonds_mean": float(np.mean(change)), "bonds_max": max(change)} if change else {}
    return {
        "rmsd": _root_mean_square(moved),
        "rmsd_heavy": _root_mean_square(moved[heavy]) if heavy.any() else None,
        **bonds,
        "changed": old.keys() != new.keys(),
    }


def _root_mean_square(moved: Any) -> float:
    return float(np.sqrt(((moved - moved.mean(0)) ** 2).sum(1).mean()))
