"""Fragments: atoms that a molecule is to hold, with their bond orders, and where it may grow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property

import ase
import numpy as np
import torch
from rdkit import Chem, rdBase
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from schnetgen_pyg.chem.bonds import (
    adjacency,
    bond_limits,
    bond_pairs,
    connectivity,
    set_bond_orders,
)
from schnetgen_pyg.chem.elements import COVALENT_RADII
from schnetgen_pyg.chem.lewis import STATES, lewis_structure
from schnetgen_pyg.chem.molecules import to_rdkit
from schnetgen_pyg.chem.pairing import pair
from schnetgen_pyg.chem.perception import RING_SIZES
from schnetgen_pyg.errors import InputError

#: Bonds shorter than this times the sum of the covalent radii are more than single ones: C-C is at
#: 1.01, C-C between two double bonds at 0.96, benzene at 0.92, C=C at 0.88.
MULTIPLE = 0.94
#: Two bonds with a wider angle (degrees) leave an atom two double bonds, or a triple one.
LINEAR = 150.0
#: What an atom is told by where its number of new neighbours is left to the model.
OPEN = -1


@dataclass(frozen=True, eq=False)
class Fragment:
    """Atoms to build upon. What is not open is closed: it gets no new bonds.

    Attributes:
        numbers: atomic numbers [num_atoms].
        positions: in Å [num_atoms, 3]; they come back to the last bit.
        bonds: bonded pairs of its atoms [num_bonds, 2].
        orders: bond orders, those of aromatic rings as double and single bonds [num_bonds].
        formal_charge: in e [num_atoms].
        lacking: bond orders that atoms are still to get [num_atoms], from hydrogens or others.
        joined: heavy atoms that are to be bonded to each [num_atoms], or `OPEN` where they may be
            anything up to what it lacks.
        hydrogens: hydrogens that each is still to get [num_atoms], or `OPEN`.
    """

    numbers: np.ndarray
    positions: np.ndarray
    bonds: np.ndarray
    orders: np.ndarray
    formal_charge: np.ndarray
    lacking: np.ndarray
    joined: np.ndarray
    hydrogens: np.ndarray

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def charge(self) -> int:
        """Sum of the formal charges in e."""
        return int(self.formal_charge.sum())

    @property
    def open(self) -> np.ndarray:
        """Atoms whose new neighbours are left to the model [num_atoms]."""
        found: np.ndarray = self.joined == OPEN
        return found

    @cached_property
    def valence(self) -> np.ndarray:
        """Sum of the bond orders of each atom in the finished molecule [num_atoms]."""
        return self._over_bonds(self.orders) + self.lacking

    @cached_property
    def raised(self) -> np.ndarray:
        """Of these, what its own bonds have beside their first orders [num_atoms]."""
        return self._over_bonds(self.orders - 1)

    def neighbors(self, hydrogen: bool) -> np.ndarray:
        """Neighbours of each atom in the fragment that are hydrogens, or heavier [num_atoms]."""
        kind = (self.numbers == 1) == hydrogen
        found = np.zeros(len(self), dtype=int)
        for one, other in (self.bonds.T, self.bonds.T[::-1]):
            np.add.at(found, one, kind[other])
        return found

    def _over_bonds(self, values: np.ndarray) -> np.ndarray:
        total = np.zeros(len(self), dtype=int)
        np.add.at(total, self.bonds.ravel(), np.repeat(values, 2))
        return total

    @cached_property
    def parts(self) -> np.ndarray:
        """Number of the connected part that each atom is in [num_atoms]."""
        ones = np.ones(len(self.bonds))
        graph = coo_array((ones, tuple(self.bonds.T)), shape=(len(self), len(self)))
        found: np.ndarray = connected_components(graph, directed=False)[1]
        return found

    def saturated(self) -> Fragment:
        """The same with hydrogens for all that it lacks."""
        return replace(self, joined=np.zeros_like(self.joined), hydrogens=self.lacking)

    def without_hydrogens(self) -> Fragment:
        """Its heavier atoms, which are to get as many hydrogens as they had, anywhere."""
        there = self.neighbors(hydrogen=True)
        hydrogens = np.where(self.open, OPEN, self.hydrogens + there)
        kept = np.flatnonzero(self.numbers != 1)
        return replace(self, lacking=self.lacking + there, hydrogens=hydrogens).take(kept)

    def take(self, kept: np.ndarray) -> Fragment:
        """Some of its atoms, by their numbers; nothing is bonded to the others."""
        place = np.full(len(self), -1)
        place[kept] = np.arange(len(kept))
        inside = (place[self.bonds] >= 0).all(1)
        names = {field.name for field in fields(self)} - {"bonds", "orders"}
        of_atoms = {name: getattr(self, name)[kept] for name in names}
        return Fragment(bonds=place[self.bonds[inside]], orders=self.orders[inside], **of_atoms)

    @classmethod
    def of_mol(cls, mol: Chem.Mol, attach: Sequence[int] = (), where: str = "fragment") -> Fragment:
        """Of an RDKit molecule with a conformer.

        Dummy atoms (``*``) stand for atoms that are to come, with the order of their bond. An index
        in ``attach`` is that of a hydrogen, which is replaced, or of an atom that lacks a bond,
        which gets one heavy neighbour; several times, several. Where points are named by either,
        what else lacks bonds gets hydrogens. Where none is, every neutral atom that lacks bonds is
        open.

        Raises:
            InputError: for an index that names no place to grow, or bonds that are none at these
                positions.
        """
        mol = Chem.Mol(mol)
        with rdBase.BlockLogs():
            Chem.Kekulize(mol, clearAromaticFlags=True)
        atoms = list(mol.GetAtoms())
        missing = np.array([a.GetTotalNumHs() + a.GetNumRadicalElectrons() for a in atoms])
        # Orders of the bonds to atoms that stand for others, how many of these there are, and how
        # many of the bonds that are missing are named.
        lost, replaced, named = np.zeros((3, len(atoms)), dtype=int)
        gone = {atom.GetIdx() for atom in atoms if atom.GetAtomicNum() == 0}
        for index in gone:
            _take(mol, index, lost, replaced, f"{where}: dummy atom {index}")
        for index in attach:
            if not 0 <= index < len(atoms) or index in gone:
                raise InputError(
                    f"{where}: attachment point {index} is no atom of its {len(atoms)}, which are "
                    "numbered from 0, or it is named twice; name another one"
                )
            if atoms[index].GetAtomicNum() == 1:
                gone.add(index)
                _take(mol, index, lost, replaced, f"{where}: hydrogen {index}")
            elif missing[index] > named[index]:
                named[index] += 1
            else:
                raise InputError(_saturated(atoms[index], where))
        joined, hydrogens = replaced + named, missing - named
        if not gone and not attach:
            charged = np.array([atom.GetFormalCharge() != 0 for atom in atoms])
            joined[(missing > 0) & ~charged] = hydrogens[(missing > 0) & ~charged] = OPEN
        kept = np.array([k for k in range(len(atoms)) if k not in gone], dtype=int)
        return _checked(mol, kept, missing + lost, joined, hydrogens, where)

    @classmethod
    def of_atoms(
        cls, atoms: ase.Atoms, attach: Sequence[int] = (), where: str = "fragment"
    ) -> Fragment:
        """Of a structure without bond orders: double and triple bonds are where they are short, and
        what is left of an element's usual valence is what an atom lacks. Else as `of_mol`.

        Raises:
            InputError: as `of_mol`, or if no bond orders are found.
        """
        mol = Chem.RWMol(connectivity(atoms))
        bonds = bond_pairs(mol)
        lengths = np.linalg.norm(
            atoms.positions[bonds[:, 0]] - atoms.positions[bonds[:, 1]], axis=1
        )
        lacking = _lacking(atoms, bonds, lengths)
        caps = np.repeat(np.arange(len(atoms)), lacking)
        new = len(atoms) + np.arange(len(caps))
        Chem.GetSymmSSSR(mol)
        charge = int(atoms.info.get("charge", 0))
        rings = [np.array(r) for r in mol.GetRingInfo().BondRings() if len(r) in RING_SIZES]
        found = lewis_structure(
            np.concatenate([atoms.numbers, np.ones(len(caps), dtype=int)]),
            np.concatenate([bonds, np.stack([caps, new], 1)]),
            np.concatenate([lengths, np.full(len(caps), 1.0)]),
            rings,
            charge,
        )
        if found is None:
            raise InputError(
                f"{where}: no bond orders of {atoms.get_chemical_formula()} (charge {charge:+d}) "
                "close all shells but those that lack a bond; give it as SDF, as SMILES or as an "
                "RDKit molecule, or correct its charge"
            )
        set_bond_orders(mol, found.orders[: len(bonds)], found.charges[: len(atoms)])
        for atom, number in zip(mol.GetAtoms(), lacking.tolist(), strict=True):
            atom.SetNumRadicalElectrons(number)
        return cls.of_mol(mol, attach, where)

    @classmethod
    def without(cls, atoms: ase.Atoms, removed: Sequence[int], where: str = "molecule") -> Fragment:
        """What is left of a molecule without some of its atoms and their hydrogens; atoms that were
        bonded to them are open.

        Args:
            removed: numbers of atoms, from 0.

        Raises:
            InputError: if it is no valid molecule, or nothing is removed or left.
        """
        mol = Chem.RWMol(to_rdkit(atoms, where))
        Chem.Kekulize(mol, clearAromaticFlags=True)
        if beyond := [k for k in removed if not 0 <= k < mol.GetNumAtoms()]:
            raise InputError(
                f"{where}: has no atom {beyond[0]}; its {mol.GetNumAtoms()} are numbered from 0"
            )
        gone = {*removed}
        for index in removed:
            own = mol.GetAtomWithIdx(index).GetNeighbors()
            gone |= {atom.GetIdx() for atom in own if atom.GetAtomicNum() == 1}
        if not gone or len(gone) == mol.GetNumAtoms():
            raise InputError(
                f"{where}: {len(gone)} of its {mol.GetNumAtoms()} atoms are to be removed; name "
                "some of them"
            )
        for atom in mol.GetAtoms():
            atom.SetNoImplicit(True)
        for bond in mol.GetBonds():
            ends = bond.GetBeginAtom(), bond.GetEndAtom()
            for one, other in (ends, ends[::-1]):
                if other.GetIdx() in gone and one.GetIdx() not in gone:
                    lost = round(bond.GetBondTypeAsDouble())
                    one.SetNumRadicalElectrons(one.GetNumRadicalElectrons() + lost)
        mol.BeginBatchEdit()
        for index in gone:
            mol.RemoveAtom(index)
        mol.CommitBatchEdit()
        return cls.of_mol(mol.GetMol(), where=where)


def _take(mol: Chem.Mol, index: int, lost: np.ndarray, replaced: np.ndarray, what: str) -> None:
    """Count an atom that stands for one to come: the order of its bond, and a neighbour."""
    bonds = mol.GetAtomWithIdx(index).GetBonds()
    if len(bonds) != 1:
        raise InputError(f"{what} has {len(bonds)} bonds; an attachment point has one")
    other = bonds[0].GetOtherAtomIdx(index)
    lost[other] += round(bonds[0].GetBondTypeAsDouble())
    replaced[other] += 1


def _saturated(atom: Chem.Atom, where: str) -> str:
    own = [other.GetIdx() for other in atom.GetNeighbors() if other.GetAtomicNum() == 1]
    named = "no hydrogen to replace" if not own else "hydrogens " + ", ".join(map(str, own))
    cure = "name another atom" if not own else "name one of these, which is then replaced"
    return (
        f"{where}: attachment point {atom.GetIdx()} ({atom.GetSymbol()}) lacks no bond, and has "
        f"{named}; {cure}"
    )


def _checked(
    mol: Chem.Mol,
    kept: np.ndarray,
    lacking: np.ndarray,
    joined: np.ndarray,
    hydrogens: np.ndarray,
    where: str,
) -> Fragment:
    """The fragment of the atoms that are kept, if its bonds are as its positions say."""
    if not len(kept):
        raise InputError(f"{where}: has no atoms; give some to build upon")
    place = np.full(mol.GetNumAtoms(), -1)
    place[kept] = np.arange(len(kept))
    bonds = place[bond_pairs(mol)]
    orders = np.array([round(bond.GetBondTypeAsDouble()) for bond in mol.GetBonds()], dtype=int)
    inside = (bonds >= 0).all(1)
    bonds, orders = bonds[inside], orders[inside]
    numbers = np.array([mol.GetAtomWithIdx(int(k)).GetAtomicNum() for k in kept])
    positions = np.array(mol.GetConformer().GetPositions())[kept]
    _require_bonds(numbers, positions, bonds, kept, where)
    formal = np.array([mol.GetAtomWithIdx(int(k)).GetFormalCharge() for k in kept])
    of_atoms = (values[kept] for values in (lacking, joined, hydrogens))
    return Fragment(numbers, positions, bonds, orders, formal, *of_atoms)


def _require_bonds(
    numbers: np.ndarray, positions: np.ndarray, bonds: np.ndarray, kept: np.ndarray, where: str
) -> None:
    """Refuse bonds that are none by their lengths, and atoms that would count as bonded."""
    z, pos = torch.as_tensor(numbers), torch.as_tensor(positions)
    near = adjacency(z[None], pos[None])[0].numpy()
    there = np.zeros_like(near)
    there[tuple(bonds.T)] = there[tuple(bonds.T[::-1])] = True
    wrong = np.argwhere(np.triu(near != there))
    if not len(wrong):
        return
    one, other = wrong[0].tolist()
    distance = float(np.linalg.norm(positions[one] - positions[other]))
    longest = float(bond_limits(z[one], z[other]))
    symbols = ase.Atoms(numbers).symbols
    said = "bonded" if there[one, other] else "not bonded"
    cure = "bring them together" if there[one, other] else "move its parts apart"
    raise InputError(
        f"{where}: atoms {kept[one]} ({symbols[one]}) and {kept[other]} ({symbols[other]}) are "
        f"{distance:.2f} Å apart and {said}; what is closer than {longest:.2f} Å counts as bonded: "
        f"{cure}"
    )


def _lacking(atoms: ase.Atoms, bonds: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Bonds that atoms lack beside the double and triple ones that are short enough [num_atoms]."""
    degree = np.bincount(bonds.ravel(), minlength=len(atoms))
    usual = np.array([_usual_valence(number) for number in atoms.numbers.tolist()])
    left = np.maximum(usual - degree, 0)
    relative = lengths / np.asarray(COVALENT_RADII)[atoms.numbers[bonds]].sum(1)
    able = np.minimum(left, np.where(_linear(atoms, bonds, degree), 2, 1))
    raised = pair(able, bonds, MULTIPLE - relative, perfect=False)
    assert raised is not None
    raised = np.bincount(bonds.ravel(), np.repeat(raised, 2), minlength=len(atoms)).astype(int)
    lacking = left - raised
    # The end of a short bond to an atom without open valences has a charge: nitro groups, N-oxides.
    ends = (degree[bonds] == 1) & (left[bonds[:, ::-1]] == 0) & (relative < MULTIPLE)[:, None]
    lacking[bonds[ends]] = 0
    return lacking


def _usual_valence(number: int) -> int:
    return STATES[number][0].valence if number in STATES else 0


def _linear(atoms: ase.Atoms, bonds: np.ndarray, degree: np.ndarray) -> np.ndarray:
    """Atoms whose shape allows two orders beside the first: at an end, or between two bonds in
    line [num_atoms]."""
    found: np.ndarray = degree == 1
    for atom in np.flatnonzero(degree == 2).tolist():
        here = bonds[(bonds == atom).any(1)]
        one, other = here[here != atom].tolist()
        found[atom] = atoms.get_angle(one, atom, other) > LINEAR
    return found
