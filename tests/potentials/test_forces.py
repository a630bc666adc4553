"""Energies and forces: derivatives, symmetries, sizes."""

import numpy as np
import pytest
import torch
from ase import units
from ase.md.verlet import VelocityVerlet

from schnetgen_pyg.potentials.calculator import PotentialCalculator
from schnetgen_pyg.potentials.model import Potential
from schnetgen_pyg.representations import REPRESENTATIONS
from tests.conftest import METHANE, batch_of
from tests.potentials.small import numerical, small_potential


def test_forces_are_minus_the_slope():
    potential, batch = small_potential(), batch_of([7]).to_data_list()[0]
    pos = batch.pos.double()
    forces = potential(batch.z, pos, compute_forces=True).forces
    with torch.no_grad():
        slope = numerical(lambda x: potential(batch.z, x).energy, pos)
    assert torch.allclose(forces, -slope, atol=1e-6 * slope.abs().max())


def test_forces_by_positions_and_by_vectors_agree():
    """The energy is differentiable by the positions; forces need no gradient of them."""
    potential, batch = small_potential(), batch_of([7, 5])
    pos = batch.pos.double().requires_grad_()
    energy = potential(batch.z, pos, batch.batch).energy
    (slope,) = torch.autograd.grad(energy.sum(), pos)
    with torch.no_grad():
        forces = potential(batch.z, batch.pos.double(), batch.batch, compute_forces=True).forces
    assert torch.allclose(forces, -slope)


def test_forces_are_differentiable():
    """Second derivatives by the weights against finite differences of the weights."""
    potential, batch = small_potential().train(), batch_of([6])
    weight = potential.heads["energy"].readout[0].weight

    def loss() -> torch.Tensor:
        result = potential(batch.z, batch.pos.double(), compute_forces=True)
        return result.forces.square().sum() + result.energy.sum()

    (slope,) = torch.autograd.grad(loss(), weight)
    step = 1e-5
    with torch.no_grad():
        weight[0, 0] += step
        higher = float(loss())
        weight[0, 0] -= 2 * step
        lower = float(loss())
    assert float(slope[0, 0]) == pytest.approx((higher - lower) / (2 * step), rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_batch_equals_single(dtype):
    potential, batch = small_potential().to(dtype), batch_of([5, 1, 8, 2])
    pos = batch.pos.to(dtype)
    whole = potential(batch.z, pos, batch.batch, compute_forces=True)
    for index in range(4):
        atoms = batch.batch == index
        single = potential(batch.z[atoms], pos[atoms], compute_forces=True)
        assert torch.allclose(single.energy, whole.energy[index], atol=1e-5)
        assert torch.allclose(single.forces, whole.forces[atoms], atol=1e-4)
    assert whole.energy.dtype == torch.float64
    assert whole.forces.dtype == dtype


def test_distant_fragments_add_up():
    potential, batch = small_potential(), batch_of([5, 4])
    parts = potential(batch.z, batch.pos.double(), batch.batch).energy
    moved = batch.pos.double() + 100.0 * batch.batch[:, None]
    assert torch.allclose(potential(batch.z, moved).energy, parts.sum())


def test_symmetries():
    potential, batch = small_potential(), batch_of([9])
    pos = batch.pos.double()
    rotation = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64)).Q
    order = torch.randperm(9)
    before = potential(batch.z, pos, compute_forces=True)
    after = potential(batch.z[order], (pos @ rotation.T + 3.0)[order], compute_forces=True)
    assert torch.allclose(before.energy, after.energy)
    assert torch.allclose((before.forces @ rotation.T)[order], after.forces)


def test_atom_alone_has_its_reference_only_from_the_table():
    potential = small_potential()
    apart = potential(torch.tensor([6, 6]), torch.tensor([[0.0, 0, 0], [50.0, 0, 0]]).double())
    alone = potential(torch.tensor([6]), torch.zeros(1, 3).double(), compute_forces=True)
    assert torch.allclose(apart.energy, 2 * alone.energy)
    assert torch.equal(alone.forces, torch.zeros(1, 3).double())


def test_energy_is_conserved():
    """NVE, 100 fs in a random smooth potential."""
    atoms = METHANE.copy()
    atoms.calc = PotentialCalculator(small_potential(hidden_channels=8))
    rng = np.random.default_rng(0)
    atoms.set_momenta(rng.normal(size=(5, 3)) * np.sqrt(atoms.get_masses() * 0.02)[:, None])
    dynamics = VelocityVerlet(atoms, 0.5 * units.fs)
    totals = []
    dynamics.attach(lambda: totals.append(atoms.get_total_energy()), interval=10)
    dynamics.run(200)
    moved = np.abs(atoms.positions - METHANE.positions).max()
    assert moved > 0.1
    assert np.ptp(totals) < 0.002 * np.abs(totals[0] - atoms.get_potential_energy() + 1)


def test_any_order_of_atoms_and_number_of_structures():
    """Answers come in the caller's order; structures without atoms have no energy."""
    potential, batch = small_potential(), batch_of([5, 3])
    pos = batch.pos.double()
    expected = potential(batch.z, pos, batch.batch, compute_forces=True)
    order = torch.randperm(8)
    found = potential(
        batch.z[order], pos[order], batch.batch[order], batch_size=3, compute_forces=True
    )
    assert torch.allclose(found.energy[:2], expected.energy)
    assert float(found.energy[2].detach()) == 0.0
    assert torch.allclose(found.forces, expected.forces[order])


@pytest.mark.parametrize("name", sorted(REPRESENTATIONS))
def test_whatever_torch_has_set(name):
    """Positions of any floating-point type, any default type, `no_grad`, inference mode; the mode
    of the model stays."""
    torch.manual_seed(0)
    potential = Potential(name, (1, 6, 8), cutoff=4.0)
    batch = batch_of([4, 3])
    arguments = batch.z, batch.pos, batch.batch
    expected = potential(*arguments, compute_forces=True)
    assert expected.forces.requires_grad
    try:
        torch.set_default_dtype(torch.float64)
        with torch.no_grad():
            one = potential(*arguments, compute_forces=True)
        with torch.inference_mode():
            inside = [part.clone() for part in arguments]
            two = potential(*inside, compute_forces=True)
            energy = potential(*inside).energy
        three = potential(batch.z, batch.pos.double(), batch.batch, compute_forces=True)
    finally:
        torch.set_default_dtype(torch.float32)
    largest = float(expected.forces.detach().abs().max())
    for found in (one, two, three):
        assert found.forces.dtype == torch.float32
        assert torch.allclose(found.forces, expected.forces, atol=1e-4 * largest)
        assert torch.allclose(found.energy, expected.energy, atol=1e-4)
    assert torch.allclose(energy, expected.energy, atol=1e-4)
    assert potential.training
