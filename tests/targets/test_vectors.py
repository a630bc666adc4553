"""Dipoles, polarisabilities and charges."""

import pytest
import torch
from ase.build import molecule
from ase.calculators.calculator import PropertyNotImplementedError
from torch_geometric.data import Data

from schnetgen_pyg import InputError, fit_potential
from schnetgen_pyg.potentials.calculator import PotentialCalculator
from schnetgen_pyg.potentials.model import Potential
from schnetgen_pyg.targets import TARGETS, Features, Target
from schnetgen_pyg.targets.labels import errors, labelled
from schnetgen_pyg.targets.prediction import predict
from tests.conftest import batch_of
from tests.potentials.small import crystal, numerical
from tests.targets.test_labels import springs
from tests.training.test_potential import QUICK

VECTORS = ("painn", "equivariant_transformer")


def potential(name="painn", targets=("dipole",), seed=0, **settings) -> Potential:
    torch.manual_seed(seed)
    settings = {"hidden_channels": 16, "cutoff": 4.0} | settings
    return Potential(name, (1, 6, 8), targets, **settings).double().eval()


def test_charges_sum_to_zero():
    model, batch = potential("schnet", ("charges",)), batch_of([4, 7])
    model.heads["charges"].references[[1, 6, 8]] = torch.tensor([0.3, -0.2, -0.6]).double()
    charges = model(batch.z, batch.pos, batch.batch).charges
    assert charges.abs().max() > 0.05
    for part in charges.split([4, 7]):
        assert float(part.sum()) == pytest.approx(0, abs=1e-9)
    free = type(TARGETS["charges"])("test_free_charges", "e", per="atom", neutral=False)
    TARGETS.register("test_free_charges", free)
    model = potential("schnet", ("test_free_charges",))
    assert abs(float(model(batch.z, batch.pos).test_free_charges.sum())) > 1e-3


@pytest.mark.parametrize("name", ["schnet", *VECTORS])
def test_derivatives_of_a_dipole(name):
    """As infrared intensities take them, agree with finite differences."""
    model, batch = potential(name), batch_of([5])
    pos = (1.3 * batch.pos).double().requires_grad_()
    weight = torch.tensor([0.3, -0.5, 0.8]).double()

    def along(at):
        return (model(batch.z, at).dipole[0] * weight).sum()

    (slope,) = torch.autograd.grad(along(pos), pos)
    with torch.no_grad():
        assert torch.allclose(slope, numerical(along, pos.detach()), atol=1e-6)
    assert slope.abs().max() > 1e-4


def test_in_ase():
    model = potential(targets=("energy", "dipole", "charges"))
    atoms = molecule("CH3OH")
    atoms.calc = PotentialCalculator(model)
    dipole = atoms.get_dipole_moment()
    assert atoms.get_charges().shape == (6,)
    atoms.rotate(180, "z")
    assert atoms.get_dipole_moment() == pytest.approx(dipole * [-1, -1, 1], abs=1e-5)
    atoms.calc = PotentialCalculator(potential(targets=("energy",)))
    with pytest.raises(PropertyNotImplementedError, match="not trained for dipole"):
        atoms.get_dipole_moment()


def test_length_of_a_dipole():
    """``mu`` is that of the vector that the same weights give."""
    model, batch = potential(targets=("dipole", "mu")), batch_of([5, 3])
    model.heads["mu"].load_state_dict(model.heads["dipole"].state_dict())
    found = model(batch.z, batch.pos, batch.batch)
    assert torch.allclose(found.mu, found.dipole.norm(dim=1))


def test_extent_of_fixed_charges():
    """What its elements explain is found exactly, and where the molecule is does not matter."""
    model = potential("schnet", ("r2",))
    torch.nn.init.zeros_(model.heads["r2"].readout[-1].weight)
    torch.nn.init.zeros_(model.heads["r2"].readout[-1].bias)
    data = batch_of([4, 7, 3, 6, 5, 8, 9, 10]).to_data_list()
    mass = torch.zeros(9).double()
    mass[[1, 6, 8]] = torch.tensor([1.008, 12.011, 15.999]).double()
    for one in data:
        weight = mass[one.z].unsqueeze(1)
        centre = (weight * one.pos).sum(0) / weight.sum()
        squares = (one.pos - centre).square().sum(1)
        one.r2 = (3.5 * one.z * squares + 2.0 * one.z + 1.0).sum().reshape(1)
        one.pos = one.pos + 7.0
    model.fit_statistics(data)
    for one, found in zip(data, predict(model, data), strict=True):
        assert float(found.r2) == pytest.approx(float(one.r2), rel=1e-4)


def test_far_from_the_origin():
    model, batch = potential(targets=("dipole", "mu", "polarizability")).float(), batch_of([6])
    here, there = (model(batch.z, batch.pos + shift) for shift in (0.0, 512.0))
    for name, value in here.items():
        assert torch.allclose(value, there[name], atol=1e-3 * float(value.abs().max())), name


