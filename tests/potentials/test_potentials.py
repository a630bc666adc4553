import copy

import ase
import ase.build
import numpy as np
import pytest
import torch
from ase import units
from ase.calculators.fd import calculate_numerical_stress
from ase.md.verlet import VelocityVerlet
from torch_geometric.data import Batch, Data

from schnetgen_pyg.errors import InputError
from schnetgen_pyg.graphs.neighbors import neighbor_graph, periodic_pairs
from schnetgen_pyg.potentials import recording
from schnetgen_pyg.potentials.calculator import PotentialCalculator
from schnetgen_pyg.potentials.model import Ensemble, Potential, PotentialConfig, fit_references
from schnetgen_pyg.potentials.prediction import predict
from schnetgen_pyg.representations import REPRESENTATIONS, SchNet
from schnetgen_pyg.storage.models import save_model
from tests.conftest import METHANE, batch_of, needs_gpu, small_model

SETTINGS = {"hidden_channels": 12, "num_filters": 10, "num_interactions": 2, "num_gaussians": 12}


def small_potential(cutoff=4.0, elements=(1, 6, 8), seed=0, **settings) -> Potential:
    """Random weights, with references and a scale that are not trivial."""
    torch.manual_seed(seed)
    potential = Potential("schnet", elements, cutoff=cutoff, **(SETTINGS | settings))
    potential.references[list(elements)] = -10.0 * torch.arange(1.0, len(elements) + 1).double()
    potential.scale.fill_(1.7)
    return potential.double().eval()


def crystal(repeat=1, seed=0) -> Data:
    """Distorted carbon and oxygen in a cell smaller than the cutoff."""
    cell = np.array([[2.6, 0.3, 0.0], [0.0, 2.9, 0.4], [0.2, 0.0, 3.1]])
    rng = np.random.default_rng(seed)
    atoms = ase.Atoms("CO", rng.uniform(0, 2, (2, 3)), cell=cell, pbc=True).repeat(repeat)
    return Data(
        z=torch.tensor(atoms.numbers),
        pos=torch.tensor(atoms.positions),
        cell=torch.tensor(atoms.cell.array).unsqueeze(0),
    )


def numerical(function, x: torch.Tensor, step: float = 1e-4) -> torch.Tensor:
    """Derivatives of a scalar function by central differences."""
    result = torch.zeros_like(x)
    for index in range(x.numel()):
        change = torch.zeros_like(x)
        change.view(-1)[index] = step
        result.view(-1)[index] = float(function(x + change) - function(x - change)) / (2 * step)
    return result


def test_forces_are_minus_the_slope():
    potential, batch = small_potential(), batch_of([7]).to_data_list()[0]
    pos = batch.pos.double()
    forces = potential(batch.z, pos, compute_forces=True).forces
    with torch.no_grad():
        slope = numerical(lambda x: potential(batch.z, x), pos)
    assert torch.allclose(forces, -slope, atol=1e-6 * slope.abs().max())


def test_forces_by_positions_and_by_vectors_agree():
    """The energy is differentiable by the positions; forces need no gradient of them."""
    potential, batch = small_potential(), batch_of([7, 5])
    pos = batch.pos.double().requires_grad_()
    energy = potential(batch.z, pos, batch.batch)
    (slope,) = torch.autograd.grad(energy.sum(), pos)
    with torch.no_grad():
        forces = potential(batch.z, batch.pos.double(), batch.batch, compute_forces=True).forces
    assert torch.allclose(forces, -slope)


