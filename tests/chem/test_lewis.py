"""Bond orders and formal charges from bonds alone."""

from itertools import product

import ase
import numpy as np
import pytest
import torch
from ase.build import graphene
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem
from rdkit.Chem import AllChem

from schnetgen_pyg.chem import lewis
from schnetgen_pyg.chem.identity import smiles
from schnetgen_pyg.chem.lewis import lewis_structure
from schnetgen_pyg.chem.pairing import closes, pair
from schnetgen_pyg.chem.perception import perceive
from tests.molecules import CHARGED_GROUPS, HEAVIER, IONS, UNSATURATED, embedded


@pytest.mark.parametrize("text", [*CHARGED_GROUPS, *HEAVIER, *IONS, *UNSATURATED])
def test_its_own_smiles_comes_back(text):
    found = perceive(embedded(text))
    assert found.valid, found.failure
    assert smiles(found.mol) == Chem.CanonSmiles(text)


@pytest.mark.parametrize("text", ["C[CH2]", "[CH2]", "C[N]C", "[O]", "C[O]"])
def test_open_shells_are_not_valid(text):
    mol = Chem.MolFromSmiles(text)
    mol = Chem.AddHs(mol)
    AllChem.EmbedMolecule(mol, randomSeed=1)
    numbers = [atom.GetAtomicNum() for atom in mol.GetAtoms()]
    assert not perceive(ase.Atoms(numbers, mol.GetConformer().GetPositions())).valid


def test_neutral_hydrocarbons_and_alcohols_need_no_charges():
    """A carbanion beside a carbocation, or beside an oxonium ion, is no way out."""
    methane = embedded("C")
    broken = methane[:4]  # CH3
    water = embedded("O")
    water.translate([0.0, 0.0, 5.0])
    hydronium = water + ase.Atoms("H", [[0.0, 0.0, 4.2]])
    assert not perceive(broken + hydronium).valid


def all_ways(left, bonds):
    """Every way to raise the bonds, by trying all of them."""
    for orders in product(range(3), repeat=len(bonds)):
        total = np.zeros(len(left), dtype=int)
        for (first, second), order in zip(bonds, orders, strict=True):
            total[first] += order
            total[second] += order
        if (total == left).all():
            yield orders


@settings(deadline=None, max_examples=200)
@given(st.integers(2, 6), st.integers(0, 2**15 - 1), st.lists(st.integers(0, 4), min_size=6))
def test_pairing_is_what_trying_all_ways_finds(atoms, edges, left):
    every = [(a, b) for b in range(atoms) for a in range(b)]
    bonds = [ends for k, ends in enumerate(every) if edges >> k & 1][:8]
    left = np.array(left[:atoms])
    ways = set(all_ways(left, bonds))
    ends = np.array(bonds, dtype=int).reshape(-1, 2)
    found = pair(left, ends)
    assert (tuple(found) in ways) if ways else found is None
    adjacency = torch.zeros(1, atoms, atoms, dtype=torch.bool)
    adjacency[0, ends[:, 0], ends[:, 1]] = adjacency[0, ends[:, 1], ends[:, 0]] = True
    assert closes(torch.tensor(left)[None], adjacency).item() == bool(ways)


def test_large_molecules_are_decided():
    """A graphene flake of 54 atoms has a Kekulé structure, without two atoms of one kind none."""

    atoms = graphene(size=(5, 5, 1))
    near = atoms.get_all_distances() < 1.6
    np.fill_diagonal(near, False)
    left = torch.ones(1, len(atoms), dtype=torch.long)
    assert closes(left, torch.from_numpy(near)[None]).item()
    left[0, [0, 2]] = 0  # both of one sublattice
    assert not closes(left, torch.from_numpy(near)[None]).item()


def test_of_several_ways_the_preferred_one():
    ring = np.array([[k, (k + 1) % 8] for k in range(8)])
    short = np.array([1.0, 0.0] * 4)
    assert (pair(np.ones(8, dtype=int), ring, short) == short).all()
    assert (pair(np.ones(8, dtype=int), ring, 1.0 - short) == 1.0 - short).all()


