"""Molecules grown on fragments: what was given stays, what is closed stays closed."""

from collections import Counter

import ase
import ase.build
import numpy as np
import pytest
from rdkit import Chem

from schnetgen_pyg import InputError, SchNetGen, generate, to_rdkit
from schnetgen_pyg.chem.molecules import known_or_perceived
from schnetgen_pyg.chem.valence_states import usual_states
from schnetgen_pyg.data.conversion import to_ase
from schnetgen_pyg.data.fragments import fragment
from schnetgen_pyg.generator.sampling.variation import random_parts, vary
from tests.conftest import deciding, small_model

DECIDING = deciding("focus", "next_type", "hydrogens", "valence_state")


@pytest.fixture(scope="module")
def bundled():
    return SchNetGen.from_pretrained("c7h10o2")


def closed_shell(molecules):
    return [mol for atoms in molecules if (mol := known_or_perceived(atoms).mol) is not None]


@pytest.mark.parametrize(
    ("smiles", "pattern", "share"),
    [
        ("*C(=O)OC", "[#6]C(=O)O[CH3]", 0.8),
        ("*C(=O)O*", "[#6,#8]C(=O)O[#6,#8]", 0.8),
        ("C1CC1", "C1CC1", 0.8),
        ("*C#C", "[#6,#8]C#[CH]", 0.8),
        ("*C(*)(*)*", "C([#6,#8])([#6,#8])([#6,#8])[#6,#8]", 0.4),
    ],
)
def test_a_fragment_is_in_every_molecule(bundled, smiles, pattern, share):
    """With its bond orders; its positions to the last bit, and its atoms first."""
    start = fragment(smiles)
    molecules = generate(bundled, "C7H10O2", 20, seed=3, fragment=start)
    for atoms in molecules:
        assert atoms.get_chemical_formula() == "C7H10O2"
        assert (atoms.numbers[: len(start)] == start.numbers).all()
        assert (atoms.positions[: len(start)] == start.positions).all()
    found = closed_shell(molecules)
    assert len(found) >= share * 20
    query = Chem.MolFromSmarts(pattern)
    for mol in found:
        matches = mol.GetSubstructMatches(query, useChirality=False, maxMatches=10_000)
        assert any({*range(len(start))} <= {*match} for match in matches)
    assert len({Chem.MolToSmiles(mol) for mol in found}) > 3


def test_a_hydrogen_is_replaced_and_all_else_stays(bundled):
    ethanol = ase.build.molecule("CH3CH2OH")
    ethanol.translate([5.0, -3.0, 1.0])
    carbon = 0 if ethanol.numbers[1] == 6 else 1
    hydrogens = [
        k
        for k in range(len(ethanol))
        if ethanol.numbers[k] == 1 and ethanol.get_distance(k, carbon) < 1.2
    ]
    start = fragment(ethanol, hydrogens[:1])
    molecules = generate(bundled, "C7H10O2", 12, seed=0, fragment=start, restarts=9)
    kept = len(start)
    assert kept == len(ethanol) - 1
    for atoms in molecules:
        assert (atoms.positions[:kept] == start.positions).all()
    found = closed_shell(molecules)
    assert found  # this model has not learned to see hydrogens before other atoms
    for mol in found:
        grown = Counter(
            bond.GetBeginAtomIdx() if bond.GetEndAtomIdx() >= kept else bond.GetEndAtomIdx()
            for bond in mol.GetBonds()
            if (bond.GetBeginAtomIdx() < kept) != (bond.GetEndAtomIdx() < kept)
        )
        assert grown == {int(np.argmax(start.joined)): 1}


def test_parts_are_joined():
    """Two atoms that are far apart are in one molecule then."""
    start = fragment(ase.Atoms("CO", [[0.0, 0.0, 0.0], [4.0, 0.0, 0.0]]))
    assert start.parts.tolist() == [0, 1]
    model = SchNetGen.from_pretrained("qm9")
    molecules = generate(model, "C7H10O2", 20, seed=1, fragment=start)
    assert len(closed_shell(molecules)) >= 5
    for mol in closed_shell(molecules):
        assert len(Chem.GetMolFrags(mol)) == 1


