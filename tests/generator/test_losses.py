"""Targets of the heads, against loops over atoms."""

import pytest
import torch
from torch_geometric.data import Batch, Data

from schnetgen_pyg import generate
from schnetgen_pyg.chem.bonds import batch_adjacency
from schnetgen_pyg.generator.decisions.focus import bonded_nodes, draw_node
from schnetgen_pyg.generator.decisions.hydrogens import missing_hydrogens
from schnetgen_pyg.generator.losses import losses, perturbed
from schnetgen_pyg.generator.orders import bonded, bonded_grouped, fragments, reorder
from schnetgen_pyg.generator.steps import all_steps, partial_molecules
from schnetgen_pyg.testing import check_condition
from tests.conftest import METHANE, deciding, small_model

PARTS = deciding("focus", "next_type", "hydrogens")


@pytest.fixture(scope="module")
def molecules(isomers):
    batch = Batch.from_data_list([Data(z=d.z, pos=d.pos) for d in isomers[:5]])
    return reorder(batch, bonded(batch, torch.Generator().manual_seed(0)))


def test_bonded_order_is_connected_with_hydrogens_last(molecules):
    bonds, _ = batch_adjacency(molecules)
    z = molecules.z.view(5, 19)
    assert ((z == 1).int().diff(dim=1) >= 0).all()
    for size in range(1, 19):
        assert bonds[:, size, :size].any(1).all()


def test_grouped_hydrogens_follow_their_atoms(isomers):
    batch = Batch.from_data_list([Data(z=d.z, pos=d.pos) for d in isomers[:5]])
    molecules = reorder(batch, bonded_grouped(batch, torch.Generator().manual_seed(0)))
    bonds, _ = batch_adjacency(molecules)
    parents = bonds[:, 9:, :9].int().argmax(2)
    assert (parents.diff(dim=1) >= 0).all()


