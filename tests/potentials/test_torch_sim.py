"""torch-sim's own contract, and agreement with our calculator."""

import ase.build
import numpy as np
import pytest
import torch

from schnetgen_pyg import InputError
from schnetgen_pyg.data.conversion import to_ase
from schnetgen_pyg.potentials.calculator import PotentialCalculator
from schnetgen_pyg.potentials.ensemble import Ensemble
from schnetgen_pyg.potentials.model import Potential
from tests.potentials.small import crystal, small_potential

torch_sim = pytest.importorskip("torch_sim")

CPU = torch.device("cpu")
#: Of the structures that torch-sim validates models with, and ours.
ELEMENTS = (1, 6, 8, 12, 14, 26)


def model_of(potential, **settings):
    from schnetgen_pyg.potentials.torch_sim import TorchSimPotential

    return TorchSimPotential(potential, **settings)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", ["schnet", "painn"])
def test_the_contract_of_torch_sim(name, dtype):
    from torch_sim.models.interface import validate_model_outputs

    torch.manual_seed(0)
    potential = Potential(name, ELEMENTS, cutoff=4.0, hidden_channels=8).to(dtype)
    validate_model_outputs(model_of(potential, dtype=dtype), CPU, dtype)


@pytest.mark.parametrize("periodic", [False, True])
def test_it_agrees_with_the_calculator(periodic, isomers):
    """Of several systems at once; of cells the stress, too."""
    potential = small_potential()
    given = [crystal(), crystal((2, 1, 1), seed=1)] if periodic else isomers[:2]
    atoms = [to_ase(data) for data in given]
    model = model_of(Ensemble([potential, small_potential(seed=1)]), compute_stress=periodic)
    found = model(torch_sim.io.atoms_to_state(atoms, CPU, torch.float64))
    first = 0
    for k, one in enumerate(atoms):
        one.calc = PotentialCalculator(model.potential)
        assert np.isclose(float(found["energy"][k]), one.get_potential_energy())
        last = first + len(one)
        assert np.allclose(found["forces"][first:last], one.get_forces(), atol=1e-8)
        first = last
        if periodic:
            assert np.allclose(found["stress"][k], one.get_stress(voigt=False), atol=1e-10)
    assert ("stress" in found) == periodic


def test_batched_relaxation_lowers_the_energy(isomers):
    potential = Potential.from_pretrained("c7h10o2-painn-potential")
    atoms = [to_ase(data) for data in isomers[:3]]
    for number, one in enumerate(atoms):
        one.rattle(0.05, seed=number)
    model = model_of(potential)
    before = model(torch_sim.io.atoms_to_state(atoms, CPU, torch.float64))["energy"]
    relaxed = torch_sim.optimize(
        system=atoms,
        model=model,
        optimizer=getattr(torch_sim, "Optimizer", torch_sim.optimizers).fire,
        max_steps=20,
    )
    assert bool((relaxed.energy < before - 0.1).all())


def test_another_target_and_a_charge_are_refused():
    with pytest.raises(InputError, match="one for the energy"):
        model_of(Potential("schnet", targets=("gap",), hidden_channels=8))
    state = torch_sim.io.atoms_to_state([ase.build.molecule("CH4")], CPU, torch.float64)
    state.__dict__["charge"] = torch.tensor([1.0])
    with pytest.raises(InputError, match="knows no charge"):
        model_of(small_potential())(state)


@pytest.mark.slow
def test_torch_sims_structures_of_every_kind():
    """Of its own suite for models, which newer versions have."""
    testing = pytest.importorskip("torch_sim.testing")
    torch.manual_seed(0)
    potential = Potential("schnet", tuple(range(1, 90)), cutoff=4.0, hidden_channels=8).double()
    model, calculator = model_of(potential), PotentialCalculator(potential)
    for name in testing.CONSISTENCY_SIMSTATES:
        state = testing.SIMSTATE_GENERATORS[name](CPU, torch.float64)
        model.compute_stress = bool(state.pbc.all())  # our calculator has none of molecules
        testing.assert_model_calculator_consistency(model, calculator, state)
