"""Hydrogens of different atoms at once."""

import numpy as np
import torch
from ase.build import molecule
from hypothesis import given
from hypothesis import strategies as st

from schnetgen_pyg import SchNetGen, generate
from schnetgen_pyg.generator.sampling.hydrogens import rounds
from tests.conftest import small_model
from tests.generator.sampling.test_gibbs import PARTS, bonds


@given(st.lists(st.integers(0, 3), min_size=2, max_size=12))
def test_rounds_fit_every_molecule(missing):
    """In at most three rounds every atom gets what it lacks, one hydrogen in each."""
    lacking = torch.tensor(missing)
    numbers = rounds(torch.tensor([sum(missing)]))
    assert len(numbers) <= 3
    for number in map(int, numbers):
        neediest = lacking.topk(number)
        assert (neediest.values > 0).all()
        lacking[neediest.indices] -= 1
    assert (lacking == 0).all()


def test_molecules_with_most_hydrogens_have_most_in_every_round():
    """So that as many places are enough as the one with most of them has."""
    numbers = torch.stack(rounds(torch.arange(200)))
    assert (numbers.diff(dim=1) >= 0).all()
    assert (numbers.sum(0) == torch.arange(200)).all()


def test_every_atom_gets_the_hydrogens_that_were_foretold():
    """Whether they come one by one or several at once."""
    model = SchNetGen.from_pretrained("c7h10o2")
    one_by_one, at_once = (
        generate(model, "C7H10O2", 32, seed=1, jobs=1, gibbs_rounds=k) for k in (0, 1)
    )
    for atoms, others in zip(one_by_one, at_once, strict=True):
        for each in (atoms, others):
            to_hydrogen = bonds(each)[:9, 9:]
            assert (to_hydrogen.sum(0) == 1).all()
        heavy = np.allclose(atoms.positions[:9], others.positions[:9], atol=0.5)
        if heavy and (atoms.numbers == others.numbers).all():
            numbers = [bonds(each)[:9, 9:].sum(1) for each in (atoms, others)]
            assert (numbers[0] == numbers[1]).all()


def test_a_fragment_and_batches():
    """Also where the numbers of hydrogens are drawn, not foretold."""
    model = small_model(**PARTS)
    fragment = molecule("CH3CH2OH")[[0, 1, 2]]
    settings = {"seed": 2, "fragment": fragment, "gibbs_rounds": 1}
    molecules = generate(model, "C3H8O", 6, **settings)
    others = generate(model, "C3H8O", 6, batch_size=2, **settings)
    for atoms, other in zip(molecules, others, strict=True):
        assert abs(atoms.positions[:3] - fragment.positions).max() < 1e-5
        assert atoms.get_chemical_formula() == "C3H8O"
        assert abs(atoms.positions - other.positions).max() < 1e-4
