"""Densities of positions against integrals in closed coordinates, and their stated errors."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.spatial.transform import Rotation

from schnetgen_pyg.generator.density import PositionDensity, log_densities

SPACING, BINS = 0.1, 60


def rough(placed, seed=0):
    """Log-probabilities without any order, as those of an untrained network."""
    generator = torch.Generator().manual_seed(seed)
    return torch.log_softmax(torch.randn(placed, BINS, generator=generator), 1)


def peaks(distances, width, spacing=0.025, bins=300):
    centers = torch.arange(bins) * spacing
    return torch.log_softmax(-0.5 * ((centers - torch.tensor(distances)[:, None]) / width) ** 2, 1)


def density(pos, log_prob, **changes):
    settings = {"spacing": SPACING, "inner": 0.8, "outer": 1.7, "width": 0.1}
    center = changes.pop("center", torch.zeros(3))
    return PositionDensity(torch.tensor(pos), log_prob, center=center, **(settings | changes))


def test_one_atom_against_a_radial_integral():
    table = rough(1)
    one = density([[0.0, 0, 0]], table)
    knots, values = SPACING * np.arange(BINS), table[0].double().numpy()
    shell = lambda r: 4 * np.pi * r**2 * np.exp(np.interp(r, knots, values))  # noqa: E731
    expected = math.log(quad(shell, 0.8, 1.7, points=knots[8:18], epsabs=1e-9)[0])
    found, error = one.log_norm()
    assert error < 0.01
    assert found == pytest.approx(expected, abs=error)


@pytest.mark.parametrize("below", [0.0, 1.3])
def test_two_atoms_against_an_integral_over_distances(below):
    """dV = 2π r₁ r₂ / R dr₁ dr₂, with a sphere that is forbidden."""
    table, apart = rough(2), 1.5
    forbidden = torch.tensor([0.0, below])
    two = density([[0.0, 0, 0], [0, 0, apart]], table, below=forbidden)
    knots = SPACING * np.arange(BINS)
    first, second = np.linspace(0.8, 1.7, 1801), np.linspace(0, 4, 8001)
    first, second = (0.5 * (x[1:] + x[:-1]) for x in (first, second))
    p1, p2 = (
        np.exp(np.interp(r, knots, row))
        for r, row in zip((first, second), table.double().numpy(), strict=True)
    )
    r1, r2 = first[:, None], second[None]
    inside = (r2 > abs(r1 - apart)) & (r2 < r1 + apart) & (r2 >= below)
    total = (2 * np.pi / apart * (p1 * first)[:, None] * (p2 * second)[None] * inside).sum()
    expected = math.log(total * 0.0005 * 0.0005)
    found, error = two.log_norm()
    assert found == pytest.approx(expected, abs=error)


def test_bonds_beyond_the_limit_are_left_out():
    """Where the new atom may have one bond, the lens within reach of both atoms is missing."""
    flat = torch.zeros(2, BINS)
    bond = torch.tensor([1.5, 1.5])
    settings = {"inner": 0.0, "outer": 1.5, "bond": bond, "width": 0.05}
    pos = [[0.0, 0, 0], [0, 0, 1.5]]
    whole = density(pos, flat, limit=2, **settings).log_norm()
    part = density(pos, flat, limit=1, **settings).log_norm()
    ball, lens = 4 / 3 * math.pi * 1.5**3, 5 / 12 * math.pi * 1.5**3
    assert whole[0] == pytest.approx(math.log(ball), abs=0.01)
    assert part[0] == pytest.approx(math.log(ball - lens), abs=0.01)


@pytest.mark.parametrize(("others", "width"), [(0, 0.02), (1, 0.02), (5, 0.02), (15, 0.02)])
def test_the_error_is_no_larger_than_stated(others, width):
    """Narrow peaks, which meet in a point: the norm does not depend on how the lattice lies."""
    rng = np.random.default_rng(others)
    pos = np.concatenate([np.zeros((1, 3)), rng.normal(size=(others, 3)) * 1.5])
    table = peaks(np.linalg.norm(pos - [0, 0, 1.4], axis=1).tolist(), width)
    found = []
    for turn in Rotation.random(5, rng=1):
        turned = turn.apply(pos).astype(np.float32)
        found.append(density(turned, table, spacing=0.025, width=width).log_norm())
    values, errors = np.array(found).T
    assert errors.max() < 0.01
    assert np.ptp(values) <= 2 * errors.max()


def test_positions_outside_have_no_density():
    one = density([[0.0, 0, 0], [0, 0, 1.5]], rough(2), below=torch.tensor([0.0, 0.5]))
    points = torch.tensor([[0, 0, 0.7], [0, 0, 1.75], [0, 0, 1.2], [1.2, 0, 0]])
    values, errors = log_densities([one] * 4, points)
    assert torch.isfinite(values).tolist() == [False, False, False, True]
    assert (errors >= 0).all()
