"""Formal charges and valences of structures, and what a training makes of them."""

import pytest
import torch
from rdkit import Chem

from schnetgen_pyg import InputError, evaluate, fit, generate
from schnetgen_pyg.chem.formulas import FormulaPattern
from schnetgen_pyg.chem.valence_states import ValenceState
from schnetgen_pyg.data.conversion import as_data
from schnetgen_pyg.data.lewis_structures import states_in, told, with_lewis_structures
from tests.conftest import METHANE, deciding, small_model
from tests.molecules import embedded
from tests.training.test_generator import QUICK

#: Groups with formal charges, or with valences beyond the octet.
GROUPS = ("C[N+](=O)[O-]", "CN=[N+]=[N-]", "[C-]#[N+]C", "CS(C)=O", "CS(N)(=O)=O")
IONS = ("C[NH3+]", "CC(=O)[O-]")
ALL = deciding("focus", "next_type", "valence_state", "hydrogens")


def test_charges_and_valences_sum_to_those_of_molecules():
    data = as_data([embedded(text) for text in GROUPS])
    found, failed = with_lewis_structures(data)
    assert not failed
    for text, single in zip(GROUPS, found, strict=True):
        mol = Chem.AddHs(Chem.MolFromSmiles(text))
        charges = sorted(atom.GetFormalCharge() for atom in mol.GetAtoms())
        assert sorted(single.formal_charge.tolist()) == charges
        assert sorted(single.valence.tolist()) == sorted(
            atom.GetTotalValence() for atom in mol.GetAtoms()
        )
    assert all("valence" not in single for single in data)  # copies
    again, _ = with_lewis_structures(found)
    assert all(one is other for one, other in zip(again, found, strict=True))


def test_reasons():
    far = METHANE + METHANE
    far.positions[5:] += 6.0
    crowded = METHANE.copy()
    crowded.append("H")
    crowded.positions[5] = [0.0, 0.0, -1.05]
    radical, ion, triplet = METHANE[:4], METHANE.copy(), METHANE.copy()
    ion.info["charge"], triplet.info["spin_multiplicity"] = 1, 3
    data = as_data([METHANE, far, crowded, radical, ion, triplet, METHANE])
    found, failed = with_lewis_structures(data)
    assert failed == {"fragments": [1], "valence": [2], "radical": [3, 4, 5]}
    assert [single is None for single in found] == [False, *[True] * 5, False]
    text = told(failed, len(data))
    assert text.startswith("5 of 7 structures (71.4 %)")
    assert "1 of several fragments (structure 1)" in text


def test_states_of_data():
    found, _ = with_lewis_structures(as_data([embedded("C[N+](=O)[O-]")]))
    assert states_in(found) == (
        ValenceState(6, 0, 4, 3, 1),
        ValenceState(7, 1, 4, 0, 3),
        ValenceState(8, -1, 1, 0, 1),
        ValenceState(8, 0, 2, 0, 1),
    )


def test_training_leaves_out_what_it_cannot_learn_and_says_so(isomers, tmp_path):
    radicals = as_data([METHANE[:4]] * 5)
    with pytest.warns(UserWarning, match=r"5 of 25 structures \(20.0 %\) .* unpaired electrons"):
        model = fit(small_model(**ALL), [*isomers[:20], *radicals], tmp_path, **QUICK)
    assert model.provenance["left_out"] == {"radical": 5}
    with pytest.raises(InputError, match=r"5 of 5 structures .*Nothing is left to train on"):
        fit(small_model(**ALL), radicals, tmp_path / "all", **QUICK)
    sulfone = as_data([embedded("CS(C)(=O)=O")] * 4)
    elements = {"elements": (1, 6, 8, 16), "states": states_in(with_lewis_structures(isomers)[0])}
    with pytest.raises(InputError, match="states must be with those of S"):
        small_model(**ALL, **elements)
    elements["states"] += ((16, 0, 2, 0, 2),)
    with pytest.raises(InputError, match="valence states that the model does not"):
        fit(small_model(**ALL, **elements), sulfone, tmp_path / "other", **QUICK)


def test_a_paper_model_has_nothing_to_tell(tmp_path):
    settings = QUICK | {"num_validation": 1, "steps": 1}
    model = fit(small_model(), as_data([METHANE[:4]] * 5), tmp_path, **settings)
    assert "left_out" not in model.provenance


@pytest.mark.parametrize(
    "text",
    [GROUPS[0], *(pytest.param(text, marks=pytest.mark.slow) for text in (*GROUPS[1:], *IONS))],
)
def test_groups_are_learned_and_made(text, tmp_path):
    """A model that has seen one molecule or ion makes it."""
    charge = Chem.GetFormalCharge(Chem.MolFromSmiles(text))
    atoms = embedded(text)
    atoms.info["charge"] = charge
    data, _ = with_lewis_structures(as_data([atoms]))
    torch.manual_seed(0)
    elements = tuple(sorted({1, *data[0].z.tolist()}))
    model = small_model(**ALL, elements=elements, states=states_in(data), hidden_channels=32)
    settings = QUICK | {"num_validation": 1, "steps": 150, "learning_rate": 3e-3}
    model = fit(model, data * 9, tmp_path, **settings)
    formula = FormulaPattern.of(data[0].z.tolist(), charge)
    molecules = generate(model, formula, 6, seed=0, jobs=1)
    assert all(atoms.info.get("charge", 0) == charge for atoms in molecules)
    found = {record.get("smiles") for record in evaluate(molecules, jobs=1).records}
    assert Chem.CanonSmiles(text) in found


def test_a_charge_that_the_data_state_is_known_in_training(isomers, tmp_path):
    """Two charges are no electron that stays alone: without their word it would seem neutral."""
    ions = [METHANE.copy() for _ in range(5)]
    for ion in ions:
        ion.info["charge"] = 2
    data = [*isomers[:20], *as_data(ions)]
    with pytest.warns(UserWarning, match=r"5 without bond orders .*\(structures 20, 21, 22"):
        model = fit(small_model(**ALL), data, tmp_path / "a", **QUICK)
    assert model.provenance["left_out"] == {"bond orders": 5}
    with pytest.raises(InputError, match=r"structure 20: has charge \+2, .*leave it out"):
        fit(small_model(), data, tmp_path / "b", **QUICK)
