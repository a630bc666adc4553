"""Hydrogens put back on bare molecules, beside Open Babel and RDKit.

    OMP_NUM_THREADS=1 python benchmarks/hydrogens.py --checkpoint qm9 --test test.extxyz.gz

Takes the hydrogens off ``--num`` held-out molecules, drawn by a seed, and has them put back: by the
generator, by Open Babel (extra ``openbabel``; left out where it is not there) and by RDKit's
``AddHs(addCoords=True)``; with the bond orders known, as in an SDF, and with bare atoms, whose bond
orders are found by lengths (RDKit does not do that).

The heavy atoms stay where they are, so nothing is superposed: RMSD of the hydrogens of a molecule,
those of one heavy atom assigned so that they fit best; and the same with rotamers forgiven, the
hydrogens of CH3, OH, NH2 … turned about their bond. A molecule with other numbers of hydrogens, or
one that is refused, is below no threshold. Of ``--energies`` molecules also the energy by GFN2-xTB
above that of the real hydrogens. Writes ``hydrogens_NAME.json``.
"""

from __future__ import annotations

import importlib.util
import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ase
import ase.units
import numpy as np
import torch
from common import kept_row, save
from quality_any import load_model, model_parser, read_options
from rdkit import Chem
from samples import drawn, weights_of
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from schnetgen_pyg import SchNetGen, load
from schnetgen_pyg.chem.molecules import known_or_perceived
from schnetgen_pyg.data.bare import bare_structure
from schnetgen_pyg.data.conversion import to_ase
from schnetgen_pyg.data.digest import digest
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.evaluation.judges.openbabel import openbabel_molecule
from schnetgen_pyg.generator.sampling.bare_atoms import add_hydrogens
from schnetgen_pyg.generator.sampling.formulas import check_seen
from schnetgen_pyg.generator.sampling.fragments import check_fragment
from schnetgen_pyg.relaxation.calculators import energies

METHOD = "gfn2-xtb"
#: RMSD in Å below which the shares are given: those of Quetzal's paper.
BELOW = (0.05, 0.1, 0.5)
KCAL = ase.units.kcal / ase.units.mol


@dataclass(frozen=True)
class Way:
    """A way to put hydrogens on heavy atoms.

    Attributes:
        bonds: whether it gets RDKit molecules with bond orders, or bare atoms.
        add: from these to the positions of the hydrogens of each [number, 3] in Å.
        takes: whether it does not refuse one.
    """

    bonds: bool
    add: Callable[[Sequence[Any]], list[np.ndarray]]
    takes: Callable[[Any], bool] = lambda _: True


@dataclass(frozen=True)
class Molecule:
    """A molecule whose hydrogens are known.

    Attributes:
        mol: its heavy atoms with their bond orders.
        heavy: positions of these [num_heavy, 3] in Å.
        hydrogens: of each heavy atom the positions of its hydrogens [number, 3].
        rotors: heavy atoms at the end of a single bond, with the atom at its other end.
    """

    mol: Chem.Mol
    heavy: np.ndarray
    hydrogens: list[np.ndarray]
    rotors: dict[int, int]

    @classmethod
    def of(cls, atoms: ase.Atoms) -> Molecule | None:
        """None of what is no valid molecule, or has no hydrogens or heavy atoms."""
        whole = known_or_perceived(atoms).mol
        own = atoms.numbers == 1
        if whole is None or own.all() or not own.any():
            return None
        place = np.cumsum(~own) - 1
        rotors = {}
        for atom in whole.GetAtoms():
            bonds = [b for b in atom.GetBonds() if b.GetOtherAtom(atom).GetAtomicNum() != 1]
            if not own[atom.GetIdx()] and [b.GetBondType() for b in bonds] == [
                Chem.BondType.SINGLE
            ]:
                other = bonds[0].GetOtherAtomIdx(atom.GetIdx())
                rotors[int(place[atom.GetIdx()])] = int(place[other])
        heavy = atoms.positions[~own]
        hydrogens = by_atom(heavy, atoms.positions[own])
        return cls(Chem.RemoveAllHs(whole), heavy, hydrogens, rotors)

    @property
    def bare(self) -> ase.Atoms:
        """Its heavy atoms without bonds."""
        numbers = [atom.GetAtomicNum() for atom in self.mol.GetAtoms()]
        return ase.Atoms(numbers, self.heavy)

    def completed(self, hydrogens: np.ndarray) -> ase.Atoms:
        return self.bare + ase.Atoms("H" * len(hydrogens), hydrogens)


