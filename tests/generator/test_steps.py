"""Partial molecules and their graphs against loops over molecules, steps and atoms."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Data
from torch_geometric.utils import scatter

from schnetgen_pyg.accelerated import padding as layouts
from schnetgen_pyg.generator.steps import (
    all_steps,
    new_pairs,
    partial_molecules,
    random_steps,
    scaffold_steps,
    step_graph,
)
from schnetgen_pyg.representations import REPRESENTATIONS
from tests.conftest import batch_of

SIZES = st.lists(st.integers(1, 8), min_size=1, max_size=4).filter(lambda s: max(s) > 1)


@settings(deadline=None)
@given(SIZES)
def test_all_partial_molecules(sizes):
    batch = batch_of(sizes)
    partial = partial_molecules(batch, *all_steps(batch.ptr))
    step = 0
    for molecule, size in enumerate(sizes):
        first = int(batch.ptr[molecule])
        for placed in range(1, size):
            nodes = slice(int(partial.ptr[step]), int(partial.ptr[step + 1]))
            assert torch.equal(partial.z[nodes], batch.z[first : first + placed])
            assert torch.equal(partial.pos[nodes], batch.pos[first : first + placed])
            assert (partial.batch[nodes] == step).all()
            assert int(partial.next_atom[step]) == first + placed
            assert int(partial.next_z[step]) == int(batch.z[first + placed])
            assert int(partial.molecule[step]) == molecule
            step += 1
    assert step == partial.ptr.numel() - 1


@settings(deadline=None)
@given(SIZES, st.integers(1, 5), st.integers(0, 3))
def test_random_steps_are_distinct_and_ascending(sizes, num, seed):
    ptr = batch_of(sizes).ptr
    molecule, size = random_steps(ptr, num, torch.Generator().manual_seed(seed))
    keys = list(zip(molecule.tolist(), size.tolist(), strict=True))
    assert keys == sorted(set(keys))
    for index, atoms in enumerate(sizes):
        chosen = [s for m, s in keys if m == index]
        assert len(chosen) == min(num, atoms - 1)
        assert all(1 <= s < atoms for s in chosen)


def test_random_steps_reach_every_step():
    ptr = torch.tensor([0, 5])
    generator = torch.Generator().manual_seed(0)
    sizes = torch.cat([random_steps(ptr, 1, generator)[1] for _ in range(400)])
    assert sizes.bincount(minlength=5)[1:].min() > 60


def naive_edges(batch, partial, cutoff):
    edges = {}
    for step in range(partial.ptr.numel() - 1):
        nodes = range(int(partial.ptr[step]), int(partial.ptr[step + 1]))
        for i in nodes:
            for j in nodes:
                distance = float((partial.pos[i] - partial.pos[j]).norm())
                if i != j and (cutoff is None or distance < cutoff):
                    edges[i, j] = distance
    return edges


@settings(deadline=None, max_examples=30)
@given(SIZES, st.sampled_from([None, 2.5]), st.booleans(), st.integers(0, 3))
def test_edges_against_a_loop(sizes, cutoff, some, seed):
    batch = batch_of(sizes, seed)
    steps = random_steps(batch.ptr, 2) if some else all_steps(batch.ptr)
    partial = partial_molecules(batch, *steps)
    graph = step_graph(batch, partial, cutoff, dense=False)
    found = {
        (int(i), int(j)): float(graph.distance[p])
        for (i, j), p in zip(graph.edge_index.T, graph.edge_pair, strict=True)
    }
    expected = naive_edges(batch, partial, cutoff)
    assert found.keys() == expected.keys()
    assert len(found) == graph.edge_index.shape[1]
    assert all(abs(found[key] - expected[key]) < 1e-5 for key in found)


@settings(deadline=None, max_examples=30)
@given(SIZES, st.sampled_from([None, 2.5]), st.booleans(), st.integers(0, 3))
def test_padded_blocks_sum_the_same_messages(sizes, cutoff, some, seed):
    batch = batch_of(sizes, seed)
    partial = partial_molecules(
        batch, *(random_steps(batch.ptr, 2) if some else all_steps(batch.ptr))
    )
    edges = step_graph(batch, partial, cutoff, dense=False)
    blocks = step_graph(batch, partial, cutoff, dense=True)
    x = torch.randn(partial.z.numel(), 5)
    weight = torch.randn(edges.distance.numel(), 5)
    source, target = edges.edge_index
    messages = x[source] * weight[edges.edge_pair]
    expected = scatter(messages, target, dim=0, dim_size=len(x), reduce="sum")
    assert torch.equal(edges.distance, blocks.distance)
    result = blocks.dense.aggregate(x, blocks.dense.spread(weight))
    assert torch.allclose(result, expected, atol=1e-5)


@pytest.mark.parametrize("name", ["schnet", "painn"])
@pytest.mark.parametrize("cutoff", [None, 2.5])
@pytest.mark.parametrize("way", ["one step", "sums", "products"])
def test_padded_blocks_give_the_same_features_and_gradients(name, cutoff, way, monkeypatch):
    monkeypatch.setattr(layouts, "by_products", lambda like: way == "products")
    one_step = way == "one step"
    batch = batch_of([7, 3])
    steps = (torch.arange(2), torch.tensor([5, 2])) if one_step else all_steps(batch.ptr)
    partial = partial_molecules(batch, *steps)
    network = REPRESENTATIONS[name](
        hidden_channels=8, num_interactions=2, cutoff=cutoff, max_distance=6.0
    )
    extra = torch.randn(partial.z.numel(), 8)
    results = []
    for dense in (False, True):
        graph = step_graph(batch, partial, cutoff, dense=dense)
        network.zero_grad()
        x = network(partial.z, graph, extra=extra)
        x.square().sum().backward()
        results.append([x, *(p.grad.clone() for p in network.parameters() if p.grad is not None)])
    for edges, blocks in zip(*results, strict=True):
        assert torch.allclose(edges, blocks, rtol=1e-4, atol=1e-4)


def test_a_pair_is_measured_once():
    """171 pairs of 19 atoms less those with the atom placed last, not 1,938 directed edges."""
    batch = batch_of([19])
    partial = partial_molecules(batch, *all_steps(batch.ptr))
    graph = step_graph(batch, partial, dense=False)
    assert graph.edge_index.shape[1] == 1938
    assert graph.distance.numel() == 171 - 18


def test_new_pairs_are_those_of_new_places():
    pos = torch.randn(2, 5, 3)
    graph = new_pairs(pos, 3)
    ends = [(later, earlier) for later in (3, 4) for earlier in range(later)]
    expected = torch.stack([pos[k, i] - pos[k, j] for k in range(2) for i, j in ends])
    assert torch.allclose(graph.vector, expected)
    assert graph.dense.place.T.tolist() == [*map(list, ends)] * 2
    whole = new_pairs(pos, 0)
    assert whole.distance.numel() == 2 * 10
    assert graph.dense.full


@pytest.mark.parametrize("sizes", [[1], [1, 1]])
def test_molecules_without_steps(sizes):
    batch = batch_of(sizes)
    partial = partial_molecules(batch, *all_steps(batch.ptr))
    assert partial.z.numel() == 0
    assert step_graph(batch, partial).distance.numel() == 0


@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(0, 5)), min_size=1, max_size=5),
    st.integers(1, 4),
)
def test_scaffold_steps(numbers, num):
    """All steps that place a heavy atom, and some of those that place a hydrogen."""
    z = torch.tensor(
        [6 - 5 * (k >= heavy) for heavy, light in numbers for k in range(heavy + light)]
    )
    ptr = torch.tensor([0] + [heavy + light for heavy, light in numbers]).cumsum(0)
    steps = scaffold_steps(Data(z=z, ptr=ptr), num, torch.Generator().manual_seed(0))
    for row, (heavy, light) in enumerate(numbers):
        sizes = steps[1][steps[0] == row].tolist()
        assert sizes == sorted(set(sizes))
        assert [size for size in sizes if size < heavy] == list(range(1, heavy))
        later = [size for size in sizes if size >= heavy]
        assert len(later) == min(num, light)
        assert all(size < heavy + light for size in later)
