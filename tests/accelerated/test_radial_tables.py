import pickle

import pytest
import torch

from schnetgen_pyg.accelerated.radial_tables import KeptTable, RadialTable
from schnetgen_pyg.representations import SchNet

DISTANCE = torch.linspace(0.3, 3.9, 501, dtype=torch.float64)


def function(distance):
    waves = torch.sin(torch.tensor([2.0, 5.0], dtype=torch.float64) * distance.unsqueeze(1))
    return [waves, torch.exp(-distance).unsqueeze(1)]


def table(spacing=0.01, dtype=torch.float64):
    return RadialTable(function, 4.0, torch.zeros(1, dtype=dtype), spacing)


def error(spacing):
    found = zip(table(spacing)(DISTANCE), function(DISTANCE), strict=True)
    return max(float((a - b).abs().max()) for a, b in found)


def test_the_error_falls_with_the_fourth_power_of_the_spacing():
    assert error(0.04) < 1e-5
    assert 12 < error(0.04) / error(0.02) < 20


def test_knots_are_met_and_the_end_is_inside():
    knots = torch.tensor([0.01, 0.5, 1.23, 4.0], dtype=torch.float64)
    for a, b in zip(table()(knots), function(knots), strict=True):
        assert torch.allclose(a, b, atol=1e-10)


def test_derivatives_are_those_of_the_polynomials():
    distance = DISTANCE[::50].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda d: tuple(table(0.05)(d)), distance)


def test_there_are_no_second_derivatives():
    distance = DISTANCE[:3].clone().requires_grad_()
    (slope,) = torch.autograd.grad(table()(distance)[0].square().sum(), distance, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


def test_single_precision():
    found = table(dtype=torch.float32)(DISTANCE.float())
    assert found[0].dtype == torch.float32
    assert torch.allclose(found[0].double(), function(DISTANCE)[0], atol=2e-6)


def test_values_are_the_same_without_derivatives():
    distance = DISTANCE.clone().requires_grad_()
    with_slopes = table()(distance)
    for a, b in zip(with_slopes, table()(DISTANCE), strict=True):
        assert torch.equal(a.detach(), b)


def test_copies_make_their_own():
    kept = KeptTable()
    network = SchNet(
        hidden_channels=8, num_filters=8, num_interactions=1, num_gaussians=10, cutoff=3.0
    )
    first = kept.of(network)
    assert kept.of(network) is first
    copied = pickle.loads(pickle.dumps(kept))
    assert not hasattr(copied, "table")
    for here, there in zip(copied.of(network).rows, first.rows, strict=True):
        assert torch.equal(here, there)


@pytest.mark.parametrize("cutoff", [3.0, None])
def test_whether_functions_end_in_zero(cutoff):
    network = SchNet(
        hidden_channels=8,
        num_filters=8,
        num_interactions=2,
        num_gaussians=10,
        cutoff=cutoff,
        max_distance=3.0,
    )
    torch.nn.init.ones_(network.interactions[1].filter_network.lin2.bias)
    table = KeptTable().of(network)
    beyond = torch.tensor([50.0] if cutoff is None else [3.0, 3.004, 3.2])
    assert table.ends_in_zero == (cutoff is not None)
    assert table.ends_in_zero == (not torch.cat(table(beyond)).any())