def test_molecules_of_a_seed_do_not_depend_on_the_batch(bundled):
    settings = {"seed": 4, "fragment": "*C(=O)O*", "log_prob": False}
    whole = generate(bundled, "C7H10O2", 8, **settings)
    parted = generate(bundled, "C7H10O2", 8, batch_size=3, **settings)
    for one, other in zip(whole, parted, strict=True):
        assert abs(one.positions - other.positions).max() < 1e-4
        assert (one.numbers == other.numbers).all()
        assert to_rdkit(one).GetNumAtoms() == 19


def test_drawn_formulas_hold_the_fragment_and_what_it_needs():
    """Benzene with a substituent has no more hydrogens than that leaves room for."""
    model = small_model(**DECIDING, max_counts=(20, 9, 3))
    for atoms in generate(model, None, 20, seed=0, restarts=0, fragment="*c1ccccc1"):
        counts = Counter(atoms.symbols)
        heavy = counts["C"] + counts["O"]
        assert heavy > 6
        # 5 of the ring, and a saturated chain.
        assert 5 <= counts["H"] <= 5 + 2 * (counts["C"] - 6) + 1


@pytest.mark.parametrize(
    ("formula", "start", "message"),
    [
        (
            "C7H10O2",
            "*c1ccccc1",
            "no molecule C7H10O2 has the fragment C6: .* not 10; ask for fewer",
        ),
        ("C5H10O2", "*c1ccccc1", "has more C than the formula"),
        ("C3H8", "*CCC*", "whose attachment points wait for some; ask for more"),
        ("C1-6Hx", "*c1ccccc1", "no closed-shell molecule that was asked for"),
        (None, "*S*", "never seen S"),
        (None, "*[N+](C)(C)C", "never seen N"),
        (None, "*[O+](C)C", r"never seen O with charge \+1, 3 bond orders, 0 hydrogens and 3"),
    ],
)
def test_what_does_not_go_together_is_refused(formula, start, message):
    model = small_model(**DECIDING, max_counts=(20, 9, 3), states=usual_states([6, 8]))
    with pytest.raises(InputError, match=message):
        generate(model, formula, 1, fragment=start)


def test_parts_too_far_apart_are_refused():
    model = small_model(**DECIDING, max_counts=(20, 5, 3))
    methyl = ase.build.molecule("CH4")[:4]
    other = methyl.copy()
    other.translate([40.0, 0.0, 0.0])
    with pytest.raises(InputError, match=r"are 40\.\d Å apart, and \d other atoms reach"):
        generate(model, None, 1, fragment=methyl + other)
    other.translate([-32.0, 0.0, 0.0])
    with pytest.raises(InputError, match=r"are 8\.\d Å apart, and 2 other atoms reach"):
        generate(model, "C3-4H0-20", 1, fragment=methyl + other)
    far = ase.build.molecule("H2O")
    far.translate([0.0, 5.0, 0.0])
    with pytest.raises(InputError, match="parts that nothing can grow on"):
        generate(model, None, 1, fragment=methyl + far)


def test_variations(bundled, isomers):
    atoms = to_ase(isomers[3])
    heavy = [k for k in range(len(atoms)) if atoms.numbers[k] != 1]
    found = vary(bundled, atoms, 3, 12, seed=1)
    assert found
    texts = [one.info["smiles"] for one in found]
    assert len({*texts}) == len(texts)
    assert all(one.get_chemical_formula() == "C7H10O2" for one in found)
    likely = [one.info["log_prob"] for one in found]
    assert likely == sorted(likely, reverse=True)
    again = vary(bundled, atoms, 3, 12, seed=1)
    assert [one.info["smiles"] for one in again] == texts
    kept = vary(bundled, atoms, [heavy[0]], 10, seed=1, keep_hydrogens=True, restarts=4)
    for one in kept:
        assert one.info["given"] > 9  # with hydrogens
    for part in random_parts(atoms, 3, 30, 0):
        assert {*part} <= {*heavy}
        assert len(part) == 3
    for wrong, message in ((0, "removed must be 1 to 8"), (9, "as it has 9 heavy atoms")):
        with pytest.raises(InputError, match=message):
            vary(bundled, atoms, wrong, 5)
    with pytest.raises(InputError, match="is no valid"):
        vary(bundled, atoms[:5], 1, 5)