def test_forces_are_differentiable():
    """Second derivatives by the weights against finite differences of the weights."""
    potential, batch = small_potential().train(), batch_of([6])
    weight = potential.readout[0].weight

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
    parts = potential(batch.z, batch.pos.double(), batch.batch)
    moved = batch.pos.double() + 100.0 * batch.batch[:, None]
    assert torch.allclose(potential(batch.z, moved), parts.sum())


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
    assert torch.allclose(apart, 2 * alone.energy)
    assert torch.equal(alone.forces, torch.zeros(1, 3).double())


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
    energy = potential(data.z, data.pos, cell=data.cell)
    ring = ase.Atoms(data.z.numpy(), data.pos.numpy(), cell=data.cell[0].numpy(), pbc=(1, 0, 0))
    long = ring.repeat((5, 1, 1))
    cell = torch.tensor(long.cell.array)
    energies = potential(torch.tensor(long.numbers), torch.tensor(long.positions), cell=cell)
    assert torch.allclose(energies, 5 * energy)


def test_stress_by_finite_strain():
    potential, data = small_potential(), crystal()
    found = potential(data.z, data.pos, cell=data.cell, compute_stress=True).stress[0]

    def strained(strain: torch.Tensor) -> torch.Tensor:
        change = torch.eye(3).double() + strain
        return potential(data.z, data.pos @ change.T, cell=data.cell @ change.T)

    with torch.no_grad():
        slope = numerical(strained, torch.zeros(3, 3).double())
    volume = float(torch.linalg.det(data.cell[0]).abs())
    assert torch.allclose(found, slope / volume, atol=1e-7)


def test_references_are_exact_on_linear_data():
    atoms = torch.zeros(10).double()
    atoms[[1, 6, 8]] = torch.tensor([-13.6, -1030.1, -2042.0]).double()
    structures = batch_of([3, 9, 4, 7, 12]).to_data_list()
    for data in structures:
        data.energy = atoms[data.z].sum().reshape(1)
    found = fit_references(structures, (1, 6, 8))
    assert torch.allclose(found, atoms[[1, 6, 8]], atol=1e-9)
    potential = small_potential()
    potential.fit_statistics(structures)
    assert float(potential.scale) == 1.0  # nothing is left to scale
    isomers = [structures[0]] * 3  # of one composition, the elements cannot be told apart
    found = fit_references(isomers, (1, 6, 8))
    total = sum(float(found[(1, 6, 8).index(n)]) for n in isomers[0].z.tolist())
    assert total == pytest.approx(float(isomers[0].energy))


def test_references_stay_in_double_precision():
    potential = small_potential()
    potential.references[6] = -1030.123456789
    potential.float()
    assert potential.references.dtype == torch.float64
    assert float(potential.references[6]) == -1030.123456789
    assert potential.readout[0].weight.dtype == torch.float32


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


def test_calculator_of_a_crystal():
    atoms = ase.build.bulk("C", cubic=True)
    atoms.rattle(0.05, seed=0)
    atoms.calc = PotentialCalculator(small_potential())
    assert np.allclose(atoms.get_stress(), calculate_numerical_stress(atoms, eps=1e-5), atol=1e-6)
    atoms.pbc = (True, True, False)
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
    assert torch.is_tensor(ensemble(structures[2].z, structures[2].pos.double()))


def test_save_and_load(tmp_path):
    potential = small_potential().float()
    potential.provenance = {"method": "gfn2-xtb"}
    potential.save(tmp_path / "p.safetensors")
    loaded = Potential.from_pretrained(tmp_path / "p.safetensors")
    batch = batch_of([4, 6])
    assert torch.equal(
        potential(batch.z, batch.pos, batch.batch), loaded(batch.z, batch.pos, batch.batch)
    )
    assert loaded.config == potential.config
    assert loaded.provenance == {"method": "gfn2-xtb"}


def test_a_representation_of_ones_own():
    potential = Potential(SchNet(8, 8, 1, 8, 3.0), (1, 6, 8))
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
    with pytest.raises(InputError, match="ascending"):
        potential(z, pos, batch.batch.flip(0))
    with pytest.raises(InputError, match=r"\[2, 3, 3\], got \[1, 3, 3\]"):
        potential(z, pos, batch.batch, torch.eye(3))
    with pytest.raises(InputError, match="stress needs"):
        potential(z, pos, batch.batch, compute_stress=True)
    with pytest.raises(InputError, match="no end"):
        small_potential(cutoff=None, max_distance=5.0)(z, pos, cell=torch.eye(3))
    with pytest.raises(InputError, match=r"one of .*schnet"):
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
    )
    assert torch.allclose(energy[0], potential(data.z, data.pos, cell=data.cell))
    assert torch.allclose(energy[1], potential(molecule.z, molecule.pos.double()))


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


