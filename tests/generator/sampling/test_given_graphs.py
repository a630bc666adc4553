"""A given molecule is the same to a model in training and in sampling."""

import pytest
import torch
from torch_geometric.data import Batch

from schnetgen_pyg.chem.molecular_graphs import MolecularGraph
from schnetgen_pyg.chem.molecules import to_rdkit
from schnetgen_pyg.data.conversion import as_data
from schnetgen_pyg.data.graph_features import with_graphs
from schnetgen_pyg.generator.draft import Draft
from schnetgen_pyg.generator.orders import reorder
from schnetgen_pyg.generator.sampling.builder import Builder
from schnetgen_pyg.generator.sampling.config import SamplingConfig
from schnetgen_pyg.generator.sampling.conformer_batches import _combined
from schnetgen_pyg.generator.sampling.given_graphs import Layout, known_to, random_orders
from schnetgen_pyg.generator.sampling.likelihood import follow
from schnetgen_pyg.generator.steps import all_steps, partial_molecules
from tests.conftest import small_model
from tests.generator.conditions.test_graph import GIVEN, awake
from tests.molecules import embedded

TEXT = "CC1CC1O"


@pytest.fixture(scope="module")
def model():
    # States are hidden at random in training.
    return awake(small_model(**GIVEN | {"conditions": ("remaining_formula", "graph")}))


@pytest.fixture(scope="module")
def molecule():
    """Its structure, what the model knows of it and an order of its atoms."""
    atoms = embedded(TEXT)
    known = known_to(awake(small_model(**GIVEN)), [MolecularGraph.of_mol(to_rdkit(atoms))])[0]
    (order,) = random_orders([known], 3, torch.tensor([5]), torch.tensor([0]))
    return atoms, order


def test_orders_are_connected_and_end_with_hydrogens(molecule):
    atoms, order = molecule
    bonds = MolecularGraph.of_mol(to_rdkit(atoms)).adjacency
    numbers = atoms.numbers[order]
    heavy = int((numbers != 1).sum())
    assert (numbers[heavy:] == 1).all()
    for place in range(1, len(order)):
        assert bonds[order[place], order[:place]].any()
    known = known_to(small_model(**GIVEN), [MolecularGraph.of_mol(to_rdkit(atoms))])[0]
    many = random_orders([known] * 40, 0, torch.arange(40), torch.zeros(40, dtype=torch.long))
    assert len({tuple(one[:heavy].tolist()) for one in many}) > 10
    again = random_orders([known] * 2, 0, torch.tensor([7, 3]), torch.zeros(2, dtype=torch.long))
    assert again[0].tolist() == many[7].tolist()


def test_every_step_is_the_same_in_training_and_in_sampling(model, molecule):
    atoms, order = molecule
    data = with_graphs(as_data([atoms]))
    molecules = reorder(Batch.from_data_list(data), torch.from_numpy(order.copy()))
    partial = partial_molecules(molecules, *all_steps(molecules.ptr))
    for condition in model.conditions.values():
        condition.prepare(partial, molecules)
    known = known_to(model, [MolecularGraph.of_mol(to_rdkit(atoms))])
    state = Layout.of(known, [order]).state(known, [atoms.positions])
    one = torch.zeros(1, dtype=torch.long)
    draft = Draft(state, 1, one, 0, SamplingConfig(), one, states=model.config.states)
    with torch.no_grad():
        whole = model.step(partial, model.step_graph(molecules, partial))
        whole.decide(next_z=partial.next_z)
        model.decisions["parent"].loss(whole, molecules)
        start = 0
        for size in range(1, len(order)):
            draft.placed = size
            step = Builder(model, draft).step(size)
            model.decisions["parent"].draw(step, draft)
            rows = slice(start, start + size)
            assert int(step.focus) == int(whole.focus[size - 1]) - start
            assert torch.allclose(step.y, whole.y[rows], atol=1e-4)
            start += size


def test_hydrogens_that_come_at_once_are_told_apart(model, molecule):
    """Each as if it were the next one."""
    atoms, order = molecule
    known = known_to(model, [MolecularGraph.of_mol(to_rdkit(atoms))])
    heavy = known[0].num_heavy

    def at(order):
        state = Layout.of(known, [order]).state(known, [atoms.positions])
        one = torch.zeros(1, dtype=torch.long)
        draft = Draft(state, heavy, one, 0, SamplingConfig(), one, states=model.config.states)
        step = Builder(model, draft).step(heavy)
        return draft, step

    with torch.no_grad():
        draft, step = at(order)
        last = torch.tensor([len(order) - 1])
        (found,) = _combined(model, draft, step, torch.tensor([0]), last)
        swapped = order.copy()
        swapped[[heavy, -1]] = order[[-1, heavy]]
        assert torch.allclose(found, at(swapped)[1].y, atol=1e-4)
        assert not torch.allclose(found, step.y, atol=1e-2)


def test_states_are_known_where_molecules_are_followed(molecule):
    atoms, order = molecule
    model = small_model(**GIVEN | {"conditions": ("remaining_formula", "valence_states")})
    known = known_to(model, [MolecularGraph.of_mol(to_rdkit(atoms))])
    state = Layout.of(known, [order]).state(known, [atoms.positions])
    followed = follow(model, state, SamplingConfig())
    assert followed.valence_state.tolist() == [known[0].state[order].tolist()]
    assert (followed.valence_state >= 0).sum() == (atoms.numbers != 1).sum()
