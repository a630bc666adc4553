import pytest
import torch

from schnetgen_pyg.generator.random_numbers import choose, gumbel, random_keys, rotations, uniform


def test_uniform_numbers():
    keys = random_keys(7, torch.arange(40), 3)
    numbers = uniform(keys, torch.arange(5000, dtype=torch.int32))
    assert 0 < numbers.min() < 1e-4
    assert 1 - 1e-4 < numbers.max() <= 1
    counts = torch.histc(numbers, 100, 0, 1)
    assert ((counts - 2000.0) ** 2 / 2000).sum() < 149  # 0.1 % of chi2 with 99 degrees of freedom
    correlation = torch.corrcoef(numbers)
    correlation.fill_diagonal_(0)
    assert correlation.abs().max() < 0.08
    neighbours = torch.corrcoef(torch.stack([numbers[:, 1:].flatten(), numbers[:, :-1].flatten()]))
    assert neighbours[0, 1].abs() < 0.01


def test_numbers_depend_on_everything():
    index = torch.arange(8, dtype=torch.int32)
    streams = [
        uniform(random_keys(seed, torch.tensor([molecule]), step), index)
        for seed, molecule, step in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (2**32, 0, 0)]
    ]
    assert len({tuple(s.flatten().tolist()) for s in streams}) == len(streams)


def test_gumbel_moments():
    keys = random_keys(0, torch.arange(10), 0)
    noise = gumbel(keys, torch.arange(100_000, dtype=torch.int32)).double()
    assert torch.isfinite(noise).all()
    assert noise.mean() == pytest.approx(0.57722, abs=0.01)
    assert noise.var() == pytest.approx(torch.pi**2 / 6, abs=0.02)


def test_choices_follow_their_probabilities():
    log_prob = torch.tensor([0.5, 0.3, 0.2]).log()
    keys = random_keys(0, torch.arange(20_000), 9)
    counts = choose(log_prob.expand(20_000, -1), keys).bincount().double()
    expected = 20_000 * torch.tensor([0.5, 0.3, 0.2]).double()
    assert ((counts - expected) ** 2 / expected).sum() < 13.8


def test_rotations_are_rotations_and_uniform():
    turn = rotations(random_keys(0, torch.arange(4000), 2))
    assert torch.allclose(turn @ turn.mT, torch.eye(3).expand_as(turn), atol=1e-5)
    assert torch.allclose(torch.linalg.det(turn), torch.ones(4000), atol=1e-5)
    assert turn.mean(0).abs().max() < 0.04
    assert torch.allclose(turn.square().mean(0), torch.full((3, 3), 1 / 3), atol=0.03)