TABULATED = {
    "schnet": SETTINGS,
    "painn": {"hidden_channels": 12, "num_interactions": 2, "num_radial": 8},
}


@pytest.mark.parametrize("name", TABULATED)
@pytest.mark.parametrize("record", [False, True])
def test_tabulated_forces(name, record):
    torch.manual_seed(0)
    potential = Potential(name, (1, 6, 8), cutoff=4.0, **TABULATED[name]).double().eval()
    batch = batch_of([7, 5]).sort()
    z, pos, of = batch.z, batch.pos.double(), batch.batch
    exact = potential(z, pos, of, compute_forces=True)
    found = potential.tabulate(record=record)(z, pos, of, compute_forces=True)
    largest = exact.forces.abs().max()
    assert not torch.equal(found.forces, exact.forces)
    assert (found.forces - exact.forces).abs().max() < 1e-4 * largest
    assert torch.allclose(found.energy, exact.energy, atol=1e-7 * 12)
    with torch.no_grad():  # the same surface, whose slope the forces are
        slope = numerical(lambda x: potential(z, x, of).sum(), pos)
    assert torch.allclose(found.forces, -slope, atol=1e-6 * float(largest))
    # What needs more derivatives is computed, and so is everything when it is asked for.
    trained = potential.train()(z, pos, of, compute_forces=True)
    assert torch.allclose(trained.forces, exact.forces, atol=1e-12)
    again = potential.eval().tabulate(None)(z, pos, of, compute_forces=True)
    assert torch.equal(again.forces, exact.forces)


@pytest.mark.parametrize("name", TABULATED)
def test_recorded_forces_of_any_sizes(name):
    """As those that are not recorded: of other numbers of atoms and structures, of a single atom,
    of pairs that leave the cutoff, in a cell, and of a copy."""
    torch.manual_seed(0)
    potential = Potential(name, (1, 6, 8), cutoff=4.0, **TABULATED[name]).eval().tabulate()
    recorded = copy.deepcopy(potential).tabulate(record=True)
    for sizes in ([4], [1], [1, 1], [6, 1, 3], [12]):
        batch = batch_of(sizes, spread=2.0).sort()
        arguments = batch.z, batch.pos, batch.batch
        expected = potential(*arguments, compute_forces=True)
        for model in (recorded, copy.deepcopy(recorded)) if sizes == [4] else (recorded,):
            found = model(*arguments, compute_forces=True)
            assert torch.allclose(found.energy, expected.energy, atol=1e-5)
            assert torch.allclose(found.forces, expected.forces, atol=1e-5)
    data = crystal()
    periodic = {"cell": data.cell.float(), "compute_stress": True}
    expected = potential(data.z, data.pos.float(), **periodic).stress
    found = recorded(data.z, data.pos.float(), **periodic).stress
    assert torch.allclose(found, expected, atol=1e-5 * float(expected.abs().max()))
    for result in recorded(data.z, data.pos.float(), compute_forces=True, **periodic)[:3]:
        factor = torch.ones((), dtype=result.dtype, requires_grad=True)
        (factor * result.mul_(2)).sum().backward()  # as those of any other tensor


