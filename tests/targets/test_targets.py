"""Targets: the contract, those of atoms, and what is refused."""

import pytest
import torch
from torch_geometric.data import Data

from schnetgen_pyg.errors import InputError
from schnetgen_pyg.potentials.calculator import PotentialCalculator
from schnetgen_pyg.potentials.model import Potential
from schnetgen_pyg.targets import TARGETS, Column, Target
from schnetgen_pyg.targets.labels import labelled
from schnetgen_pyg.targets.prediction import predict
from schnetgen_pyg.testing.target import check_target
from tests.conftest import batch_of

CHARGE = Target("test_charge", "e", per="atom")
TARGETS.register("test_charge", CHARGE)


SCALARS = ["energy", "gap", "alpha", "mu", "r2", "charges", "test_charge"]


@pytest.mark.parametrize("name", SCALARS)
def test_contract(name):
    check_target(TARGETS[name])


@pytest.mark.parametrize("representation", ["painn", "equivariant_transformer"])
@pytest.mark.parametrize("name", ["dipole", "polarizability", "mu", "gap"])
def test_contract_with_vectors(name, representation):
    check_target(TARGETS[name], representation)


def test_contract_of_a_dipole_by_charges():
    check_target(TARGETS["dipole"], "dtnn")


@pytest.mark.parametrize("column", [{"extensive": True}, {"extensive": False}, {"classify": True}])
def test_contract_of_columns(column):
    check_target(Column("my column", **column))


def test_the_contract_finds_what_is_declared_wrong():
    class Sum(Target):
        def head(self, hidden_channels, elements):
            return Target(self.name).head(hidden_channels, elements)  # an extensive one

    wrong = Sum("test_wrong", extensive=False)
    with pytest.raises(AssertionError, match="register it"):
        check_target(wrong)
    TARGETS.register("test_wrong", wrong)
    with pytest.raises(AssertionError, match="intensive one is that of one"):
        check_target(wrong)


def test_missing_labels_change_nothing():
    """The loss over structures of which some have no label is that of the others."""
    batch = batch_of([4, 3, 2])
    found = torch.randn(9, 3, dtype=torch.float64)
    label = torch.randn(9, 3, dtype=torch.float64)
    label[batch.batch == 1] = torch.nan
    loss = TARGETS["forces"].loss(found, label, batch)
    expected = [
        (found - label)[batch.batch == k].square().sum() / (batch.batch == k).sum() for k in (0, 2)
    ]
    assert float(loss.value) == pytest.approx(float(sum(expected) / 2))


def test_several_targets():
    potential = Potential("painn", (1, 6, 8), ("energy", "test_charge"), cutoff=4.0)
    data = predict(potential, batch_of([4, 3]).to_data_list())
    assert data[1].test_charge.shape == (3,)
    assert data[1].energy.shape == (1,)
    assert data[1].forces.shape == (3, 3)


def test_refused():
    with pytest.raises(InputError, match=r"no target is named 'gapp' .*did you mean 'gap'"):
        Potential("schnet", (1, 6), ("gapp",))
    with pytest.raises(InputError, match="forces is a derivative of energy and comes with it"):
        Potential("schnet", (1, 6), ("forces",))
    gap, batch = Potential("schnet", (1, 6, 8), ("gap",)), batch_of([3])
    with pytest.raises(InputError, match="this model predicts gap"):
        gap(batch.z, batch.pos, compute_forces=True)
    with pytest.raises(AttributeError, match="the prediction has gap, not 'energy'"):
        gap(batch.z, batch.pos).energy  # noqa: B018
    with pytest.raises(InputError, match="one for the energy"):
        PotentialCalculator(gap)
    data = Data(z=batch.z, pos=batch.pos)
    for label, message in (
        (None, r"no structure has a label 'gap'; .* Set data.gap in eV"),
        ("large", "is no number: 'large'"),
        (torch.zeros(2), r"must have shape \[1\], got \[2\]"),
        (torch.tensor([torch.nan]), "no structure has a label 'gap'"),
        (torch.tensor([torch.inf]), "is not finite"),
    ):
        data.gap = label
        with pytest.raises(InputError, match=message):
            labelled([data], (1, 6, 8), ("gap",))
