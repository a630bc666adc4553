import pytest
import torch

from schnetgen_pyg.pair_sums import pair_sum

PAIRS = torch.tensor(
    [[0, 1, 0, 2, 2, 3], [1, 2, 2, 3, 3, 3]]
)  # one pair twice, an atom with itself


def arguments(copies):
    generator = torch.Generator().manual_seed(copies)
    shape = (5, copies, 3) if copies else (5, 3)
    x = torch.randn(shape, dtype=torch.float64, generator=generator, requires_grad=True)
    weight = torch.randn(6, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    return x, weight


@pytest.mark.parametrize("copies", [0, 1, 2])
def test_pair_sum_against_a_loop(copies):
    x, weight = arguments(copies)
    expected = torch.zeros_like(x)
    for (first, second), w in zip(PAIRS.T.tolist(), weight, strict=True):
        expected[first] = expected[first] + w * x[second]
        expected[second] = expected[second] + w * x[first]
    assert torch.allclose(pair_sum(x, weight, PAIRS), expected)


@pytest.mark.parametrize("copies", [0, 2])
def test_derivatives_of_any_order(copies):
    def function(x, weight):
        return pair_sum(x, weight, PAIRS)

    assert torch.autograd.gradcheck(function, arguments(copies))
    assert torch.autograd.gradgradcheck(function, arguments(copies))
