"""The 2-D graph of a molecule: atoms, bonds and stereochemistry as whole numbers.

Nothing depends on the order in which the atoms come. How the neighbours of a stereocentre are
arranged is said relative to their canonical ranks (as CIP labels are to priorities), and every
bond says which place in that order its neighbour has.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import NamedTuple

import numpy as np
from rdkit import Chem, rdBase
from scipy.sparse import coo_array
from scipy.sparse.csgraph import shortest_path

from schnetgen_pyg.chem.bonds import COVALENT_FACTOR
from schnetgen_pyg.chem.conformers import with_conformers
from schnetgen_pyg.chem.elements import COVALENT_RADII, MAX_ATOMIC_NUMBER

#: What is said of an atom, and how many values each can have. ``ring`` is the size of its smallest
#: ring (0 for none), ``parity`` 1 or 2 of a stereocentre.
ATOM_FIELDS = {
    "element": MAX_ATOMIC_NUMBER + 1,
    "charge": 7,
    "hydrogens": 5,
    "ring": 10,
    "parity": 3,
    "aromatic": 2,
    "hybridisation": 5,
}
#: The same of a bond, from one atom to the other. ``order`` is 4 for aromatic ones, ``stereo`` 1 or
#: 2 of a double bond whose first substituents are cis or trans; ``place`` is that of the first atom
#: among the neighbours of the second, from 1, where this has a stereochemistry.
BOND_FIELDS = {"order": 5, "ring": 2, "conjugated": 2, "stereo": 3, "place": 5}
#: Place of the parity among `ATOM_FIELDS`.
PARITY = list(ATOM_FIELDS).index("parity")

_ORDERS = {
    Chem.BondType.SINGLE: 1,
    Chem.BondType.DOUBLE: 2,
    Chem.BondType.TRIPLE: 3,
    Chem.BondType.AROMATIC: 4,
}
_HYBRIDISATIONS = {
    Chem.HybridizationType.SP: 1,
    Chem.HybridizationType.SP2: 2,
    Chem.HybridizationType.SP3: 3,
}
_CIS = (Chem.BondStereo.STEREOZ, Chem.BondStereo.STEREOCIS)
_TRANS = (Chem.BondStereo.STEREOE, Chem.BondStereo.STEREOTRANS)
_TETRAHEDRAL = {
    Chem.ChiralType.CHI_TETRAHEDRAL_CCW: 1,
    Chem.ChiralType.CHI_TETRAHEDRAL_CW: -1,
}


class Handed(NamedTuple):
    """Three neighbours of a centre that are seen counter-clockwise from the first, where the sign
    is 1: det(a − centre, b − centre, c − centre) has it."""

    centre: int
    a: int
    b: int
    c: int
    sign: int


class Sided(NamedTuple):
    """Substituents ``a`` and ``b`` of the double bond between ``i`` and ``j``: on the same side
    where the sign is 1, else on opposite ones."""

    a: int
    i: int
    j: int
    b: int
    sign: int


@dataclass(frozen=True, eq=False)
class MolecularGraph:
    """A molecule with explicit hydrogens.

    Attributes:
        mol: as RDKit has it; its stereochemistry is what is asked for.
        atoms: what is said of every atom, `ATOM_FIELDS` [num_atoms, fields].
        edges: bonds, each in both directions [2, 2 · num_bonds].
        bonds: what is said of these, `BOND_FIELDS` [2 · num_bonds, fields].
        formal_charge: in e [num_atoms].
        valence: sum of bond orders [num_atoms].
    """

    mol: Chem.Mol
    atoms: np.ndarray
    edges: np.ndarray
    bonds: np.ndarray
    formal_charge: np.ndarray
    valence: np.ndarray

    def __len__(self) -> int:
        return len(self.atoms)

    @property
    def numbers(self) -> np.ndarray:
        """Atomic numbers [num_atoms]."""
        found: np.ndarray = self.atoms[:, 0]
        return found

    @property
    def charge(self) -> int:
        """Of the molecule, in e."""
        return int(self.formal_charge.sum())

    @cached_property
    def adjacency(self) -> np.ndarray:
        """Bonded pairs [num_atoms, num_atoms]."""
        found = np.zeros((len(self), len(self)), dtype=bool)
        found[tuple(self.edges)] = True
        return found

    @cached_property
    def reach(self) -> np.ndarray:
        """How far apart two atoms are at most, in Å: as the bonds between them reach
        [num_atoms, num_atoms]."""
        radii = np.asarray(COVALENT_RADII)[self.numbers]
        lengths = COVALENT_FACTOR * radii[self.edges].sum(0)
        graph = coo_array((lengths, tuple(self.edges)), shape=(len(self), len(self))).tocsr()
        found: np.ndarray = shortest_path(graph, directed=False)
        return found

    @cached_property
    def handed(self) -> list[Handed]:
        """All triples of neighbours of the stereocentres that are asked for."""
        found = []
        for atom in self.mol.GetAtoms():
            sign = _TETRAHEDRAL.get(atom.GetChiralTag(), 0)
            own = _neighbors(atom)
            if not sign or len(own) not in (3, 4):
                continue
            for left_out, three in enumerate(reversed([*combinations(own, 3)])):
                # Of four, (0 1 2) and (0 2 3) turn one way, (0 1 3) and (1 2 3) the other.
                turned = sign if len(own) == 3 or left_out % 2 else -sign
                found.append(Handed(atom.GetIdx(), *three, turned))
        return found

    @cached_property
    def sided(self) -> list[Sided]:
        """All pairs of substituents of the double bonds whose stereochemistry is asked for."""
        found = []
        for bond in self.mol.GetBonds():
            sign = _side(bond)
            if not sign:
                continue
            i, j = bond.GetBeginAtom(), bond.GetEndAtom()
            first, second = bond.GetStereoAtoms()
            for a in _others(i, j):
                for b in _others(j, i):
                    turned = sign * (1 if a == first else -1) * (1 if b == second else -1)
                    found.append(Sided(a, i.GetIdx(), j.GetIdx(), b, turned))
        return found

    def as_asked(self, pos: np.ndarray) -> bool:
        """Whether positions [num_atoms, 3] have the stereochemistry that is asked for, as RDKit
        finds it in them."""
        if not self.handed and not self.sided:
            return True
        built = with_conformers(self.mol, [pos])
        Chem.AssignStereochemistryFrom3D(built)
        atoms = zip(self.mol.GetAtoms(), built.GetAtoms(), strict=True)
        tags = [(one.GetChiralTag(), other.GetChiralTag()) for one, other in atoms]
        bonds = zip(self.mol.GetBonds(), built.GetBonds(), strict=True)
        sides = [(bond.GetStereo(), other.GetStereo()) for bond, other in bonds if _side(bond)]
        handed = [(asked, found) for asked, found in tags if asked in _TETRAHEDRAL]
        return all(asked == found for asked, found in handed + sides)

    @classmethod
    def of_mol(cls, mol: Chem.Mol) -> MolecularGraph:
        """Of a sanitised molecule with explicit hydrogens; stereochemistry is what it says."""
        mol = Chem.Mol(mol)
        Chem.AssignStereochemistry(mol, cleanIt=True, force=True)
        kekulized = Chem.Mol(mol)
        with rdBase.BlockLogs():
            Chem.Kekulize(kekulized, clearAromaticFlags=True)
        orders = [round(sum(_orders(atom))) for atom in kekulized.GetAtoms()]
        rank = list(Chem.CanonicalRankAtoms(mol, breakTies=False, includeChirality=False))
        places: dict[tuple[int, int], int] = {}
        atoms = [_atom_row(atom, rank, places) for atom in mol.GetAtoms()]
        pairs = [*_bond_rows(mol, rank, places)]
        for source, target, row in pairs:
            row[-1] = places.get((source, target), 0)
        return cls(
            mol,
            np.array(atoms, dtype=np.int64),
            np.array([one[:2] for one in pairs], dtype=np.int64).reshape(-1, 2).T,
            np.array([one[2] for one in pairs], dtype=np.int64).reshape(-1, len(BOND_FIELDS)),
            np.array([atom.GetFormalCharge() for atom in mol.GetAtoms()], dtype=np.int64),
            np.array(orders, dtype=np.int64),
        )


def _orders(atom: Chem.Atom) -> list[float]:
    return [bond.GetBondTypeAsDouble() for bond in atom.GetBonds()]


def _neighbors(atom: Chem.Atom) -> list[int]:
    """In the order that RDKit's chiral tags mean."""
    return [bond.GetOtherAtomIdx(atom.GetIdx()) for bond in atom.GetBonds()]


