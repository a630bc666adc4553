"""A list of neighbours with a skin gives the graphs of a fresh search."""

import threading

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from schnetgen_pyg.accelerated import disabled
from schnetgen_pyg.graphs import skin
from schnetgen_pyg.graphs.neighbors import find_pairs, neighbor_graph
from schnetgen_pyg.graphs.skin import SkinNeighbors
from tests.conftest import batch_of


def as_set(graph):
    """Pairs with their vectors, rounded: two images of an atom are two pairs."""
    count = len(graph.distance)
    ends = graph.edges[:, :count].T.tolist()
    return sorted(zip(ends, graph.vector.mul(1e3).round().int().tolist(), strict=True))


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.floats(0.0, 0.4), min_size=1, max_size=5),
    st.sampled_from([None, 2.0, 4.0]),
    st.booleans(),
    st.integers(0, 1000),
)
def test_any_walk(steps, cutoff, periodic, seed):
    """Short and long steps, other structures in between, with and without a cell."""
    torch.manual_seed(seed)
    batch, other = batch_of([4, 3], seed), batch_of([5, 2], seed + 1)
    cell = None
    if periodic and cutoff is not None:
        cell = 6.0 * torch.eye(3).repeat(2, 1, 1)
    neighbors, pos = SkinNeighbors(0.5), batch.pos.clone()
    for number, step in enumerate(steps):
        pos = pos + step * torch.nn.functional.normalize(torch.randn_like(pos), dim=1)
        found = neighbors.graph(pos, batch.ptr, cutoff, cell)
        assert as_set(found) == as_set(neighbor_graph(pos, batch.ptr, cutoff, cell))
        if number % 3 == 2:
            neighbors.graph(other.pos, other.ptr, cutoff, None)


def test_two_atoms_that_approach_each_other():
    """From beyond the skin to within the cutoff, neither by a whole skin."""
    neighbors, ptr, cutoff = SkinNeighbors(0.5), torch.tensor([0, 2]), 2.5
    for apart in (cutoff + 0.55, cutoff + 0.55, cutoff + 0.55, cutoff - 0.05):
        pos = torch.tensor([[-apart / 2, 0, 0], [apart / 2, 0, 0]])
        found = neighbors.graph(pos, ptr, cutoff, None)
        assert found.distance.numel() == (apart < cutoff)


def test_a_slow_drift():
    """Of one atom, in steps that are each within the skin."""
    batch, neighbors = batch_of([7]), SkinNeighbors(0.3)
    pos = batch.pos.clone()
    for _ in range(40):
        pos[3, 0] += 0.05
        found = neighbors.graph(pos, batch.ptr, 2.5, None)
        assert as_set(found) == as_set(neighbor_graph(pos, batch.ptr, 2.5))


def test_threads_that_share_it():
    """Each gets the pairs of its own structure, not those that another has just listed."""
    neighbors, ptr, wrong = SkinNeighbors(), torch.tensor([0, 8]), []
    places = [3.0 * torch.rand(8, 3) for _ in range(6)]

    def call(pos: torch.Tensor) -> None:
        expected = as_set(neighbor_graph(pos, ptr, 2.0))
        for _ in range(200):
            try:
                same = as_set(neighbors.graph(pos, ptr, 2.0, None)) == expected
            except (AttributeError, IndexError, RuntimeError):
                same = False
            wrong.extend([] if same else [pos])

    threads = [threading.Thread(target=call, args=(pos,)) for pos in places]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_list_is_made_at_the_second_call(monkeypatch):
    """Structures that come once cost nothing more; then one list serves many calls."""
    reaches = []

    def find(pos, ptr, reach, cell):
        reaches.append(reach)
        return find_pairs(pos, ptr, reach, cell)

    monkeypatch.setattr(skin, "find_pairs", find)
    neighbors, batch = SkinNeighbors(0.5), batch_of([7])
    for _ in range(5):
        neighbors.graph(batch.pos, batch.ptr, 2.5, None)
    assert reaches == [3.0]


def test_without_a_skin():
    pos, ptr, neighbors = batch_of([7]).pos, torch.tensor([0, 7]), SkinNeighbors()
    neighbors.graph(pos + 9.0, ptr, 2.5, None)
    with disabled("skin"):
        assert as_set(neighbors.graph(pos, ptr, 2.5, None)) == as_set(neighbor_graph(pos, ptr, 2.5))


def test_gradients_reach_positions_and_cell():
    batch = batch_of([4])
    pos, cell = batch.pos.requires_grad_(), (6.0 * torch.eye(3)[None]).requires_grad_()
    neighbors = SkinNeighbors()
    for _ in range(3):
        graph = neighbors.graph(pos, batch.ptr, 4.0, cell)
        found = torch.autograd.grad(graph.distance.sum(), (pos, cell))
        fresh = neighbor_graph(pos, batch.ptr, 4.0, cell)
        expected = torch.autograd.grad(fresh.distance.sum(), (pos, cell))
        assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(found, expected, strict=True))


def test_the_order_is_that_of_a_fresh_search():
    """In a cell of many neighbours, too: a run that is continued sums in the same order."""
    torch.manual_seed(0)
    pos, ptr = 15 * torch.rand(200, 3), torch.tensor([0, 200])
    cell, neighbors = 15 * torch.eye(3).unsqueeze(0), SkinNeighbors(0.5)
    for _ in range(3):
        pos = pos + 0.05 * torch.rand(200, 3)
        found, fresh = neighbors.graph(pos, ptr, 4.0, cell), neighbor_graph(pos, ptr, 4.0, cell)
        assert torch.equal(found.edges, fresh.edges)
        assert torch.equal(found.vector, fresh.vector)
