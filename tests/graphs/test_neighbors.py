from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schnetgen_pyg.graphs import neighbors as graphs
from tests.conftest import batch_of


@pytest.fixture(params=["torch", "torch-cluster"])
def search(request, monkeypatch):
    """Both ways to find neighbours: in plain torch, and by torch-cluster where it is installed."""
    if request.param == "torch":
        monkeypatch.setattr(graphs, "torch_cluster", None)
    else:
        pytest.importorskip("torch_cluster")


SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=5)


def naive_pairs(batch, cutoff):
    found = []
    for start, stop in zip(batch.ptr[:-1].tolist(), batch.ptr[1:].tolist(), strict=True):
        for b, a in combinations(range(start, stop), 2):
            if cutoff is None or (batch.pos[a] - batch.pos[b]).norm() < cutoff:
                found.append((a, b))
    return sorted(found)


@pytest.mark.parametrize("cutoff", [None, 1.5, 3.0, 100.0])
@pytest.mark.parametrize("sizes", [[1], [5], [1, 7, 3], [40, 60]])
def test_pairs_against_a_loop(search, sizes, cutoff):
    batch = batch_of(sizes)
    pairs = graphs.radius_pairs(batch.pos, batch.ptr, cutoff)
    assert [tuple(p) for p in pairs.T.tolist()] == naive_pairs(batch, cutoff)


def test_nothing_is_truncated(search):
    """More than the 32 neighbours at which other radius graphs stop."""
    batch = batch_of([150], spread=0.5)
    pairs = graphs.radius_pairs(batch.pos, batch.ptr, 50.0)
    assert pairs.shape[1] == 150 * 149 // 2


def test_extension_without_the_device(monkeypatch):
    """torch-cluster built for CPUs only refuses tensors on a GPU: pairs are searched in torch."""

    class ForOtherDevices:
        @staticmethod
        def radius_graph(*_, **__):
            raise RuntimeError("Not compiled with CUDA support")

    monkeypatch.setattr(graphs, "torch_cluster", ForOtherDevices)
    graphs._cluster_serves.cache_clear()
    batch = batch_of([5, 8])
    pairs = graphs.radius_pairs(batch.pos, batch.ptr, 2.0)
    graphs._cluster_serves.cache_clear()
    assert [tuple(p) for p in pairs.T.tolist()] == naive_pairs(batch, 2.0)


@settings(deadline=None)
@given(SIZES)
def test_place_of_a_complete_pair(sizes):
    batch = batch_of(sizes)
    pairs = graphs.complete_pairs(batch.ptr)
    start = 0
    for molecule, size in enumerate(sizes):
        for b, a in combinations(range(size), 2):
            place = start + a * (a - 1) // 2 + b
            assert (pairs[:, place] - batch.ptr[molecule]).tolist() == [a, b]
        start += size * (size - 1) // 2