def test_orders_differ(isomers):
    batch = Batch.from_data_list([Data(z=d.z, pos=d.pos) for d in isomers[:5]])
    a, b, c = (bonded(batch, torch.Generator().manual_seed(s)) for s in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert torch.equal(a.sort().values, torch.arange(95))


def test_fragments_come_first(isomers):
    """Of both kinds, parts that grow and parts to be joined, with hydrogens and without; whatever
    comes then is bonded to what is there."""
    batch = Batch.from_data_list([Data(z=d.z, pos=d.pos) for d in isomers[:60]])
    batch.fragment = first = fragments(batch, 0.8, torch.Generator().manual_seed(0))
    assert not fragments(batch, 0.0, torch.Generator().manual_seed(0)).any()
    order = bonded(batch, torch.Generator().manual_seed(1), first)
    assert torch.equal(order.sort().values, torch.arange(batch.num_nodes))
    molecules = reorder(batch, order)
    bonds, _ = batch_adjacency(molecules)
    z, fragment = molecules.z.view(60, 19), molecules.fragment.view(60, 19)
    size = fragment.sum(1)
    assert (fragment.int().diff(dim=1) <= 0).all()
    assert 30 <= (size > 0).sum() < 60
    with_hydrogens = parts = whole = 0
    for row in (size > 0).nonzero().flatten().tolist():
        own, after = z[row, : size[row]], z[row, size[row] :]
        hydrogens = int((own == 1).sum())
        with_hydrogens += hydrogens > 0
        whole += int((own != 1).sum()) == 9
        # All hydrogens of its atoms, or none.
        there = bonds[row, : size[row]][own != 1][:, z[row] == 1].any(0).sum()
        assert hydrogens in (0, int(there))
        assert ((after == 1).int().diff() >= 0).all()
        for place in range(int(size[row]), 19):
            assert bonds[row, place, :place].any()
        inside = bonds[row, : size[row], : size[row]] | torch.eye(int(size[row]), dtype=torch.bool)
        parts += not (torch.linalg.matrix_power(inside.double(), 19) > 0).all()
    assert min(with_hydrogens, parts, whole) >= 2


def test_nothing_of_a_fragment_is_learned_as_a_step(isomers):
    """Its steps are left out, and its open atoms are not always known."""
    model = small_model(**deciding("focus", "next_type", "hydrogens", "valence_state"))
    batch = Batch.from_data_list([Data(z=d.z, pos=d.pos) for d in isomers[:20]])
    none, some, again, plain = (
        losses(model, batch, torch.Generator().manual_seed(3), **settings)
        for settings in ({"fragments": 0.0}, {"fragments": 1.0}, {"fragments": 1.0}, {})
    )
    assert all(value.isfinite() for value in some.values())
    assert some == again
    assert none == plain
    assert some["distance"] != none["distance"]
    given = torch.tensor([0, 3, 19])
    molecule, size = all_steps(torch.tensor([0, 4, 10, 29]), given)
    assert molecule.tolist() == [0, 0, 0, 1, 1, 1]
    assert size.tolist() == [1, 2, 3, 3, 4, 5]


def test_targets_against_loops(molecules):
    partial = partial_molecules(molecules, *all_steps(molecules.ptr))
    target = molecules.pos[partial.next_atom][partial.batch]
    distance = (partial.pos - target).norm(dim=1)
    found = bonded_nodes(partial, distance)
    lacking = missing_hydrogens(molecules, partial)
    bonds, _ = batch_adjacency(molecules)
    hydrogen = molecules.z.view(5, 19) == 1
    for node in range(0, partial.z.numel(), 7):
        step = int(partial.batch[node])
        molecule, size = int(partial.molecule[step]), int(partial.ptr.diff()[step])
        atom = int(partial.atom[node]) - 19 * molecule
        assert bool(found[node]) == bool(bonds[molecule, atom, size])
        later = bonds[molecule, atom, size:] & hydrogen[molecule, size:]
        assert int(lacking[node]) == int(later.sum())


def test_an_unbonded_atom_has_the_nearest_as_focus():
    batch = Data(
        z=torch.tensor([6, 6, 6]),
        pos=torch.tensor([[0.0, 0, 0], [1.5, 0, 0], [6, 0, 0]]),
        ptr=torch.tensor([0, 3]),
    )
    partial = partial_molecules(batch, torch.tensor([0]), torch.tensor([2]))
    assert bonded_nodes(partial, torch.tensor([6.0, 4.5])).tolist() == [False, True]


def test_draw_is_uniform_over_the_chosen():
    batch = torch.tensor([0, 0, 0, 1, 1])
    chosen = torch.tensor([True, False, True, False, True])
    generator = torch.Generator().manual_seed(0)
    drawn = torch.stack([draw_node(chosen, batch, 2, generator) for _ in range(2000)])
    assert (drawn[:, 1] == 4).all()
    assert set(drawn[:, 0].tolist()) == {0, 2}
    assert 900 < int((drawn[:, 0] == 0).sum()) < 1100


def test_types_that_are_left():
    model = small_model(**deciding("next_type"))
    remaining = torch.tensor([[3, 1, 0], [3, 0, 0], [0, 0, 2]])  # of H, C, O
    assert model.decisions["next_type"].allowed(remaining).tolist() == [
        [False, True, False],
        [True, False, False],
        [False, False, True],
    ]


def test_noise(molecules):
    moved = perturbed(molecules, 0.1, torch.Generator().manual_seed(0))
    offset = (moved.pos - molecules.pos).view(5, 19, 3).std((1, 2))
    assert (offset < 0.13).all()
    assert offset.max() / offset.min() > 1.5  # every molecule has its own strength


ALL_PARTS = deciding("focus", "next_type", "hydrogens", "valence_state")
NAMES = {"focus", "next_type", "hydrogens", "distance"}
ALL_NAMES = NAMES | {"valence_state", "first_valence_state"}


@pytest.mark.parametrize(
    ("settings", "names", "rate", "steps"),
    [(PARTS, NAMES, 1e-2, 60), (ALL_PARTS, ALL_NAMES, 5e-3, 60)],
)
def test_every_part_learns(molecules, settings, names, rate, steps):
    model = small_model(**settings).train()
    optimizer = torch.optim.Adam(model.parameters(), rate)
    history = []
    for step in range(steps):
        parts = losses(model, molecules, torch.Generator().manual_seed(step), noise=0.05)
        optimizer.zero_grad()
        sum(parts.values()).backward()
        optimizer.step()
        history.append({name: float(value.detach()) for name, value in parts.items()})
    assert history[0].keys() == names
    for name in history[0]:
        assert sum(h[name] for h in history[-10:]) < sum(h[name] for h in history[:10]), name
    assert all(p.grad is not None for p in model.parameters())


def test_noise_is_that_of_the_seed(molecules):
    """Whatever other random numbers were drawn before; of a strength up to what was asked for."""
    found = []
    for seed, other in ((0, 1), (0, 2), (3, 1)):
        torch.manual_seed(other)
        noisy = perturbed(molecules, 0.1, torch.Generator().manual_seed(seed))
        found.append(noisy.pos - molecules.pos)
    assert torch.equal(found[0], found[1])
    assert (found[0] - found[2]).abs().max() > 0.01
    assert 0 < found[0].std() < 0.1


def test_losses_with_noise_are_those_of_the_seed(molecules):
    model, found = small_model(**PARTS), []
    for seed, other in ((0, 1), (0, 2), (3, 1)):
        torch.manual_seed(other)
        generator = torch.Generator().manual_seed(seed)
        found.append(float(sum(losses(model, molecules, generator, noise=0.1).values())))
    assert found[0] == found[1] != found[2]


def test_given_atoms_have_no_noise_and_are_told(isomers):
    """Also where a model builds upon them; without a fragment the condition says nothing."""
    parts = deciding("focus", "next_type", "hydrogens", "valence_state")
    conditions = [*parts["conditions"], "given_atoms"]
    plain = small_model(**parts)
    told = small_model(**parts | {"conditions": conditions})
    told.load_state_dict(plain.state_dict(), strict=False)
    batch = Batch.from_data_list([Data(z=d.z, pos=d.pos) for d in isomers[:10]])
    batch.fragment = torch.arange(batch.num_nodes) % 3 == 0
    moved = perturbed(batch, 0.1, torch.Generator().manual_seed(0), batch.fragment)
    still = (moved.pos == batch.pos).all(1)
    assert torch.equal(still, batch.fragment)
    with torch.no_grad():
        told.conditions["given_atoms"].embedding += 0.5
    fragment = METHANE[:3]
    for settings, same in (({}, True), ({"fragment": fragment}, False)):
        one, other = (
            generate(m, "C3H6O", 2, restarts=0, gibbs_rounds=0, **settings) for m in (plain, told)
        )
        equal = all(
            abs(a.positions - b.positions).max() < 1e-5 for a, b in zip(one, other, strict=True)
        )
        assert equal == same
    molecules = Batch.from_data_list([Data(z=d.z, pos=d.pos) for d in isomers[:4]])
    molecules.fragment = torch.arange(molecules.num_nodes) % 19 < 6
    check_condition("given_atoms", told, molecules)
