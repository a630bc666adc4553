import pytest
import torch
from rdkit import Chem

from schnetgen_pyg.chem.valence_states import (
    UNKNOWN,
    StateTable,
    ValenceState,
    states_of,
    usual_states,
)


def states(text):
    return states_of(Chem.AddHs(Chem.MolFromSmiles(text)))


def test_states_of_molecules():
    assert states("C[N+](=O)[O-]") == [
        ValenceState(6, 0, 4, 3, 1),
        ValenceState(7, 1, 4, 0, 3),
        ValenceState(8, 0, 2, 0, 1),
        ValenceState(8, -1, 1, 0, 1),
        None,
        None,
        None,
    ]
    assert states("CS(C)(=O)=O")[1] == ValenceState(16, 0, 6, 0, 4)
    assert {state for state in states("c1ccccc1") if state} == {ValenceState(6, 0, 4, 1, 2)}
    assert states("[C-]#[N+]C")[0].unpaired == 2


def test_usual_states_are_those_of_one_valence():
    found = usual_states((1, 6, 8, 26))
    assert ValenceState(6, 0, 4, 0, 0) in found
    assert ValenceState(8, 0, 2, 2, 0) in found
    assert {state.element for state in found} == {6, 8}
    assert all(state.unpaired >= 0 for state in found)
    assert len(found) == 15 + 6


def test_numbers_of_states():
    every = {state for text in ("C[N+](=O)[O-]", "CC#N", "CNC") for state in states(text) if state}
    table = StateTable(every)
    assert set(table.states) == every
    rows = torch.tensor(table.states)
    assert table.index(*rows.T).tolist() == list(range(len(table)))
    absent = torch.tensor([[7, 0, 3, 2, 1], [6, 0, 4, 3, 15], [99, 7, 1, 1, 1]])
    assert table.index(*absent.T).tolist() == [UNKNOWN] * 3
    assert table.hydrogens[UNKNOWN] == table.element[UNKNOWN] == 0
    assert (table.most_charge[7], table.least_charge[7], table.least_charge[8]) == (1, 0, -1)
    assert (table.most_bonds[6], table.most_hydrogens[7], table.most_valence[7]) == (4, 1, 4)
    assert table.degrees() == {6: 4, 7: 3, 8: 1}


@pytest.mark.parametrize("text", ["CCO", "C=CC#C", "OCC(=O)N"])
def test_neutral_states_from_neighbours_alone(text):
    table = StateTable(usual_states((6, 7, 8)))
    found = [state for state in states(text) if state]
    z, _, _, hydrogens, neighbors = torch.tensor(found).T
    index = table.of_neutral(z, hydrogens, neighbors)
    assert [table.states[k] for k in index.tolist()] == found
