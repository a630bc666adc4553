"""Potentials as users have them: statistics, calculators, files, refusals."""

import ase.build
import numpy as np
import pytest
import torch

from schnetgen_pyg.errors import InputError
from schnetgen_pyg.potentials.calculator import PotentialCalculator
from schnetgen_pyg.potentials.config import PotentialConfig
from schnetgen_pyg.potentials.ensemble import Ensemble
from schnetgen_pyg.potentials.model import Potential
from schnetgen_pyg.representations import REPRESENTATIONS, SchNet
from schnetgen_pyg.storage.models import save_model
from schnetgen_pyg.targets import Joined, fit_references
from schnetgen_pyg.targets.prediction import predict
from tests.conftest import METHANE, batch_of, needs_gpu, small_model
from tests.potentials.small import SETTINGS, crystal, small_potential
from tests.targets.test_labels import springs


def test_references_are_exact_on_linear_data():
    atoms = torch.zeros(10).double()
    atoms[[1, 6, 8]] = torch.tensor([-13.6, -1030.1, -2042.0]).double()
    structures = batch_of([3, 9, 4, 7, 12]).to_data_list()
    for data in structures:
        data.energy = atoms[data.z].sum().reshape(1)
    energies = torch.cat([data.energy for data in structures])
    found = fit_references(Joined.of(structures), energies, (1, 6, 8))[0]
    assert torch.allclose(found, atoms[[1, 6, 8]], atol=1e-9)
    potential = small_potential()
    potential.fit_statistics(structures)
    assert float(potential.heads["energy"].scale) == 1.0  # nothing is left to scale
    isomers = [structures[0]] * 3  # of one composition, the elements cannot be told apart
    found = fit_references(Joined.of(isomers), energies[:1].expand(3), (1, 6, 8))[0]
    total = sum(float(found[(1, 6, 8).index(n)]) for n in isomers[0].z.tolist())
    assert total == pytest.approx(float(isomers[0].energy))


def test_references_stay_in_double_precision():
    potential = small_potential()
    head = potential.heads["energy"]
    head.references[6] = -1030.123456789
    potential.float()
    assert head.references.dtype == torch.float64
    assert float(head.references[6]) == -1030.123456789
    assert potential.heads["energy"].readout[0].weight.dtype == torch.float32


def test_large_references_lose_nothing():
    """Energies of single atoms are some ten thousand eV; what tells structures apart are meV."""
    potential, z = small_potential().float(), torch.tensor([8, 6, 1] * 40)
    pos = 3.0 * torch.randn(len(z), 3)
    plain = potential(z, pos).energy
    head, sizes = potential.heads["energy"], [-13.605693, -1036.1234567, -2043.7654321]
    head.references.zero_()
    alone = potential(z, pos).energy
    head.references[[1, 6, 8]] = torch.tensor(sizes, dtype=torch.float64)
    found = potential(z, pos).energy
    assert found.dtype == torch.float64
    assert float(found - alone) == pytest.approx(40 * sum(sizes), abs=1e-7)
    assert float(plain - alone) == pytest.approx(40 * -60.0, abs=1e-7)


@pytest.mark.parametrize("with_forces", [True, False])
def test_the_scale_has_the_unit_of_what_it_scales(with_forces):
    """Labels in another unit: ten times the numbers, ten times the scale."""
    scales = []
    for unit in (1.0, 10.0):
        data = springs(20)
        for one in data:
            one.energy = unit * one.energy
            one.forces = unit * one.forces if with_forces else None
        potential = small_potential(elements=(1, 6))
        potential.fit_statistics(data)
        scales.append(float(potential.heads["energy"].scale))
    assert scales[1] == pytest.approx(10 * scales[0], rel=1e-5)
    if with_forces:  # the root mean square of a component
        every = torch.cat([one.forces for one in springs(20)]).numpy()
        assert scales[0] == pytest.approx(np.sqrt(np.mean(every**2)), rel=1e-5)


def test_what_is_not_finite_is_no_prediction():
    """The structure is named, and so are atoms that lie on top of each other."""
    potential, twice = small_potential(), METHANE.copy()
    twice.positions[3] = twice.positions[1]
    with pytest.raises(InputError, match=r"structure 1: atoms 1 and 3 are 0 Å apart"):
        predict(potential, [METHANE, twice])
    broken = small_potential()
    with torch.no_grad():
        broken.heads["energy"].references[6] = torch.inf
    water = ase.build.molecule("H2O")
    with pytest.raises(InputError, match=r"structure 1: the predicted energy is not finite"):
        predict(broken, [water, METHANE])
    atoms = METHANE.copy()
    atoms.calc = PotentialCalculator(broken)
    with pytest.raises(InputError, match=r"CH4: the predicted energy is not finite"):
        atoms.get_potential_energy()
    water.calc = PotentialCalculator(broken)
    assert np.isfinite(water.get_potential_energy())


def test_calculator():
    potential = small_potential()
    atoms = METHANE.copy()
    atoms.rattle(0.1, seed=1)
    atoms.calc = PotentialCalculator(potential)
    energy = atoms.get_potential_energy()
    assert "forces" not in atoms.calc.results
    forces = atoms.get_forces()
    assert atoms.get_potential_energy(force_consistent=True) == energy
    expected = potential(
        torch.tensor(atoms.numbers), torch.tensor(atoms.positions), compute_forces=True
    )
    assert energy == pytest.approx(float(expected.energy))
    assert np.allclose(forces, expected.forces.numpy())
    with pytest.raises(NotImplementedError):
        atoms.get_stress()


