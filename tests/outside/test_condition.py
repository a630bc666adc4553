"""A condition from outside the package: how far a molecule extends, as a number it is told."""

import pytest
import torch
from torch import nn
from torch_geometric.data import Batch, Data

from schnetgen_pyg import InputError, SchNetGen, fit, generate
from schnetgen_pyg.generator.conditions import CONDITIONS, Condition
from schnetgen_pyg.testing import check_condition
from tests.conftest import deciding, small_model


class Extent(Condition):
    """The radius of gyration in Å, [num_molecules]."""

    requires = ("extent",)

    def __init__(self, config):
        super().__init__(config)
        self.layer = nn.Linear(1, config.hidden_channels)

    def forward(self, partial):
        return self.layer(partial.extent.unsqueeze(1).to(self.layer.weight))


CONDITIONS.register("extent", Extent)


def with_extent(data):
    extent = (data.pos - data.pos.mean(0)).square().sum(1).mean().sqrt()
    return Data(z=data.z, pos=data.pos, extent=extent.reshape(1))


@pytest.fixture
def told():
    settings = deciding("next_type", "hydrogens", "focus", "valence_state")
    return small_model(**settings | {"conditions": [*settings["conditions"], "extent"]})


def test_contract(told, isomers):
    molecules = Batch.from_data_list([with_extent(data) for data in isomers[:4]])
    for name in told.conditions:
        check_condition(name, told, molecules)


def test_train_save_load_and_generate(told, isomers, tmp_path):
    trained = fit(
        told,
        [with_extent(data) for data in isomers[:20]],
        tmp_path,
        **{"steps": 3, "batch_size": 4, "num_validation": 2, "validation_interval": 3},
        accelerator="cpu",
        num_samples=2,
    )
    loaded = SchNetGen.from_pretrained(tmp_path / "model.safetensors")
    assert torch.equal(
        loaded.conditions["extent"].layer.weight, trained.conditions["extent"].layer.weight
    )
    assert not torch.equal(
        loaded.conditions["extent"].layer.weight, Extent(told.config).layer.weight
    )
    compact, wide, mixed = (
        generate(loaded, "C4H8O", 4, seed=1, targets={"extent": extent})
        for extent in (1.0, 30.0, torch.tensor([1.0, 30.0, 1.0, 30.0]))
    )
    assert abs(compact[1].positions - wide[1].positions).max() > 1e-3
    for number, atoms in enumerate(mixed):
        same = (compact, wide)[number % 2][number]
        assert abs(atoms.positions - same.positions).max() < 1e-4
        assert atoms.info["extent"] == (1.0, 30.0)[number % 2]


def test_what_is_missing_is_named(told, isomers, tmp_path):
    with pytest.raises(InputError, match=r"lacks 'extent'.*require extent"):
        generate(told, "C4H8O", 2)
    with pytest.raises(InputError, match="has 'gap', which none reads"):
        generate(told, "C4H8O", 2, targets={"extent": 2.0, "gap": 4.0})
    with pytest.raises(InputError, match=r"structure 0.*'extent'"):
        fit(told, isomers[:20], tmp_path, steps=1, num_validation=2, accelerator="cpu")


def test_what_is_not_finite_is_refused(told, isomers, tmp_path):
    data = [with_extent(one) for one in isomers[:20]]
    data[7].extent = torch.tensor([torch.nan])
    with pytest.raises(InputError, match="structure 7: its 'extent' is not finite"):
        fit(told, data, tmp_path / "run", steps=1, num_validation=2, accelerator="cpu")
    with pytest.raises(InputError, match="'extent' is not finite"):
        generate(told, "C4H8O", 2, targets={"extent": float("nan")})
