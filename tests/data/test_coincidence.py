import torch

from schnetgen_pyg.data.coincidence import coincident_atoms


def test_the_nearest_two_are_found_whatever_the_size():
    generator = torch.Generator().manual_seed(0)
    for size in (2, 5, 3000):
        pos = 50.0 * torch.rand(size, 3, generator=generator)
        if size < 3000:
            assert coincident_atoms(pos) is None
        pos[size - 1] = pos[0] + torch.tensor([0.0, 0.0, 0.01])
        assert coincident_atoms(pos)[:2] == (0, size - 1)
    assert coincident_atoms(torch.zeros(1, 3)) is None
    assert coincident_atoms(torch.zeros(2000, 3)) is not None


def test_the_shortest_bond_there_is_passes():
    assert coincident_atoms(torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 0.7]])) is None
