"""Force calls with tabulated radial functions."""

import pytest
import torch

from schnetgen_pyg.errors import InputError
from schnetgen_pyg.potentials.model import Potential
from tests.conftest import METHANE, batch_of
from tests.potentials.small import SETTINGS, crystal, numerical, small_potential

TABULATED = {
    "schnet": SETTINGS,
    "painn": {"hidden_channels": 12, "num_interactions": 2, "num_radial": 8},
}


@pytest.mark.parametrize("name", TABULATED)
def test_tabulated_forces(name):
    torch.manual_seed(0)
    potential = Potential(name, (1, 6, 8), cutoff=4.0, **TABULATED[name]).double().eval()
    batch = batch_of([7, 5])
    z, pos, of = batch.z, batch.pos.double(), batch.batch
    exact = potential(z, pos, of, compute_forces=True)
    found = potential.tabulate()(z, pos, of, compute_forces=True)
    largest = exact.forces.abs().max()
    assert not torch.equal(found.forces, exact.forces)
    assert (found.forces - exact.forces).abs().max() < 1e-4 * largest
    assert torch.allclose(found.energy, exact.energy, atol=1e-7 * 12)
    with torch.no_grad():  # the same surface, whose slope the forces are
        slope = numerical(lambda x: potential(z, x, of).energy.sum(), pos)
    assert torch.allclose(found.forces, -slope, atol=1e-6 * float(largest))
    # What needs more derivatives is computed, and so is everything when it is asked for.
    trained = potential.train()(z, pos, of, compute_forces=True)
    assert torch.allclose(trained.forces, exact.forces, atol=1e-12)
    again = potential.eval().tabulate(None)(z, pos, of, compute_forces=True)
    assert torch.equal(again.forces, exact.forces)


def test_a_table_is_made_anew_with_the_weights():
    potential = small_potential().tabulate()
    z, pos = torch.tensor(METHANE.numbers), torch.tensor(METHANE.positions)

    def forces(model):
        return model(z, pos, compute_forces=True).forces.double()

    before = forces(potential)
    other = small_potential(seed=1)
    potential.load_state_dict(other.state_dict())
    assert torch.allclose(forces(potential), forces(other), atol=1e-4)
    assert not torch.allclose(forces(potential), before, atol=1e-2)
    with torch.no_grad():
        potential.representation.embedding.weight.mul_(2)
        other.representation.embedding.weight.mul_(2)
    assert torch.allclose(forces(potential), forces(other), atol=1e-4)
    for model in (potential, other):  # a module of its own
        model.representation.interactions[0].lin = torch.nn.Linear(12, 12).double()
        torch.nn.init.ones_(model.representation.interactions[0].lin.weight)
        torch.nn.init.ones_(model.representation.interactions[0].lin.bias)
    assert torch.allclose(forces(potential), forces(other), atol=1e-4)
    single = forces(potential.float())
    assert torch.allclose(single, forces(other), atol=1e-4)


def test_tabulated_stress():
    potential, data = small_potential(), crystal()
    expected = potential(data.z, data.pos, cell=data.cell, compute_stress=True).stress
    found = potential.tabulate()(data.z, data.pos, cell=data.cell, compute_stress=True).stress
    assert torch.allclose(found, expected, atol=1e-4 * float(expected.abs().max()))


def test_what_cannot_be_tabulated_is_refused():
    with pytest.raises(InputError, match=r"0\.1 Å"):
        small_potential().tabulate(0.5)
    with pytest.raises(InputError, match="PaiNN with a cutoff"):
        Potential("painn", (1,), cutoff=None, max_distance=5.0).tabulate()
    with pytest.raises(InputError, match="Allegro cannot be tabulated"):
        Potential("allegro", (1,)).tabulate()
