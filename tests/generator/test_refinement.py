"""The denoiser that takes the last errors off finished molecules."""

import pytest
import torch
from torch_geometric.data import Batch, Data

from schnetgen_pyg import generate
from schnetgen_pyg.chem.bonds import bond_pairs, connectivity
from schnetgen_pyg.chem.valence_states import UNKNOWN, StateTable, usual_states
from schnetgen_pyg.generator.refinement import Refinement
from schnetgen_pyg.generator.valence_states import valence_states
from tests.conftest import METHANE, deciding, small_model

TABLE = StateTable(usual_states([6, 8]))


@pytest.fixture
def refinement():
    network = Refinement(len(TABLE))
    torch.nn.init.normal_(network.weight.weight, std=0.03)  # so that something moves
    return network.eval()


@pytest.fixture
def molecules(isomers):
    batch = Batch.from_data_list([Data(z=data.z, pos=data.pos) for data in isomers[:4]])
    batch.valence_state = valence_states(batch, TABLE)
    return batch


def moved(refinement, batch):
    return refinement(batch.z, batch.pos, batch.ptr, batch.valence_state)


def test_displacements_turn_with_the_molecule_and_not_with_its_place(refinement, molecules):
    turn, _ = torch.linalg.qr(torch.randn(3, 3))
    before = moved(refinement, molecules)
    molecules.pos = molecules.pos @ turn.T + torch.tensor([3.0, -1.0, 2.0])
    assert before.norm(dim=1).min() > 1e-4
    assert torch.allclose(moved(refinement, molecules), before @ turn.T, atol=1e-5)


def test_padded_rows_and_fixed_atoms(refinement, molecules):
    """A molecule moves the same in any row, and what is fixed stays."""
    z, state = (molecules[name].view(4, 19) for name in ("z", "valence_state"))
    pos = molecules.pos.view(4, 19, 3)
    alone = refinement.refined(z[:1], pos[:1], state[:1], 2)
    gap = torch.zeros(4, 3, dtype=torch.long)
    padded_z = torch.cat([z[:, :9], gap, z[:, 9:]], 1)
    padded_z[1, 15:] = 0  # a smaller one beside it
    padded_pos = torch.cat([pos[:, :9], torch.zeros(4, 3, 3), pos[:, 9:]], 1)
    padded_state = torch.cat([state[:, :9], gap + UNKNOWN, state[:, 9:]], 1)
    found = refinement.refined(padded_z, padded_pos, padded_state, 2)
    there = padded_z[0] > 0
    assert torch.allclose(found[0, there], alone[0], atol=1e-5)
    assert (found[:, 9:12] == 0).all()
    fixed = refinement.refined(z, pos, state, 2, fixed=5)
    assert (fixed[:, :5] == pos[:, :5]).all()
    assert ((fixed - pos)[:, 5:].norm(dim=2) > 1e-4).all()


def test_it_learns_to_take_off_noise(molecules):
    """The loss of nothing is one."""
    network = Refinement(len(TABLE))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        assert network.loss(molecules, generator).value.item() == pytest.approx(1.0, abs=0.15)
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    found = []
    for _ in range(120):
        optimizer.zero_grad()
        loss = network.loss(molecules, generator).value
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    assert sum(found[-20:]) / 20 < 0.9


def test_generated_molecules_are_refined():
    """In any batch, and a fragment is left where it is."""
    parts = deciding("focus", "next_type", "hydrogens", "valence_state")
    model = small_model(**parts, refinement=True)
    torch.nn.init.normal_(model.refinement.weight.weight, std=3e-4)
    formulas = ["C2H4O", "CH4", "C3H8"]
    settings = {"seed": 1, "restarts": 0}
    plain = generate(model, formulas, 6, refinement_steps=0, **settings)
    whole, parted = (generate(model, formulas, 6, batch_size=size, **settings) for size in (6, 2))
    moved = 0
    for before, one, other in zip(plain, whole, parted, strict=True):
        moved += abs(one.positions - before.positions).max() > 1e-2
        assert abs(one.positions - other.positions).max() < 1e-3
    assert moved >= 3  # the bonds of the others would change
    fragment = METHANE[:3]
    for atoms in generate(model, "C2H4O", 3, fragment=fragment):
        assert abs(atoms.positions[:3] - fragment.positions).max() < 1e-5


def test_bonds_that_were_built_stay():
    """A molecule whose bonds the refinement would change is left as it was built."""
    parts = deciding("focus", "next_type", "hydrogens", "valence_state")
    model = small_model(**parts, refinement=True)
    torch.nn.init.normal_(model.refinement.weight.weight, std=0.3)
    broken = {}
    for rules in (True, False):
        settings = {"seed": 1, "restarts": 0, "valence_rules": rules}
        plain, moved = (
            generate(model, "C3H8", 12, refinement_steps=steps, **settings) for steps in (0, 3)
        )
        broken[rules] = sum(
            {*map(frozenset, bond_pairs(connectivity(one)).tolist())}
            != {*map(frozenset, bond_pairs(connectivity(other)).tolist())}
            for one, other in zip(plain, moved, strict=True)
        )
    assert broken[True] == 0
    assert broken[False] > 3


@pytest.mark.parametrize("scale", [1e8, 1e30])
def test_a_network_that_runs_away(refinement, molecules, scale):
    """Spoils neither the gradient of a batch nor the molecules that it does not know."""
    state = molecules.valence_state.view(4, 19)
    z, pos = molecules.z.view(4, 19), molecules.pos.view(4, 19, 3)
    with torch.no_grad():
        refinement.weight.weight *= scale
    found = refinement.refined(z, pos, state, 1)
    assert found.isfinite().all()
    assert (found - pos).norm(dim=2).max() <= 0.6 + 1e-4
    if scale < 1e10:
        loss = refinement.loss(molecules, torch.Generator().manual_seed(0)).value
        loss.backward()
        assert all(p.grad.isfinite().all() for p in refinement.parameters() if p.grad is not None)
        assert loss < 1e3