def test_refused():
    with pytest.raises(InputError, match=r"SchNet has none; take .* painn, equivariant_"):
        Potential("schnet", (1, 6), ("polarizability",))
    one = crystal()
    for name in ("dipole", "mu", "r2"):
        with pytest.raises(InputError, match=rf"structure 0: {name} is for molecules"):
            predict(potential(targets=(name,)), [one])
    periodic = [Data(z=one.z, pos=one.pos, cell=one.cell, mu=1.0)] * 20
    with pytest.raises(InputError, match="structure 0: mu is for molecules"):
        fit_potential(potential(targets=("mu",)), periodic, "nowhere", **QUICK)
    predict(potential(targets=("gap",)), [one])


#: By atomic number: of hydrogen and carbon.
CHARGES = torch.tensor([0.0, 0.25, 0, 0, 0, 0, -1.0])


def polar(num: int = 60) -> list[Data]:
    """Distorted methane with fixed charges: its dipole, and a tensor of its bonds."""
    result = []
    for one in springs(num):
        charge = CHARGES[one.z]
        bonds = one.pos[1:] - one.pos[0]
        result.append(
            Data(
                z=one.z,
                pos=one.pos,
                dipole=(charge.unsqueeze(1) * one.pos).sum(0, keepdim=True),
                polarizability=3.0 * torch.eye(3) + bonds.T @ bonds,
            )
        )
    return result


def test_a_network_learns_vectors_and_tensors(tmp_path):
    data = polar()
    model = potential(targets=("dipole", "polarizability")).float()
    names = ("dipole_mae (e·Å)", "polarizability_mae (bohr³)")
    model.fit_statistics(labelled(data, model.elements, model.targets))
    before = errors(predict(model, data), data, model.targets)
    trained = fit_potential(model, data, tmp_path, **(QUICK | {"steps": 80, "ema_decay": 0.0}))
    after = errors(predict(trained, data), data, trained.targets)
    for name in names:
        assert after[name] < 0.6 * before[name]
    turn = torch.linalg.qr(torch.randn(3, 3)).Q
    turned = [Data(z=d.z, pos=d.pos @ turn.T) for d in data]
    there, here = predict(trained, turned), predict(trained, data)
    for one, other in zip(there, here, strict=True):
        assert torch.allclose(one.dipole, other.dipole @ turn.T.double(), atol=1e-4)
        assert torch.equal(one.polarizability, one.polarizability.mT)


@pytest.mark.reference
@pytest.mark.parametrize("name", ["dipole", "mu", "polarizability"])
def test_painn_agrees_with_schnetpack(name):
    """Read-outs with copied weights, of the same features and positions."""
    peer = pytest.importorskip("schnetpack.atomistic")
    batch = batch_of([6, 4])
    model = potential(targets=(name,), num_interactions=2)
    head = model.heads[name]
    if name == "polarizability":
        theirs = peer.Polarizability(16)
    else:
        theirs = peer.DipoleMoment(
            16, predict_magnitude=name == "mu", use_vector_representation=True
        )
    theirs = theirs.double()
    for ours, block in zip(head.readout.blocks, theirs.outnet, strict=True):
        block.mix_vectors.weight.data = ours.mix.weight.data
        for number in (0, 1):
            layer = ours.gates[2 * number]
            block.scalar_net[number].weight.data = layer.weight.data
            block.scalar_net[number].bias.data = layer.bias.data
    inputs = model._inputs(batch.z, batch.pos.double(), batch.batch, None, None)
    x, v = model.representation.scalars_and_vectors(batch.z, model._graph(inputs, False))
    features = Features(x, batch.z, batch.batch, 2, inputs.pos, v)
    masses = model.heads[name].masses if name == "polarizability" else torch.ones(101)
    given = {
        "_positions": features.centred(masses[batch.z].double()),
        "_n_atoms": batch.ptr.diff(),
        "_idx_m": batch.batch,
        "scalar_representation": x,
        "vector_representation": v,
    }
    found = theirs(given)["polarizability" if name == "polarizability" else "dipole_moment"]
    assert torch.allclose(head(features), found, atol=1e-10)
    assert found.abs().max() > 1e-3


def test_a_target_of_its_own_may_read_vectors():
    """A length of the vectors of an atom, by the door that dipoles take."""

    class Head(torch.nn.Module):
        reads_vectors, fitted = True, True

        def forward(self, features):
            return features.v.norm(dim=1).mean(1).double()

        def fit(self, structures):
            pass

        def reset_parameters(self):
            pass

    class Length(Target):
        needs_vectors = True

        def equivariant_head(self, hidden_channels, elements):
            return Head()

    TARGETS.register("test_length", Length("test_length", per="atom"))
    batch = batch_of([5])
    assert potential(targets=("test_length",))(batch.z, batch.pos).test_length.shape == (5,)
    with pytest.raises(InputError, match="has none"):
        potential("dtnn", targets=("test_length",))
