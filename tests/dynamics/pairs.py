"""Potentials of pairs, whose motion is known, and structures for them."""

import ase
import numpy as np
import torch

from schnetgen_pyg.potentials.model import Potential

#: eV/Å² and Å of a spring.
STIFFNESS, LENGTH = 30.0, 1.5


def spring(distance):
    return 0.5 * STIFFNESS * (distance - LENGTH).square()


def lennard_jones(distance):
    """Smoothly zero at the cutoff of `Pairs`."""
    ratio = (2.8 / distance) ** 6
    fade = 0.5 * (torch.cos(torch.pi * distance / Pairs.cutoff) + 1)
    return 0.2 * (ratio.square() - ratio) * fade


class Pairs(torch.nn.Module):
    """A representation of one channel: the half of the energies of an atom's pairs."""

    hidden_channels, cutoff = 1, 6.0

    def __init__(self, energy):
        super().__init__()
        self.energy = energy
        self.unused = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self, z, graph):
        halves = 0.5 * self.energy(graph.distance)
        x = halves.new_zeros(z.numel())
        return x.index_add(0, graph.edges[1], graph.to_edges(halves)).unsqueeze(1)


class Sum(torch.nn.Module):
    """A read-out that adds them up."""

    fitted = True

    def forward(self, features):
        total = features.x.new_zeros(features.num_graphs)
        return total.index_add(0, features.batch, features.x[:, 0])


def of_pairs(energy=spring) -> Potential:
    potential = Potential(Pairs(energy), (6, 8)).double().eval()
    potential.heads["energy"] = Sum()
    return potential


def triangle(seed=0) -> ase.Atoms:
    """Three atoms near the minimum of springs."""
    places = np.array([[0, 0, 0], [LENGTH, 0, 0], [LENGTH / 2, LENGTH * 0.75**0.5, 0]])
    return ase.Atoms("COC", places + np.random.default_rng(seed).normal(0, 0.02, (3, 3)))


def lattice() -> ase.Atoms:
    """Eight atoms in a cell that is too large for `lennard_jones`."""
    return ase.Atoms("C", cell=[3.4] * 3, pbc=True).repeat(2)
