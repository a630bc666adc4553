"""Scaffolds placed once more by their own model."""

import networkx
import numpy as np
import pytest
import torch
from ase.build import molecule
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Batch

from schnetgen_pyg import Potential, SchNetGen, generate
from schnetgen_pyg.chem.bonds import adjacency
from schnetgen_pyg.chem.valence_states import StateTable, usual_states
from schnetgen_pyg.data.conversion import as_data
from schnetgen_pyg.generator.draft import Draft, State
from schnetgen_pyg.generator.sampling.builder import Builder
from schnetgen_pyg.generator.sampling.config import SamplingConfig
from schnetgen_pyg.generator.sampling.gibbs import movable_atoms, resample
from schnetgen_pyg.generator.valence_states import valence_states
from schnetgen_pyg.targets.prediction import predict
from tests.conftest import deciding, small_model

PARTS = deciding("focus", "next_type", "hydrogens", "valence_state")


def bonds(atoms):
    z, pos = torch.tensor(atoms.numbers), torch.tensor(atoms.positions)
    return adjacency(z.unsqueeze(0), pos.unsqueeze(0))[0]


def scaffold(model, *structures, **config):
    """A builder with these molecules' heavy atoms, which come first."""
    z = torch.tensor(np.stack([s.numbers for s in structures]))
    pos = torch.tensor(np.stack([s.positions for s in structures])).float()
    placed = int((z[0] != 1).sum())
    index, config = torch.arange(len(z)), SamplingConfig(**config)
    restart, states = torch.zeros_like(index), model.config.states
    draft = Draft(State.start(z, pos), placed, index, 3, config, restart, states=states)
    return Builder(model.eval(), draft)


@pytest.mark.parametrize("parts", [deciding("focus"), PARTS], ids=["focus", "all"])
@pytest.mark.parametrize("representation", ["schnet", "painn"])
def test_bonds_order_and_batches(parts, representation):
    model = small_model(representation=representation, **parts)
    first = generate(model, "C4H6O", 7, seed=3, gibbs_rounds=0)
    revised = generate(model, "C4H6O", 7, seed=3, gibbs_rounds=2)
    other = generate(model, "C4H6O", 7, seed=3, gibbs_rounds=2, batch_size=3)
    for a, b, c in zip(first, revised, other, strict=True):
        assert (a.numbers[:5] == b.numbers[:5]).all()
        assert (bonds(a)[:5, :5] == bonds(b)[:5, :5]).all()
        assert abs(a.positions - b.positions).max() > 1e-3
        assert abs(b.positions - c.positions).max() < 1e-5


def test_fragment_stays_where_it_is():
    model = small_model(**PARTS)
    fragment = molecule("CH3CH2OH")[:3]
    fragment.translate([5.0, -3.0, 1.0])
    for atoms in generate(model, "C4H8O", 4, fragment=fragment, gibbs_rounds=3):
        assert abs(atoms.positions[:3] - fragment.positions).max() < 1e-5


def test_only_atoms_that_connect_nothing_are_taken_out():
    model = small_model(**PARTS)
    propane, ring = molecule("C3H8"), molecule("C3H6_D3h")
    builder = scaffold(model, propane)
    chain = bonds(propane)[:3, :3].sum(1) == 2
    assert movable_atoms(builder.draft).tolist() == [(~chain).tolist()]
    before = builder.draft.pos.clone()
    resample(builder)
    moved = (builder.draft.pos - before).norm(dim=2)[0]
    assert (moved[:3] > 0).tolist() == (~chain).tolist()
    assert (moved[3:] == 0).all()
    assert movable_atoms(scaffold(model, ring).draft, 1).tolist() == [[False, True, True]]