def test_recorded_forces_where_neighbors_are_kept(monkeypatch):
    """Atoms that cross the cutoff in small steps, and far; structures changed in place."""
    listed = []
    monkeypatch.setattr(
        recording,
        "neighbor_graph",
        lambda *a: (listed.append(a[2]), neighbor_graph(*a))[1],
    )
    torch.manual_seed(0)
    exact = Potential("painn", (1, 6, 8), cutoff=3.0, **TABULATED["painn"]).double().eval()
    recorded = copy.deepcopy(exact).tabulate(record=True)
    z, pos = torch.tensor([6, 8, 1]), torch.tensor([[0, 0, 0], [2.8, 0, 0], [0, 1.5, 0]]).double()

    def agrees(*arguments, **options):
        expected = exact(*arguments, compute_forces=True, **options)
        found = recorded(*arguments, compute_forces=True, **options)
        assert torch.allclose(found.energy, expected.energy, atol=1e-6)
        assert torch.allclose(found.forces, expected.forces, atol=1e-5)
        if expected.stress is not None:
            assert torch.allclose(found.stress, expected.stress, atol=1e-6)

    for bad in (torch.tensor([], dtype=torch.long), torch.tensor([6, 8, 92])):
        with pytest.raises(InputError):
            recorded(bad, pos, compute_forces=True)
    agrees(z, pos)
    listed.clear()
    for _ in range(8):  # in 0.24 Å the list is not made anew, and beyond it is
        pos[1, 0] += 0.03
        agrees(z, pos)
    assert listed == []
    pos[1, 0] -= 2.0
    agrees(z, pos)
    agrees(z, pos)
    assert listed == [3.0 + recording.SKIN]
    z[2] = 8
    agrees(z, pos)
    of = torch.tensor([0, 0, 1])
    agrees(z, pos, of)
    of[1] = 1
    agrees(z, pos, of)
    cell = (8 * torch.eye(3).double()).repeat(2, 1, 1)
    agrees(z, pos, of, cell)
    cell[0, 0, 0] = 4.0
    agrees(z, pos, of, cell)
    agrees(z, pos, of, cell, compute_stress=True)
    assert len(listed) == 7
    cell[0, 0, 0] = 0.0
    agrees(z, pos, of, cell)
    with pytest.raises(InputError, match="volume"):
        recorded(z, pos, of, cell, compute_stress=True)
    pos[0, 0] = float("nan")
    with pytest.raises(InputError, match="not finite"):
        recorded(z, pos, of, cell, compute_forces=True)
    with pytest.raises(InputError, match="shape"):
        recorded(z, pos[:2], of, cell, compute_forces=True)


def test_what_depends_on_values_is_not_recorded():
    class Loud(SchNet):
        def forward(self, z, graph):
            x = super().forward(z, graph)
            return x if float(graph.distance.detach().min()) > 0.1 else 2 * x

    potential = Potential(Loud(hidden_channels=8, num_gaussians=10, cutoff=4.0), (1, 6, 8))
    potential.eval().tabulate(record=True)
    with pytest.raises(InputError, match="cannot record"):
        potential(torch.tensor([6, 8]), torch.randn(2, 3), compute_forces=True)


@pytest.mark.parametrize("record", [False, True])
def test_a_table_is_made_anew_with_the_weights(record):
    potential = small_potential().tabulate(record=record)
    z, pos = torch.tensor(METHANE.numbers), torch.tensor(METHANE.positions)

    def forces(model):
        return model(z, pos.to(model.readout[0].weight), compute_forces=True).forces.double()

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
    with pytest.raises(InputError, match="to record"):
        small_potential().tabulate(None, record=True)
    with pytest.raises(InputError, match="PaiNN with a cutoff"):
        Potential("painn", (1,), cutoff=None, max_distance=5.0).tabulate()
    with pytest.raises(InputError, match="Allegro cannot be tabulated"):
        Potential("allegro", (1,)).tabulate()


def test_forces_without_gradients():
    """They are there within `no_grad`, and inference mode is refused."""
    potential, batch = small_potential(), batch_of([4])
    arguments = batch.z, batch.pos.double()
    expected = potential(*arguments, compute_forces=True).forces
    with torch.no_grad():
        assert torch.equal(potential(*arguments, compute_forces=True).forces, expected)
    with torch.inference_mode(), pytest.raises(InputError, match="inference_mode"):
        potential(*arguments, compute_forces=True)


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
