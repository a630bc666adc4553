"""Scaffolds placed once more by their own model."""

from types import SimpleNamespace

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
from schnetgen_pyg.data.conversion import as_data
from schnetgen_pyg.generator.sampling import gibbs
from schnetgen_pyg.generator.sampling.builder import Builder
from schnetgen_pyg.generator.sampling.config import SamplingConfig
from schnetgen_pyg.generator.sampling.gibbs import _movable, revise
from schnetgen_pyg.generator.sampling.state import State
from schnetgen_pyg.generator.valence_states import environments
from schnetgen_pyg.potentials.prediction import predict
from tests.conftest import small_model

PARTS = {"focus": True, "next_type": True, "hydrogens": True, "environments": True}


def bonds(atoms):
    z, pos = torch.tensor(atoms.numbers), torch.tensor(atoms.positions)
    return adjacency(z.unsqueeze(0), pos.unsqueeze(0))[0]


def scaffold(model, *structures, **config):
    """A builder with these molecules' heavy atoms, which come first."""
    z = torch.tensor(np.stack([s.numbers for s in structures]))
    pos = torch.tensor(np.stack([s.positions for s in structures])).float()
    placed = int((z[0] != 1).sum())
    index = torch.arange(len(z))
    return Builder(model.eval(), State.start(z, pos), placed, index, 3, SamplingConfig(**config))


@pytest.mark.parametrize("parts", [{"focus": True}, PARTS], ids=["focus", "all"])
@pytest.mark.parametrize("representation", ["schnet", "painn"])
def test_bonds_order_and_batches(parts, representation):
    model = small_model(order="bonded", representation=representation, **parts)
    first = generate(model, "C4H6O", 7, seed=3, revisions=0)
    revised = generate(model, "C4H6O", 7, seed=3, revisions=2)
    other = generate(model, "C4H6O", 7, seed=3, revisions=2, batch_size=3)
    for a, b, c in zip(first, revised, other, strict=True):
        assert (a.numbers[:5] == b.numbers[:5]).all()
        assert (bonds(a)[:5, :5] == bonds(b)[:5, :5]).all()
        assert abs(a.positions - b.positions).max() > 1e-3
        assert abs(b.positions - c.positions).max() < 1e-5
        assert "log_prob" in a.info
        assert "log_prob" not in b.info


def test_fragment_stays_where_it_is():
    model = small_model(order="bonded", **PARTS)
    fragment = molecule("CH3CH2OH")[:3]
    fragment.translate([5.0, -3.0, 1.0])
    for atoms in generate(model, "C4H8O", 4, fragment=fragment, revisions=3):
        assert abs(atoms.positions[:3] - fragment.positions).max() < 1e-5


def test_only_atoms_that_connect_nothing_are_taken_out():
    model = small_model(order="bonded", **PARTS)
    propane, ring = molecule("C3H8"), molecule("C3H6_D3h")
    builder = scaffold(model, propane)
    chain = bonds(propane)[:3, :3].sum(1) == 2
    assert _movable(builder, 0).tolist() == [(~chain).tolist()]
    before = builder.pos.clone()
    revise(builder)
    moved = (builder.pos - before).norm(dim=2)[0]
    assert (moved[:3] > 0).tolist() == (~chain).tolist()
    assert (moved[3:] == 0).all()
    assert _movable(scaffold(model, ring), 1).tolist() == [[False, True, True]]


@pytest.mark.parametrize("representation", ["schnet", "painn"])
def test_kept_filters_follow_the_atoms(representation):
    """Features after any exchange of atoms are those of a builder that knows nothing yet, also
    where only some of the molecules go on."""
    model = small_model(order="bonded", representation=representation, **PARTS)
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
            place = torch.randint(5, (part.count,), generator=generator)
            before = part.pos[part.rows, place].clone()
            part.to_last(place)
            assert (part.pos[:, 4] == before).all()
            assert (builder.pos[: part.count] == part.pos).all()
            expected = Builder(model, part.state, 5, part.index, 3, part.config).features(4)[0]
            assert torch.allclose(part.features(4)[0], expected, atol=1e-5)
            part.pos[:, 4] += 0.05


def test_strain_is_released():
    """Potential energies, by a model that knows nothing of the generator, fall."""
    model = SchNetGen.from_pretrained("c7h10o2")
    first, revised = (generate(model, "C7H10O2", 32, seed=1, revisions=k) for k in (0, 2))
    potential = Potential.from_pretrained("c7h10o2-painn-potential")
    before, after = (
        [float(data.energy) for data in predict(potential, structures)]
        for structures in (first, revised)
    )
    assert np.mean(np.subtract(before, after)) > 0.05  # eV


@settings(deadline=None, max_examples=30)
@given(st.integers(3, 10), st.integers(0, 10_000))
def test_movable_atoms_are_no_articulation_points(size, seed):
    graph = networkx.random_labeled_tree(size, seed=seed)
    graph.add_edges_from(networkx.gnp_random_graph(size, 1.0 / size, seed=seed).edges)
    matrix = torch.tensor(networkx.to_numpy_array(graph, range(size))).bool().unsqueeze(0)
    builder = SimpleNamespace(
        placed=size, count=1, z=torch.ones(1, size), pos=torch.zeros(1, size, 3)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gibbs, "adjacency", lambda z, pos: matrix)
        movable = _movable(builder, 0)[0]
    needed = set(networkx.articulation_points(graph))
    assert movable.tolist() == [atom not in needed for atom in range(size)]


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
        # Their environments are in the bonds of the finished molecules.
        batch = Batch.from_data_list(as_data(molecules))
        state.environment.copy_(environments(batch).view_as(z))
        builder = Builder(model, state, 9, torch.arange(24), 0, SamplingConfig())
        surprise.append(float(revise(builder).mean()))
    assert surprise[1] < 0.7 * surprise[0]