def test_charges_sum_to_that_of_the_molecule():
    numbers = np.array([7, 1, 1, 1, 1])
    bonds = np.array([[0, k] for k in range(1, 5)])
    found = lewis_structure(numbers, bonds, np.full(4, 1.02), charge=1)
    assert found is not None
    assert found.charges.tolist() == [1, 0, 0, 0, 0]
    assert lewis_structure(numbers, bonds, np.full(4, 1.02), charge=0) is None


def test_valences_that_can_be_paired():
    """Butadiene's scaffold C–C–C–C, with 2, 1, 1, 2 hydrogens and with others; and without one of
    its bonds."""
    chain = torch.zeros(4, 4, dtype=torch.bool)
    chain[[0, 1, 2], [1, 2, 3]] = True
    chain |= chain.T.clone()
    broken = chain.clone()
    broken[[1, 2], [2, 1]] = False
    left = {
        (1, 1, 1, 1): (True, True),  # butadiene
        (2, 2, 0, 0): (True, True),  # 1-butyne
        (1, 2, 1, 0): (True, False),  # 1,2-butadiene
        (0, 0, 0, 0): (True, True),
        (1, 0, 0, 1): (False, False),  # a diradical
        (1, 1, 1, 0): (False, False),
        (3, 3, 0, 0): (False, False),  # a bond of order four
        (-1, 1, 0, 0): (False, False),
        (-1, 1, 1, 1): (False, False),
    }
    molecules = torch.tensor(list(left)).repeat_interleave(2, dim=0)
    bonds = torch.stack([chain, broken]).repeat(len(left), 1, 1)
    expected = [able for both in left.values() for able in both]
    assert closes(molecules, bonds).tolist() == expected


def test_a_lone_atom_has_nothing_to_pair():
    left = torch.tensor([[0], [2]])
    assert closes(left, torch.zeros(2, 1, 1, dtype=torch.bool)).tolist() == [True, False]


def test_the_search_ends_at_a_number_of_nodes(monkeypatch):
    """Not at a number of seconds, so that slow machines answer as fast ones do."""
    atoms = embedded("O=[N+]([O-])c1ccc(S(N)(=O)=O)cc1")
    assert perceive(atoms).valid
    monkeypatch.setattr(lewis, "NODE_LIMIT", 0)
    assert perceive(atoms).failure == "bond orders"
    assert perceive(embedded("c1ccccc1")).valid  # no search


def test_numbering_makes_no_difference():
    """Of forms that cost the same, rings and bond lengths decide, not the order of atoms."""
    generator = np.random.default_rng(0)
    for text in ("O=[N+]([O-])c1ccc2ccccc2c1", "Nc1c2ccccc2[nH+]c2ccccc12", "CC(=O)[O-]"):
        atoms = embedded(text)
        for _ in range(5):
            shuffled = atoms[generator.permutation(len(atoms))]
            shuffled.info = atoms.info
            assert smiles(perceive(shuffled).mol) == Chem.CanonSmiles(text)


def test_a_ring_stays_aromatic_beside_a_short_bond():
    """The amino group of an aminopyridinium ion, or of one of its benzologues, is drawn together
    with the ring by conjugation: its bond is the shortest, and yet the charge is in the ring."""
    for text in ("Nc1cc[nH+]cc1", "Nc1nc[nH+]c2ccccc12", "Nc1cccc[nH+]1"):
        atoms = embedded(text)
        amino = next(k for k, n in enumerate(atoms.numbers) if n == 7)  # the first of the SMILES
        distance = atoms.get_all_distances()[amino]
        carbon = int(np.where(atoms.numbers == 6, distance, np.inf).argmin())
        group = [amino, *np.flatnonzero((distance < 1.2) & (atoms.numbers == 1))]
        inward = atoms.positions[carbon] - atoms.positions[amino]
        atoms.positions[group] += inward * (1 - 1.30 / distance[carbon])
        assert smiles(perceive(atoms).mol) == Chem.CanonSmiles(text)
