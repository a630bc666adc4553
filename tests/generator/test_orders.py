import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Data

from schnetgen_pyg.generator.orders import reorder, scaffold_first
from tests.conftest import batch_of


@settings(deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=6), st.integers(0, 5))
def test_hydrogens_last_and_molecules_kept(sizes, seed):
    batch = batch_of(sizes, seed)
    order = scaffold_first(batch, torch.Generator().manual_seed(seed))
    assert torch.equal(order.sort().values, torch.arange(batch.num_nodes))
    assert torch.equal(batch.batch[order], batch.batch)
    for molecule in range(batch.num_graphs):
        hydrogen = (reorder(batch, order).z == 1)[batch.ptr[molecule] : batch.ptr[molecule + 1]]
        assert torch.equal(hydrogen, hydrogen.sort().values)


def test_every_order_is_equally_likely():
    batch = Data(z=torch.tensor([6, 6, 6]), batch=torch.zeros(3, dtype=torch.long))
    generator = torch.Generator().manual_seed(0)
    orders = torch.stack([scaffold_first(batch, generator) for _ in range(6000)])
    _, counts = orders.unique(dim=0, return_counts=True)
    chi2 = ((counts - 1000.0) ** 2 / 1000).sum()
    assert len(counts) == 6
    assert chi2 < 20.5  # 0.1 % of chi2 with 5 degrees of freedom


def test_seeded():
    batch = batch_of([9, 9])
    a, b, c = (scaffold_first(batch, torch.Generator().manual_seed(s)) for s in (3, 3, 4))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
