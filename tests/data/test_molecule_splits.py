"""Splits by scaffold and at random."""

import pytest
from rdkit import Chem

from schnetgen_pyg.chem.scaffolds import murcko_scaffold
from schnetgen_pyg.data.molecule_splits import split_molecules
from schnetgen_pyg.errors import InputError

RINGS = ["c1ccccc1", "C1CCCCC1", "c1ccncc1", "C1CC1", "c1ccoc1", "C1CCNCC1", "c1ccc2ccccc2c1"]
#: Of each ring some molecules, of the first ones more.
SMILES = [f"{'C' * k}{ring}" for j, ring in enumerate(RINGS) for k in range(1, 12 - 2 * min(j, 4))]


def scaffold(smiles):
    return murcko_scaffold(Chem.MolFromSmiles(smiles))


@pytest.mark.parametrize("test", [0.0, 0.2])
def test_no_scaffold_is_in_two_parts(test):
    parts = split_molecules(SMILES, "scaffold", 0.2, test, seed=0)
    assert sorted(k for part in parts.values() for k in part) == [*range(len(SMILES))]
    scaffolds = [{scaffold(SMILES[k]) for k in part} for part in parts.values()]
    assert sum(map(len, scaffolds)) == len(RINGS)
    assert scaffold("Cc1ccccc1") in scaffolds[0]  # the largest group
    assert bool(parts["test"]) == (test > 0)
    assert len(parts["train"]) <= (0.8 - test) * len(SMILES)
    assert parts == split_molecules(SMILES, "scaffold", 0.2, test, seed=1)


def test_stereoisomers_share_a_scaffold():
    first, second = "C[C@H]1CC[C@@H](c2ccccc2)C1", "C[C@@H]1CC[C@@H](c2ccccc2)C1"
    assert scaffold(first) == scaffold(second) == "c1ccc(C2CCCC2)cc1"
    assert scaffold("CCO") == scaffold("[Na+].[Cl-]") == ""


def test_a_random_split_is_of_the_seed_and_keeps_copies_together():
    twice = [*SMILES, *SMILES]
    first, same, other = (
        split_molecules(twice, "random", 0.2, 0.1, seed=seed) for seed in (3, 3, 4)
    )
    assert first == same != other
    for part in first.values():
        held = {twice[k] for k in part}
        assert len(part) == 2 * len(held)
    sizes = [len(first[name]) for name in ("train", "validation", "test")]
    assert sizes == pytest.approx([0.7 * len(twice), 0.2 * len(twice), 0.1 * len(twice)], abs=2)


def test_a_part_that_would_be_empty():
    with pytest.raises(InputError, match=r"train and the validation part .* 9 .* 1 scaffolds"):
        split_molecules(["CCO", "CCN", "CCC"] * 3, "scaffold", 0.2, 0.2, seed=0)
    with pytest.raises(InputError, match="the train part would be empty"):
        split_molecules(["CCO", "CCN"], "random", 0.5, 0.01, seed=0)