def test_predict_many():
    potential, ensemble = small_potential(), Ensemble([small_potential(), small_potential(seed=1)])
    crystal_atoms = ase.build.bulk("C")
    structures = [METHANE, crystal_atoms, *batch_of([3, 6]).to_data_list()]
    found = predict(potential, structures, batch_size=3)
    for item, data in zip(structures, found, strict=True):
        alone = predict(potential, [item])[0]
        assert torch.allclose(alone.energy, data.energy)
        assert torch.allclose(alone.forces, data.forces)
    assert found[1].cell.shape == (1, 3, 3)
    assert predict(potential, structures, forces=False)[0].get("forces") is None
    members = [predict(m, structures)[2].energy for m in ensemble.members]
    doubtful = predict(ensemble, structures)[2]
    assert torch.allclose(doubtful.energy, (members[0] + members[1]) / 2)
    variance = ((members[0] - members[1]) / 2).square()
    assert torch.allclose(doubtful.energy_variance, variance)
    assert doubtful.forces_variance.shape == (3, 3)


def test_save_and_load(tmp_path):
    potential = small_potential().float()
    potential.provenance = {"method": "gfn2-xtb"}
    potential.save(tmp_path / "p.safetensors")
    loaded = Potential.from_pretrained(tmp_path / "p.safetensors")
    batch = batch_of([4, 6])
    assert torch.equal(
        potential(batch.z, batch.pos, batch.batch).energy,
        loaded(batch.z, batch.pos, batch.batch).energy,
    )
    assert loaded.config == potential.config
    assert loaded.provenance == {"method": "gfn2-xtb"}


def test_a_representation_of_ones_own():
    potential = Potential(
        SchNet(hidden_channels=8, num_filters=8, num_interactions=1, num_gaussians=8, cutoff=3.0),
        (1, 6, 8),
    )
    batch = batch_of([4])
    assert potential(batch.z, batch.pos, compute_forces=True).forces.shape == (4, 3)
    with pytest.raises(InputError, match="REPRESENTATIONS"):
        potential.save("never.safetensors")


def test_refused(tmp_path):
    potential, batch = small_potential(), batch_of([3, 2])
    z, pos = batch.z, batch.pos.double()
    with pytest.raises(InputError, match=r"`pos` must have shape .* = \[5, 3\], got \[3, 5\]"):
        potential(z, pos.T)
    with pytest.raises(InputError, match=r"position of atom 2 is not finite: \[nan"):
        potential(z, pos.index_fill(0, torch.tensor([2]), torch.nan))
    with pytest.raises(InputError, match=r"atomic numbers \[1, 6, 8\], the structure has \[9\]"):
        potential(torch.full_like(z, 9), pos)
    with pytest.raises(InputError, match="counted from 0"):
        potential(z, pos, batch.batch - 1)
    with pytest.raises(InputError, match="names 2 structures, batch_size is 1"):
        potential(z, pos, batch.batch, batch_size=1)
    with pytest.raises(InputError, match=r"\[2, 3, 3\], got \[1, 3, 3\]"):
        potential(z, pos, batch.batch, torch.eye(3))
    with pytest.raises(InputError, match="stress needs"):
        potential(z, pos, batch.batch, compute_stress=True)
    with pytest.raises(InputError, match="no end"):
        small_potential(cutoff=None, max_distance=5.0)(z, pos, cell=torch.eye(3))
    with pytest.raises(InputError, match=r"did you mean 'schnet'"):
        PotentialConfig("shnet")
    with pytest.raises(InputError, match="did you mean 'num_filters'"):
        Potential("schnet", num_filter=3)
    small_model().save(tmp_path / "g.safetensors")
    with pytest.raises(InputError, match="holds a generator, expected a potential"):
        Potential.from_pretrained(tmp_path / "g.safetensors")
    with pytest.raises(InputError, match="neither a file nor a bundled"):
        Potential.from_pretrained("nowhere")
    config = {"representation": "schnet", "settings": SETTINGS, "elements": [1]}
    save_model(tmp_path / "p.safetensors", "potential", config, {}, {})
    with pytest.raises(InputError, match="disagree"):
        Potential.from_pretrained(tmp_path / "p.safetensors")


@pytest.mark.parametrize("name", REPRESENTATIONS)
def test_every_representation_makes_a_potential(name, tmp_path):
    """Forces, their derivatives and the stress; saved and loaded by name."""
    torch.manual_seed(0)
    potential = Potential(name, (1, 6, 8), cutoff=4.0).double().train()
    data = crystal()
    found = potential(data.z, data.pos, cell=data.cell, compute_forces=True, compute_stress=True)
    (found.forces.square().sum() + found.stress.square().sum()).backward()
    slopes = [p.grad for p in potential.representation.parameters() if p.grad is not None]
    assert slopes
    assert all(torch.isfinite(slope).all() for slope in slopes)
    potential.float().save(tmp_path / "p.safetensors")
    assert Potential.from_pretrained(tmp_path / "p.safetensors").config == potential.config


@needs_gpu
@pytest.mark.parametrize("name", sorted(REPRESENTATIONS))
def test_gpu_and_cpu_agree(name):
    torch.manual_seed(0)
    potential = Potential(name, (1, 6, 8)).eval()
    batch = batch_of([5, 7])
    found = potential(batch.z, batch.pos, batch.batch, compute_forces=True)
    arguments = (part.cuda() for part in (batch.z, batch.pos, batch.batch))
    on_gpu = potential.cuda()(*arguments, compute_forces=True)
    assert torch.allclose(on_gpu.energy.cpu(), found.energy, rtol=1e-4, atol=1e-4)
    largest = float(found.forces.abs().max())
    assert torch.allclose(on_gpu.forces.cpu(), found.forces, atol=1e-3 * largest)