@pytest.mark.parametrize("representation", ["schnet", "painn"])
def test_kept_filters_follow_the_atoms(representation):
    """Features after any exchange of atoms are those of a builder that knows nothing yet, also
    where only some of the molecules go on."""
    model = small_model(representation=representation, **PARTS)
    ring = molecule("C4H4O")
    structures = [ring, ring.copy(), ring.copy()]
    for seed, turned in enumerate(structures[1:]):
        turned.rattle(0.1, seed=seed)
    builder = scaffold(model, *structures)
    assert builder.cache is not None
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        for step in range(12):
            part = builder.take(slice(3 - step % 3)) if step > 3 else builder
            draft = part.draft
            place = torch.randint(5, (len(draft.z),), generator=generator)
            before = draft.pos[draft.rows, place].clone()
            part.to_last(place)
            assert (draft.pos[:, 4] == before).all()
            assert (builder.draft.pos[: len(draft.z)] == draft.pos).all()
            expected = Builder(model, draft).step(4).x
            assert torch.allclose(part.step(4).x, expected, atol=1e-5)
            draft.pos[:, 4] += 0.05


def test_strain_is_released():
    """Potential energies, by a model that knows nothing of the generator, fall."""
    model = SchNetGen.from_pretrained("c7h10o2")
    first, revised = (generate(model, "C7H10O2", 32, seed=1, gibbs_rounds=k) for k in (0, 2))
    potential = Potential.from_pretrained("c7h10o2-painn-potential")
    before, after = (
        [float(data.energy) for data in predict(potential, structures)]
        for structures in (first, revised)
    )
    assert np.mean(np.subtract(before, after)) > 0.05  # eV


@settings(deadline=None, max_examples=30)
@given(st.integers(3, 10), st.integers(0, 10_000))
def test_movable_atoms_are_no_articulation_points(size, seed):
    """Of carbons at random places on a lattice of bonds."""
    rng = np.random.default_rng(seed)
    sites = {(0, 0, 0)}
    while len(sites) < size:
        start = sorted(sites)[rng.integers(len(sites))]
        sites.add(tuple(np.add(start, rng.permutation([1, 0, 0]) * rng.choice([-1, 1]))))
    pos = 1.5 * torch.tensor(sorted(sites)).float().unsqueeze(0)
    state = State.start(torch.full((1, size), 6), pos)
    zero, states = torch.tensor([0]), usual_states([6])
    draft = Draft(state, size, zero, 0, SamplingConfig(), zero, states=states)
    graph = networkx.from_numpy_array(adjacency(draft.z, draft.pos)[0].numpy())
    needed = set(networkx.articulation_points(graph))
    assert movable_atoms(draft)[0].tolist() == [atom not in needed for atom in range(size)]


def test_surprising_scaffolds_are_begun_anew():
    """Fewer distances are improbable; what surprised nobody is as it was; any batches do."""
    model = SchNetGen.from_pretrained("c7h10o2")
    all_kept, few, other = (
        generate(model, "C7H10O2", 24, seed=4, jobs=1, max_surprise=most, batch_size=size)
        for most, size in ((np.inf, 24), (0.3, 24), (0.3, 7))
    )
    same = [
        bool((a.numbers == b.numbers).all()) and np.allclose(a.positions, b.positions, atol=1e-4)
        for a, b in zip(all_kept, few, strict=True)
    ]
    assert 2 < sum(same) < 22
    for a, b in zip(few, other, strict=True):
        assert (a.numbers == b.numbers).all()
        assert abs(a.positions - b.positions).max() < 1e-3
    surprise = []
    for molecules in (all_kept, few):
        z = torch.tensor(np.stack([m.numbers for m in molecules]))
        state = State.start(z, torch.tensor(np.stack([m.positions for m in molecules])).float())
        # Their states are in the bonds of the finished molecules.
        batch = Batch.from_data_list(as_data(molecules))
        state.valence_state.copy_(valence_states(batch, StateTable(model.config.states)).view_as(z))
        index = torch.arange(24)
        restart, states = torch.zeros_like(index), model.config.states
        draft = Draft(state, 9, index, 0, SamplingConfig(), restart, states=states)
        surprise.append(float(resample(Builder(model, draft)).mean()))
    assert surprise[1] < 0.7 * surprise[0]
