"""Valence states of atoms: targets, and what the formula allows."""

import pytest
import torch
from ase.build import molecule
from torch_geometric.data import Batch

from schnetgen_pyg.chem.bonds import adjacency
from schnetgen_pyg.chem.valence_states import UNKNOWN, StateTable, ValenceState, usual_states
from schnetgen_pyg.data.batches import seeded
from schnetgen_pyg.data.conversion import from_ase
from schnetgen_pyg.data.molecules import Molecules
from schnetgen_pyg.generator.orders import bonded, reorder
from schnetgen_pyg.generator.steps import all_steps, partial_molecules
from schnetgen_pyg.generator.valence_states import (
    UNKNOWN_OPEN,
    allowed_states,
    hidden,
    open_neighbors,
    open_places,
    valence_states,
)

TABLE = StateTable(usual_states([6, 7, 8]))


def neighbors_of(numbers):
    """Hydrogens and heavier neighbours of states."""
    return sorted((int(TABLE.hydrogens[k]), int(TABLE.neighbors[k])) for k in numbers)


def test_states_of_molecules_with_known_structure():
    """Ethanol: CH3 with one neighbor, CH2 with two, OH with one."""
    batch = Batch.from_data_list([from_ase(molecule(n)) for n in ("CH3CH2OH", "CH4")])
    found = valence_states(batch, TABLE)
    carbon, oxygen = (neighbors_of(found[batch.z == k]) for k in (6, 8))
    assert carbon == [(2, 2), (3, 1), (4, 0)]
    assert oxygen == [(1, 1)]
    assert (found[batch.z == 1] == UNKNOWN).all()


def test_places_that_are_open(isomers):
    """Against a loop over placed atoms; as many as the sampler finds."""
    batch = Molecules(isomers[:4])[torch.arange(4)]
    molecules = reorder(batch, bonded(batch, seeded(0)))
    partial = partial_molecules(molecules, *all_steps(molecules.ptr))
    real = valence_states(molecules, TABLE)
    partial.valence_state = real[partial.atom]
    found = open_neighbors(molecules, partial, TABLE)
    z, pos = molecules.z.view(4, 19), molecules.pos.view(4, 19, 3)
    bonds = adjacency(z, pos) & (z != 1).unsqueeze(1)
    for node in range(len(found)):
        atom, step = int(partial.atom[node]), int(partial.batch[node])
        row, size = atom // 19, int(partial.ptr.diff()[step])
        later = int(bonds[row, atom % 19, size:].sum())
        assert found[node] == (UNKNOWN_OPEN if z[row, atom % 19] == 1 else later)
    bonds_of_five = adjacency(z[:, :5], pos[:, :5])
    known = open_places(
        z[:, :5], bonds_of_five, real.view(4, 19)[:, :5], TABLE.most_valence[z[:, :5]], TABLE
    )
    assert torch.equal(known, bonds[:, :5, 5:].sum(2))


def test_what_is_hidden(isomers):
    """Only the first atoms of some partial molecules; half of the single ones."""
    molecules = Molecules(isomers[:50])[torch.arange(50)]
    partial = partial_molecules(molecules, *all_steps(molecules.ptr))
    given = valence_states(molecules, TABLE)[partial.atom]
    found = hidden(partial, given, seeded(0))
    size = partial.ptr.diff()
    changed = torch.zeros(len(size))
    for step in range(len(size)):
        nodes = slice(int(partial.ptr[step]), int(partial.ptr[step + 1]))
        was, now = given[nodes], found[nodes]
        last = int(((was != now) & (now == UNKNOWN)).nonzero().max()) if (was != now).any() else -1
        assert (now[: last + 1] == UNKNOWN).all()
        assert torch.equal(now[last + 1 :], was[last + 1 :])
        changed[step] = last >= 0
    assert 0.3 < changed[size == 1].mean() < 0.7
    assert 0.05 < changed[size > 1].mean() < 0.15


@pytest.mark.parametrize("hidden", [0, 3], ids=["all known", "fragment"])
def test_states_in_real_molecules_are_allowed(isomers, hidden):
    """At every step of a random order; those of the first atoms may be unknown."""
    batch = Molecules(isomers[:30])[torch.arange(30)]
    for seed in range(3):
        molecules = reorder(batch, bonded(batch, seeded(seed)))
        z, pos = molecules.z.view(30, 19), molecules.pos.view(30, 19, 3)
        real = valence_states(molecules, TABLE).view(30, 19)
        for placed in range(hidden, 9):
            known = torch.full_like(z, UNKNOWN)
            known[:, hidden:placed] = real[:, hidden:placed]
            bonds = adjacency(z[:, :placed], pos[:, :placed])
            places = open_places(
                z[:, :placed], bonds, known[:, :placed], TABLE.most_valence[z[:, :placed]], TABLE
            )
            assert (places >= 0).all()
            allowed = allowed_states(TABLE, z, placed, places, known)
            assert allowed.gather(1, real[:, placed, None]).all()
            if placed == 8 and not hidden:  # the last atom has what is left
                assert (allowed.sum(1) == 1).all()
        places = open_places(z, adjacency(z, pos), real, TABLE.most_valence[z], TABLE)
        assert (places[:, :9] == 0).all()


def test_states_that_the_formula_has_no_room_for():
    """Ethanol from its methyl carbon."""
    z = torch.tensor([[6, 6, 8, 1, 1, 1, 1, 1, 1]])
    known = torch.full_like(z, UNKNOWN)
    none = torch.zeros(1, 0, dtype=torch.long)
    first = allowed_states(TABLE, z, 0, none, known)[0].nonzero().flatten()
    assert neighbors_of(first) == [(2, 1), (2, 2), (3, 1)]
    known[0, 0] = TABLE.states.index(ValenceState(6, 0, 4, 3, 1))
    # Nothing would be left for oxygen with one neighbor; CH3 cannot have two.
    then = allowed_states(TABLE, z, 1, torch.tensor([[1]]), known)[0]
    assert neighbors_of(then.nonzero().flatten()) == [(2, 2)]


def test_charges_that_later_atoms_make_up_for():
    """Nitromethane, C N O O H3: with a positive nitrogen one oxygen is negative, the other not."""
    nitro = [(7, 1, 4, 0, 3), (8, -1, 1, 0, 1)]
    table = StateTable([*usual_states([6, 7, 8]), *nitro])
    z = torch.tensor([[6, 7, 8, 8, 1, 1, 1]])
    methyl, plus, minus, ketone = (
        table.states.index(state) for state in ((6, 0, 4, 3, 1), *nitro, (8, 0, 2, 0, 1))
    )
    state = torch.tensor([[methyl, UNKNOWN, UNKNOWN, UNKNOWN] + [UNKNOWN] * 3])
    second = allowed_states(table, z, 1, torch.tensor([[1]]), state)[0]
    assert second[plus]
    assert not second[methyl]
    state[0, 1] = plus
    third = allowed_states(table, z, 2, torch.tensor([[0, 2]]), state)[0]
    bridge = table.states.index((8, 0, 2, 0, 2))  # to the last oxygen
    assert third.nonzero().flatten().tolist() == [minus, ketone, bridge]
    state[0, 2] = ketone
    fourth = allowed_states(table, z, 3, torch.tensor([[0, 1, 0]]), state)[0]
    assert fourth.nonzero().flatten().tolist() == [minus]
    state[0, 2] = minus
    fourth = allowed_states(table, z, 3, torch.tensor([[0, 1, 0]]), state)[0]
    assert fourth.nonzero().flatten().tolist() == [ketone]
