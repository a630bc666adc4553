"""Surfaces about molecules."""

import numpy as np
import pytest
from ase.build import molecule

from schnetgen_pyg.chem.isosurface import Grid, inverse_squares, isosurface
from schnetgen_pyg.errors import InputError

BENZENE = molecule("C6H6").positions


def test_gradient():
    points = np.random.default_rng(0).normal(size=(5, 3)) * 2
    gradient = inverse_squares(BENZENE, points)[1]
    for axis, way in enumerate(1e-5 * np.eye(3)):
        high, low = (inverse_squares(BENZENE, points + sign * way)[0] for sign in (1, -1))
        assert np.allclose(gradient[:, axis], (high - low) / 2e-5, rtol=1e-5)


@pytest.mark.parametrize(("pos", "level"), [(BENZENE, 3.7), (BENZENE, 1.0), (BENZENE[:1], 3.7)])
def test_a_grid_holds_the_whole_surface(pos, level):
    grid = Grid.around(pos, level, 0.2)
    with np.errstate(divide="ignore"):
        sums = inverse_squares(pos, grid.points)[0].reshape(grid.shape)
    for axis in range(3):
        assert sums.take([0, -1], axis).max() < level


@pytest.mark.parametrize(("pos", "level"), [(BENZENE, 3.7), (BENZENE, 1.0), (BENZENE[:1], 3.7)])
def test_the_surface_is_closed_exact_and_faces_outward(pos, level):
    pytest.importorskip("skimage")
    vertices, normals, faces = isosurface(pos, level, 0.2)
    assert np.allclose(inverse_squares(pos, vertices)[0], level, rtol=1e-6)
    edges = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    different, count = np.unique(edges, axis=0, return_counts=True)
    assert (count == 2).all()
    assert len(vertices) - len(different) + len(faces) == 2  # Euler: as a sphere
    corners = vertices[faces]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    volume = (corners[:, 0] * across).sum() / 6
    assert volume > 0
    assert ((across * normals[faces[:, 0]]).sum(1) > -1e-3).all()
    if len(pos) == 1:
        assert volume == pytest.approx(4 / 3 * np.pi * level**-1.5, rel=0.1)


@pytest.mark.parametrize(
    ("level", "spacing", "said"),
    [
        (0.0, 0.1, "level must be positive"),
        (float("nan"), 0.1, "level must be positive"),
        (3.7, 0.3, "spacing must be positive and at most 0.26 Å"),
        (3.7, -1.0, "spacing must be positive"),
        (3.7, 1e-3, "points, and 20,000,000 are the most"),
    ],
)
def test_what_cannot_be_used(level, spacing, said):
    with pytest.raises(InputError, match=said):
        Grid.around(BENZENE, level, spacing)
