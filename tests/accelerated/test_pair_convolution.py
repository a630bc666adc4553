import pytest
import torch

from schnetgen_pyg.accelerated.pair_convolution import block_sum, pair_sum

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


HELD = [1, 2, 4]  # atoms of three steps of two molecules with four atoms


def block_arguments(copies, ratio):
    """Sources that not every step has, weights for ``ratio`` targets of each atom, and which of
    the targets are there."""
    generator = torch.Generator().manual_seed(copies + ratio)
    there = torch.arange(4) < torch.tensor(HELD).unsqueeze(1)
    x = torch.randn(2, 3, 4, copies, 3, dtype=torch.float64, generator=generator)
    x *= there[:, :, None, None]
    weight = torch.randn(4, 2, 4 * ratio, 3, dtype=torch.float64, generator=generator)
    targets = there.repeat_interleave(ratio, 1)[:, :, None, None]
    return x.requires_grad_(), weight.requires_grad_(), targets


@pytest.mark.parametrize("copies", [1, 2])
@pytest.mark.parametrize("ratio", [1, 3])
def test_block_sum_against_einsum(copies, ratio):
    x, weight, there = block_arguments(copies, ratio)
    expected = torch.einsum("jmtc,msjkc->mstkc", weight, x)
    assert torch.allclose(block_sum(x, weight, HELD) * there, expected * there)
    with torch.no_grad():
        assert torch.allclose(block_sum(x, weight, HELD) * there, expected * there)


@pytest.mark.parametrize("copies", [1, 2])
@pytest.mark.parametrize("ratio", [1, 3])
def test_block_sum_has_derivatives_of_any_order(copies, ratio):
    x, weight, targets = block_arguments(copies, ratio)
    sources = targets[:, ::ratio]

    def function(x, weight):
        return block_sum(x * sources, weight, HELD) * targets

    assert torch.autograd.gradcheck(function, (x, weight))
    assert torch.autograd.gradgradcheck(function, (x, weight))
