"""A condition from outside the package that may be given or not, with no more than has to be."""

import pytest
import torch
from torch import nn
from torch_geometric.data import Batch, Data

from schnetgen_pyg import InputError, fit, generate
from schnetgen_pyg.generator.conditions import CONDITIONS, Condition
from schnetgen_pyg.testing import check_condition
from tests.conftest import deciding, small_model
from tests.training.test_generator import QUICK


class Span(Condition):
    """The largest distance from the middle in Å, or NaN."""

    optional = ("span",)

    def __init__(self, config):
        super().__init__(config)
        self.layer = nn.Linear(1, config.hidden_channels)

    def forward(self, partial):
        known = ~partial.span.isnan().unsqueeze(1)
        return self.layer(partial.span.nan_to_num().unsqueeze(1).to(self.layer.weight)) * known


CONDITIONS.register("span", Span)


@pytest.fixture
def told():
    settings = deciding("next_type", "hydrogens", "focus", "valence_state")
    return small_model(**settings | {"conditions": [*settings["conditions"], "span"]})


def test_contract(told, isomers):
    molecules = Batch.from_data_list([Data(z=d.z, pos=d.pos) for d in isomers[:3]])
    molecules.span = torch.tensor([3.0, 4.0, 5.0])
    check_condition("span", told, molecules)


def test_what_says_something_of_nothing_is_found(told, isomers):
    molecules = Batch.from_data_list([Data(z=d.z, pos=d.pos) for d in isomers[:3]])
    molecules.span = torch.tensor([3.0, 4.0, 5.0])
    told.conditions["span"].forward = lambda partial: told.conditions["span"].layer(
        partial.span.float().nan_to_num().unsqueeze(1)
    )
    with pytest.raises(AssertionError, match="not zero where nothing is given"):
        check_condition("span", told, molecules)


def test_train_and_generate(told, isomers, tmp_path):
    """Some of the molecules have it, in the data or in info; guidance holds for it, too."""
    data = [Data(z=d.z, pos=d.pos) for d in isomers[:20]]
    for k in range(0, 20, 3):
        data[k].info = {"span": 4.0 + 0.1 * k}
    trained = fit(told, data, tmp_path, **QUICK | {"steps": 3})
    settings = {"seed": 1, "gibbs_rounds": 0}
    plain = generate(trained, "C4H8O", 2, **settings)
    asked = generate(trained, "C4H8O", 2, targets={"span": [float("nan"), 30.0]}, **settings)
    assert abs(plain[0].positions - asked[0].positions).max() < 1e-4
    assert abs(plain[1].positions - asked[1].positions).max() > 1e-3
    assert [atoms.info.get("span_target") for atoms in asked] == [None, 30.0]
    more = generate(trained, "C4H8O", 1, targets={"span": 30.0}, guidance=3.0, **settings)
    less = generate(trained, "C4H8O", 1, targets={"span": 30.0}, **settings)
    assert abs(more[0].positions - less[0].positions).max() > 1e-3
    with pytest.raises(InputError, match="no structure has a number 'span'"):
        fit(small_model(**vars(told.config)), isomers[:20], tmp_path / "none", **QUICK)