def _others(atom: Chem.Atom, partner: Chem.Atom) -> list[int]:
    return [index for index in _neighbors(atom) if index != partner.GetIdx()]


def _side(bond: Chem.Bond) -> int:
    """1 of a double bond whose reference atoms are to be cis, -1 trans, 0 where nothing is
    asked."""
    if len(bond.GetStereoAtoms()) != 2:
        return 0
    return (bond.GetStereo() in _CIS) - (bond.GetStereo() in _TRANS)


def _odd(values: list[int]) -> bool:
    """Whether it takes an odd number of swaps to sort them."""
    swaps = sum(one > other for one, other in combinations(values, 2))
    return bool(swaps % 2)


def _atom_row(atom: Chem.Atom, rank: list[int], places: dict[tuple[int, int], int]) -> list[int]:
    """`ATOM_FIELDS` of an atom; the places of a stereocentre's neighbours come to ``places``."""
    own, index = _neighbors(atom), atom.GetIdx()
    ranks, sign = [rank[k] for k in own], _TETRAHEDRAL.get(atom.GetChiralTag(), 0)
    parity = 0
    if sign and len({*ranks}) == len(ranks) in (3, 4):
        parity = 1 if (sign > 0) != _odd(ranks) else 2
        for place, k in enumerate(sorted(own, key=rank.__getitem__), 1):
            places[k, index] = place
    info = atom.GetOwningMol().GetRingInfo()
    ring = info.MinAtomRingSize(index)
    hydrogens = sum(other.GetAtomicNum() == 1 for other in atom.GetNeighbors())
    return [
        atom.GetAtomicNum(),
        min(max(atom.GetFormalCharge(), -3), 3) + 3,
        min(hydrogens, ATOM_FIELDS["hydrogens"] - 1),
        min(ring, ATOM_FIELDS["ring"] - 1),
        parity,
        int(atom.GetIsAromatic()),
        _HYBRIDISATIONS.get(atom.GetHybridization(), 0 if atom.GetAtomicNum() == 1 else 4),
    ]


def _bond_rows(
    mol: Chem.Mol, rank: list[int], places: dict[tuple[int, int], int]
) -> Iterator[tuple[int, int, list[int]]]:
    """Both directions of every bond: its atoms, and `BOND_FIELDS` without the place."""
    for bond in mol.GetBonds():
        i, j = bond.GetBeginAtom(), bond.GetEndAtom()
        stereo, sign = 0, _side(bond)
        if sign:
            for atom, partner, reference in zip((i, j), (j, i), bond.GetStereoAtoms(), strict=True):
                several = sorted(_others(atom, partner), key=rank.__getitem__)
                sign *= 1 if several[0] == reference else -1
                for place, k in enumerate(several, 1):
                    places.setdefault((k, atom.GetIdx()), place)
            stereo = 1 if sign > 0 else 2
        row = [_ORDERS.get(bond.GetBondType(), 0), int(bond.IsInRing())]
        row += [int(bond.GetIsConjugated()), stereo, 0]
        for one, other in ((i, j), (j, i)):
            yield one.GetIdx(), other.GetIdx(), [*row]