def by_atom(heavy: np.ndarray, hydrogens: np.ndarray) -> list[np.ndarray]:
    """Hydrogens [num, 3] of the heavy atoms that they are nearest to."""
    nearest = cdist(hydrogens, heavy).argmin(1)
    return [hydrogens[nearest == atom] for atom in range(len(heavy))]


def squares(found: np.ndarray, wanted: np.ndarray) -> float:
    """Least sum of squared distances (Å²) over assignments of one set of points to another."""
    table = cdist(found, wanted, "sqeuclidean")
    return float(table[linear_sum_assignment(table)].sum())


def turned_squares(
    found: np.ndarray, wanted: np.ndarray, center: np.ndarray, axis: np.ndarray
) -> float:
    """The same where the points may be turned about an axis: for each assignment the best angle is
    known (Kabsch in two dimensions)."""
    axis = axis / np.linalg.norm(axis)
    one, two = found - center, wanted - center
    along = [points @ axis for points in (one, two)]
    across = [points - np.outer(h, axis) for points, h in zip((one, two), along, strict=True)]
    best = np.inf
    for order in itertools.permutations(range(len(wanted))):
        other = across[1][[*order]]
        cosine, sine = (across[0] * other).sum(), (np.cross(across[0], other) @ axis).sum()
        square = (across[0] ** 2).sum() + (other**2).sum() - 2 * np.hypot(cosine, sine)
        best = min(best, square + ((along[0] - along[1][[*order]]) ** 2).sum())
    return float(max(best, 0.0))


def deviation(molecule: Molecule, hydrogens: np.ndarray | None, turn: bool = False) -> float:
    """RMSD (Å) of a molecule's hydrogens; infinite where their numbers differ.

    Args:
        hydrogens: what was put there [number, 3], or none.
        turn: whether the hydrogens at the ends of single bonds may be turned about these.
    """
    if hydrogens is None:
        return float("inf")
    found = by_atom(molecule.heavy, hydrogens)
    pairs = list(zip(found, molecule.hydrogens, strict=True))
    if any(len(one) != len(other) for one, other in pairs):
        return float("inf")
    total = 0.0
    for atom, (one, other) in enumerate(pairs):
        if turn and atom in molecule.rotors and len(one):
            center = molecule.heavy[atom]
            axis = center - molecule.heavy[molecule.rotors[atom]]
            total += turned_squares(one, other, center, axis)
        else:
            total += squares(one, other)
    return float(np.sqrt(total / sum(map(len, molecule.hydrogens))))


def ours(model: SchNetGen, seed: int, bonds: bool) -> Way:
    """The generator's."""

    def takes(one: Any) -> bool:
        try:
            for fragment in bare_structure(one).molecules:
                check_seen(model, fragment.numbers.tolist())
                check_fragment(model, fragment)
        except InputError:
            return False
        return True

    def add(given: Sequence[Any]) -> list[np.ndarray]:
        made = add_hydrogens(model, given, seed=seed)
        return [one.positions[len(one) - one.info["added"] :] for one in made]

    return Way(bonds, add, takes)


def by_rdkit(given: Sequence[Any]) -> list[np.ndarray]:
    """Of RDKit molecules only."""
    made = [Chem.AddHs(mol, addCoords=True) for mol in given]
    return [
        one.GetConformer().GetPositions()[mol.GetNumAtoms() :]
        for one, mol in zip(made, given, strict=True)
    ]


def by_openbabel(given: Sequence[Any]) -> list[np.ndarray]:
    from openbabel import openbabel as ob

    ob.obErrorLog.SetOutputLevel(0)
    return [_openbabel(ob, one) for one in given]


def _openbabel(ob: Any, given: Any) -> np.ndarray:
    if isinstance(given, Chem.Mol):
        mol, reader = ob.OBMol(), ob.OBConversion()
        reader.SetInFormat("mol")
        reader.ReadString(mol, Chem.MolToMolBlock(given))
    else:
        mol = openbabel_molecule(given)
        for atom in ob.OBMolAtomIter(mol):
            ob.OBAtomAssignTypicalImplicitHydrogens(atom)
    mol.AddHydrogens()
    own = [atom for atom in ob.OBMolAtomIter(mol) if atom.GetAtomicNum() == 1]
    return np.array([[a.GetX(), a.GetY(), a.GetZ()] for a in own]).reshape(-1, 3)


