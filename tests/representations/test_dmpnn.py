"""Directed messages between bonds."""

import pytest
import torch

from schnetgen_pyg.representations.dmpnn import DMPNN, reverse

CHANNELS = 8


def path(num_atoms):
    """Atoms in a row: what they and their bonds are."""
    one = torch.arange(num_atoms - 1)
    edge_index = torch.stack([torch.cat([one, one + 1]), torch.cat([one + 1, one])])
    generator = torch.Generator().manual_seed(num_atoms)
    bonds = torch.randn(num_atoms - 1, CHANNELS, generator=generator).repeat(2, 1)
    return torch.randn(num_atoms, CHANNELS, generator=generator), edge_index, bonds


def vectors(network, x, edge_index, bonds):
    return network(x, edge_index, bonds, torch.zeros(len(x), dtype=torch.long))


def test_as_the_equations_of_the_paper_say():
    """Edge by edge, with loops (equations 1 to 6 of Yang et al.)."""
    torch.manual_seed(0)
    network = DMPNN(CHANNELS, 3)
    x, edge_index, bonds = path(5)
    ring = torch.tensor([[0, 3], [3, 0]])
    edge_index, bonds = torch.cat([edge_index, ring], 1), torch.cat([bonds, bonds[:2]])
    edges = dict(zip(map(tuple, edge_index.T.tolist()), bonds, strict=True))
    start = {(v, w): network.first(torch.cat([x[v], e])) for (v, w), e in edges.items()}
    message = {edge: value.relu() for edge, value in start.items()}
    for update in network.updates:
        message = {
            (v, w): (
                start[v, w]
                + update(
                    sum(
                        [m for (k, t), m in message.items() if t == v and k != w],
                        x.new_zeros(1, CHANNELS),
                    )
                )
            ).relu()
            for v, w in edges
        }
    message = {edge: value.view(-1) for edge, value in message.items()}
    told = [
        network.last(torch.cat([x[v], sum(m for (_, t), m in message.items() if t == v)])).relu()
        for v in range(len(x))
    ]
    torch.testing.assert_close(vectors(network, x, edge_index, bonds), torch.stack(told))


def test_what_an_atom_said_does_not_come_back():
    """Of two atoms neither hears of itself, however many steps there are; of three the outer ones
    hear of each other."""
    torch.manual_seed(0)
    network = DMPNN(CHANNELS, 4)
    two, three = (vectors(network, *path(number)) for number in (2, 3))
    with torch.no_grad():
        for update in network.updates:
            update.weight.normal_()
    torch.testing.assert_close(vectors(network, *path(2)), two)
    assert (vectors(network, *path(3)) - three).abs().max() > 1e-3


def test_the_order_of_the_bonds_does_not_matter():
    torch.manual_seed(0)
    network = DMPNN(CHANNELS, 3)
    x, edge_index, bonds = path(6)
    found = vectors(network, x, edge_index, bonds)
    order = torch.randperm(edge_index.shape[1])
    torch.testing.assert_close(vectors(network, x, edge_index[:, order], bonds[order]), found)


@pytest.mark.parametrize(
    "edges",
    [
        [(0, 1), (1, 0), (1, 2), (2, 1)],
        [(0, 1), (2, 1), (1, 0), (1, 2), (0, 1), (1, 0)],  # two edges between 0 and 1
        [],
    ],
)
def test_the_other_direction(edges):
    edge_index = torch.tensor(edges, dtype=torch.long).view(-1, 2).T
    back = reverse(edge_index, 3)
    assert torch.equal(edge_index[:, back], edge_index.flip(0))
    assert torch.equal(back[back], torch.arange(len(edges)))
