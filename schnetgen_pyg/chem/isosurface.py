"""A closed surface about a molecule: where the sum of inverse squared distances to its atoms has
one value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schnetgen_pyg.errors import InputError, require

Array = NDArray[np.floating]

#: Points of a grid at most; at eight bytes each they take 160 MB.
MOST_POINTS = 20_000_000
#: Pairs of a point and an atom that are in memory at a time.
CHUNK = 2_000_000


def inverse_squares(pos: Array, points: Array) -> tuple[Array, Array]:
    """f(r) = Σ_i ‖r − r_i‖⁻² and its gradient, of atoms ``pos`` [num_atoms, 3] in Å.

    Args:
        points: r [num_points, 3] in Å; at an atom f is infinite.

    Returns:
        [num_points] in Å⁻² and [num_points, 3] in Å⁻³.
    """
    value, gradient = np.empty(len(points)), np.empty((len(points), 3))
    step = max(1, CHUNK // len(pos))
    for start in range(0, len(points), step):
        part = slice(start, start + step)
        away = points[part, None] - pos
        with np.errstate(divide="ignore", invalid="ignore"):
            inverse = 1 / np.square(away).sum(2)
            value[part] = inverse.sum(1)
            gradient[part] = -2 * (np.square(inverse)[..., None] * away).sum(1)
    return value, gradient


@dataclass(frozen=True)
class Grid:
    """Evenly spaced points.

    Attributes:
        origin: the first point [3] in Å.
        spacing: in Å, the same in all directions.
        shape: number of points in each direction.
    """

    origin: Array
    spacing: float
    shape: tuple[int, int, int]

    @classmethod
    def around(cls, pos: Array, level: float, spacing: float) -> Grid:
        """That holds the whole isosurface of a level in Å⁻²: a point farther than √(n/level) from
        each of n atoms is outside of it.

        Raises:
            InputError: for a level or a spacing that cannot be used.
        """
        require(0 < level < np.inf, "level", level, "positive, in Å⁻²")
        widest = level**-0.5 / 2
        if not 0 < spacing <= widest:
            raise InputError(
                f"spacing must be positive and at most {widest:.3g} Å, which resolves the surface "
                f"about one atom at level {level:g}; got {spacing:g}"
            )
        margin = np.sqrt(len(pos) / level) + 2 * spacing
        low, high = pos.min(0) - margin, pos.max(0) + margin
        shape = np.ceil((high - low) / spacing).astype(int) + 1
        if shape.prod() > MOST_POINTS:
            raise InputError(
                f"spacing {spacing:g} Å makes a grid of {shape.prod():,} points, and "
                f"{MOST_POINTS:,} are the most; take a wider one, or a higher level"
            )
        return cls(low, spacing, (int(shape[0]), int(shape[1]), int(shape[2])))

    @property
    def points(self) -> Array:
        """All points [num_points, 3] in Å, the last direction fastest."""
        indices = np.stack(np.meshgrid(*map(np.arange, self.shape), indexing="ij"), -1)
        return self.origin + self.spacing * indices.reshape(-1, 3)


class Mesh(NamedTuple):
    """A closed surface of triangles.

    Attributes:
        vertices: [num_vertices, 3] in Å.
        normals: unit vectors that point outward [num_vertices, 3].
        faces: vertices of each triangle [num_faces, 3], counterclockwise as seen from outside.
    """

    vertices: Array
    normals: Array
    faces: NDArray[np.int64]


def isosurface(pos: Array, level: float, spacing: float) -> Mesh:
    """Where Σ_i ‖r − r_i‖⁻² = ``level``: marching cubes (scikit-image) on a grid, and every vertex
    taken onto the surface by Newton's method.

    Args:
        pos: positions of the atoms [num_atoms, 3] in Å.
        level: in Å⁻².
        spacing: of the grid in Å.

    Raises:
        InputError: for values that cannot be used, or where scikit-image is not installed.
    """
    try:
        from skimage.measure import marching_cubes
    except ImportError as error:
        raise InputError(
            'surfaces of triangles need scikit-image; pip install "schnetgen_pyg[surface]"'
        ) from error
    grid = Grid.around(pos, level, spacing)
    # 1/√f has no poles: near an atom it is the distance.
    with np.errstate(divide="ignore"):
        height = inverse_squares(pos, grid.points)[0] ** -0.5
    found = marching_cubes(height.reshape(grid.shape), level**-0.5, spacing=3 * (spacing,))
    vertices = grid.origin + found[0].astype(np.float64)
    for _ in range(4):
        value, gradient = inverse_squares(pos, vertices)
        square = np.square(gradient).sum(1)
        step = np.divide(level - value, square, out=np.zeros_like(value), where=square > 1e-6)
        step = step[:, None] * gradient
        length = np.linalg.norm(step, axis=1, keepdims=True)
        vertices += step * np.minimum(1, spacing / 4 / np.maximum(length, 1e-12))
    gradient = inverse_squares(pos, vertices)[1]
    normals = -gradient / np.maximum(np.linalg.norm(gradient, axis=1, keepdims=True), 1e-12)
    return Mesh(vertices, normals, found[1].astype(np.int64))