def summary(deviations: Sequence[float]) -> dict[str, float]:
    """Shares below the thresholds, of all, and the median of those with the right numbers."""
    values = np.array(deviations)
    row = {f"below_{limit}": float((values < limit).mean()) for limit in BELOW}
    row["numbers_right"] = float(np.isfinite(values).mean())
    if np.isfinite(values).any():
        row["median"] = float(np.median(values[np.isfinite(values)]))
    return row


def above(molecules: Sequence[Molecule], found: Sequence[np.ndarray | None]) -> dict[str, Any]:
    """Energies above those with the real hydrogens (kcal/mol), where the numbers are right."""
    pairs = [
        (one, new)
        for one, new in zip(molecules, found, strict=True)
        if np.isfinite(deviation(one, new))
    ]
    made = energies([one.completed(new) for one, new in pairs], METHOD)  # type: ignore[arg-type]
    real = energies([one.completed(np.concatenate(one.hydrogens)) for one, _ in pairs], METHOD)
    values = [
        (a - b) / KCAL
        for a, b in zip(made, real, strict=True)
        if isinstance(a, float) and isinstance(b, float)
    ]
    if not values:
        return {"number": 0}
    return {
        "number": len(values),
        "median": statistics.median(values),
        "mean": statistics.fmean(values),
        "below_1_kcal": statistics.fmean(value < 1 for value in values),
    }


def measured(molecules: Sequence[Molecule], way: Way, num_energies: int) -> dict[str, Any]:
    """Figures of one way to put hydrogens there."""
    given = [one.mol if way.bonds else one.bare for one in molecules]
    good = [k for k, one in enumerate(given) if way.takes(one)]
    found: list[np.ndarray | None] = [None] * len(given)
    way.add([given[k] for k in good[:1]])  # what is loaded and compiled once
    start = time.perf_counter()
    made = way.add([given[k] for k in good])
    seconds = time.perf_counter() - start
    for k, new in zip(good, made, strict=True):
        found[k] = new
    each = list(zip(molecules, found, strict=True))
    row: dict[str, Any] = {"rmsd": summary([deviation(one, new) for one, new in each])}
    row["rotamers_forgiven"] = summary([deviation(one, new, turn=True) for one, new in each])
    row |= {"refused": len(given) - len(good), "molecules_per_second": len(good) / seconds}
    if num_energies and importlib.util.find_spec("tblite"):
        row["energy"] = above(molecules[:num_energies], found[:num_energies])
    return row


def ways(model: SchNetGen, seed: int) -> dict[str, Way]:
    """All of them by their names; those that are not installed are named."""
    found = {
        "ours, bond orders known": ours(model, seed, bonds=True),
        "RDKit, bond orders known": Way(True, by_rdkit),
        "ours, bonds by lengths": ours(model, seed, bonds=False),
    }
    if importlib.util.find_spec("openbabel"):
        found["Open Babel, bond orders known"] = Way(True, by_openbabel)
        found["Open Babel, bonds by lengths"] = Way(False, by_openbabel)
    else:
        print("not installed, and left out: openbabel", flush=True)
    return found


def main() -> None:
    parser = model_parser(__doc__)
    parser.set_defaults(num=1_000)
    parser.add_argument("--test", required=True, help="held-out molecules")
    parser.add_argument("--energies", type=int, default=100, help="molecules of which energies")
    parser.add_argument("--seed", type=int, default=0)
    options = read_options(parser)
    torch.set_num_threads(1)

    model = load_model(options)
    data = drawn(load(options.test), options.num, options.seed)
    molecules = [one for one in map(Molecule.of, map(to_ase, data)) if one is not None]
    record: dict[str, Any] = {"checkpoint": options.name, "training": model.provenance}
    record |= {"molecules": len(molecules), "energies": options.energies, "method": METHOD}
    record |= {"note": options.note, "rows": {}}
    for name, way in ways(model, options.seed).items():
        asked: dict[str, Any] = {"data": digest(data), "energies": options.energies}
        if name.startswith("ours"):
            asked |= {"weights": weights_of(model), "seed": options.seed}
        row = kept_row(
            options.out / "hydrogens.json",
            name,
            asked,
            lambda w=way: measured(molecules, w, options.energies),
        )
        record["rows"][name] = row
        print(name, row["rmsd"], f"{row['molecules_per_second']:.0f} a second", flush=True)
        save(f"hydrogens_{options.name}", record, options.seed, options.results)


if __name__ == "__main__":
    main()
