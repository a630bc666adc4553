"""The condition on the 2-D graph."""

import pytest
import torch
from torch_geometric.data import Batch

from schnetgen_pyg import InputError
from schnetgen_pyg.data.conversion import as_data
from schnetgen_pyg.data.graph_features import with_graphs
from schnetgen_pyg.generator.losses import losses
from schnetgen_pyg.representations.graph_encoder import GRAPH_LAYERS
from schnetgen_pyg.testing import check_condition
from tests.conftest import small_model
from tests.molecules import embedded

#: A generator of conformers.
GIVEN = {"order": "bonded", "decisions": ("parent", "distance"), "conditions": ("graph",)}


def molecules(*texts):
    return Batch.from_data_list(with_graphs(as_data([embedded(text) for text in texts])))


def seeded():
    return torch.Generator().manual_seed(0)


def awake(model):
    """With last layers that say something, as after a training."""
    for layer in (model.conditions["graph"].molecule, model.conditions["graph"].atom):
        torch.nn.init.normal_(layer.weight, std=0.1)
    torch.nn.init.normal_(model.conditions["graph"].next.weight, std=0.1)
    return model


@pytest.mark.parametrize("encoder", GRAPH_LAYERS)
def test_contract(encoder):
    model = small_model(**GIVEN, encoder=encoder)
    check_condition("graph", model, molecules("CC(=O)O", "C=CC"))


def test_it_says_nothing_before_it_has_learned_and_something_after():
    batch = molecules("CC(=O)O", "C=CO")
    plain = small_model(**GIVEN | {"conditions": ()})
    model = small_model(**GIVEN)
    model.load_state_dict(plain.state_dict(), strict=False)
    with torch.no_grad():
        # The random numbers of the mirror images come after those of the order.
        before, told = (losses(one, batch, seeded())["distance"] for one in (plain, model))
        assert float(told) == pytest.approx(float(before))
        assert abs(losses(awake(model), batch, seeded())["distance"] - before) > 1e-4


def test_every_part_of_it_learns():
    model = awake(small_model(**GIVEN))
    losses(model, molecules("CC(=O)O", "C=CO"), seeded())["distance"].backward()
    for name, weights in model.conditions["graph"].named_parameters():
        assert weights.grad is not None, name


def test_what_lacks_is_named():
    model = small_model(**GIVEN)
    with pytest.raises(InputError, match="with_graphs finds it"):
        losses(model, Batch.from_data_list(as_data([embedded("CO")])), seeded())
    z, pos = torch.tensor([6]), torch.zeros(1, 3)
    with pytest.raises(InputError, match="needs 'graph_atoms'"):
        model(z, pos, torch.tensor([6]))
    with pytest.raises(InputError, match="encoder must be one of gine, gps, dmpnn"):
        small_model(**GIVEN, encoder="gcn")
