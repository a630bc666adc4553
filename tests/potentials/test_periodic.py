"""Periodic structures: pairs, energies, stress."""

import ase
import ase.build
import numpy as np
import pytest
import torch
from ase.calculators.fd import calculate_numerical_stress
from torch_geometric.data import Batch, Data

from schnetgen_pyg.graphs.neighbors import neighbor_graph, periodic_pairs
from schnetgen_pyg.potentials.calculator import PotentialCalculator
from tests.conftest import batch_of
from tests.potentials.small import crystal, numerical, small_potential


def test_periodic_pairs_against_a_loop():
    data, cutoff = crystal(), 4.0
    ptr = torch.tensor([0, 2])
    pairs, shift = periodic_pairs(data.pos, ptr, data.cell, cutoff)
    found = {(int(i), int(j), *map(int, s)) for (i, j), s in zip(pairs.T, shift, strict=True)}
    assert len(found) == pairs.shape[1]
    for i, j, *s in found:
        assert (j, i, *(-k for k in s)) not in found
    count = 0
    for i in range(2):
        for j in range(2):
            for s in np.ndindex(9, 9, 9):
                n = torch.tensor(s).double() - 4
                distance = (data.pos[i] - data.pos[j] + n @ data.cell[0]).norm()
                count += bool(1e-9 < distance < cutoff)
    assert pairs.shape[1] == count / 2
    graph = neighbor_graph(data.pos, ptr, cutoff, data.cell)
    assert float(graph.distance.max()) < cutoff


def test_supercell():
    """A supercell has the energy of its cells, the forces of their atoms and the same stress."""
    potential, small, large = small_potential(), crystal(), crystal((2, 1, 2))
    batch = torch.repeat_interleave(torch.tensor([2, 8]))
    both = potential(
        torch.cat([small.z, large.z]),
        torch.cat([small.pos, large.pos]),
        batch,
        torch.cat([small.cell, large.cell]),
        compute_forces=True,
        compute_stress=True,
    )
    assert torch.allclose(4 * both.energy[0], both.energy[1])
    assert torch.allclose(both.forces[:2].repeat(4, 1), both.forces[2:])
    assert torch.allclose(both.stress[0], both.stress[1])


def test_one_dimensional_periodicity():
    potential, data = small_potential(), crystal()
    data.cell[0, 1:] = 0.0
    energy = potential(data.z, data.pos, cell=data.cell).energy
    ring = ase.Atoms(data.z.numpy(), data.pos.numpy(), cell=data.cell[0].numpy(), pbc=(1, 0, 0))
    long = ring.repeat((5, 1, 1))
    cell = torch.tensor(long.cell.array)
    energies = potential(torch.tensor(long.numbers), torch.tensor(long.positions), cell=cell)
    assert torch.allclose(energies.energy, 5 * energy)


def test_stress_by_finite_strain():
    potential, data = small_potential(), crystal()
    found = potential(data.z, data.pos, cell=data.cell, compute_stress=True).stress[0]

    def strained(strain: torch.Tensor) -> torch.Tensor:
        change = torch.eye(3).double() + strain
        return potential(data.z, data.pos @ change.T, cell=data.cell @ change.T).energy

    with torch.no_grad():
        slope = numerical(strained, torch.zeros(3, 3).double())
    volume = float(torch.linalg.det(data.cell[0]).abs())
    assert torch.allclose(found, slope / volume, atol=1e-7)


def test_batched_cells_and_molecules():
    """A batch of a crystal and a molecule: each as if it were alone."""
    potential, data = small_potential(), crystal()
    molecule = batch_of([5])
    batch = torch.repeat_interleave(torch.tensor([2, 5]))
    both = Batch.from_data_list([Data(z=data.z), Data(z=molecule.z)])
    energy = potential(
        both.z,
        torch.cat([data.pos, molecule.pos.double()]),
        batch,
        torch.cat([data.cell, torch.zeros(1, 3, 3)]),
    ).energy
    assert torch.allclose(energy[0], potential(data.z, data.pos, cell=data.cell).energy)
    assert torch.allclose(energy[1], potential(molecule.z, molecule.pos.double()).energy)


def test_calculator_of_a_crystal():
    atoms = ase.build.bulk("C", cubic=True)
    atoms.rattle(0.05, seed=0)
    atoms.calc = PotentialCalculator(small_potential())
    assert np.allclose(atoms.get_stress(), calculate_numerical_stress(atoms, eps=1e-5), atol=1e-6)
    atoms.pbc = (True, True, False)
    with pytest.raises(NotImplementedError):
        atoms.get_stress()
