"""The package's own decisions and conditions keep to the contracts that users' have."""

import pytest
from torch_geometric.data import Batch, Data

from schnetgen_pyg import InputError
from schnetgen_pyg.testing import check_condition, check_decision
from tests.conftest import deciding, small_model

ALL = deciding("next_type", "valence_state", "hydrogens", "focus")


@pytest.fixture(scope="module")
def molecules(isomers):
    return Batch.from_data_list([Data(z=d.z, pos=d.pos) for d in isomers[:3]])


@pytest.mark.parametrize("name", ALL["decisions"])
def test_decisions(name, molecules):
    check_decision(name, small_model(**ALL), molecules, "C3H6O")


@pytest.mark.parametrize("name", ALL["conditions"])
def test_conditions(name, molecules):
    check_condition(name, small_model(**ALL), molecules)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decisions": ("focus",)}, "'distance' among them"),
        ({"decisions": ("distance", "focus"), "order": "bonded"}, "focus and distance as the last"),
        ({"decisions": ("hydrogens", "distance")}, "with focus"),
        ({"decisions": ("next_type", "distance")}, "NextType needs remaining_formula"),
        ({"decisions": ("focus", "distance")}, "order must be a bonded one"),
        ({"conditions": ("valence_states",)}, "with remaining_formula"),
        ({"decisions": ("next_typ", "distance")}, "did you mean 'next_type'"),
        ({"conditions": ("gap",)}, "no condition is named 'gap'"),
        ({"representation": "shcnet"}, "no representation is named 'shcnet'|did you mean 'schnet'"),
        ({"settings": {"hidden_channels": 9}}, "those of the generator itself"),
        ({"num_interaction": 2}, "did you mean 'num_interactions'"),
    ],
)
def test_what_does_not_go_together_is_named(changes, message):
    with pytest.raises(InputError, match=message):
        small_model(**changes)
