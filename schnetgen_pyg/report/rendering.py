"""Balls, sticks and clouds as an image, drawn with NumPy and Pillow alone.

Parallel projection along z, which points to the viewer. Every ball and stick has its exact depth;
what is farther away is dimmer.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

Array = NDArray[np.floating]

BACKGROUND = np.array([16, 22, 34], dtype=np.float32)
#: Where the light comes from, as a unit vector.
LIGHT = np.array([-0.48, 0.58, 0.66], dtype=np.float32)
#: How much of its colour what lies farthest behind has lost.
FOG = 0.55
#: How much brighter than balls a surface of glass is: its colours are a scale.
GLASS = 0.7


class Canvas:
    """An image with depth.

    Args:
        width, height: in pixels.
        scale: pixels of an Å.
        depth: half the depth of the scene in Å, over which things become dimmer.
    """

    def __init__(self, width: int, height: int, scale: float, depth: float):
        self.scale, self.depth = scale, max(depth, 1e-3)
        self.middle = np.array([width / 2, height / 2])
        self.color = np.tile(BACKGROUND, (height, width, 1))
        #: z of what is seen (Å).
        self.z = np.full((height, width), -np.inf, dtype=np.float32)

    def pixels(self, pos: Array) -> Array:
        """Places [..., 2] on the image of positions [..., 3] in Å."""
        return self.middle + self.scale * pos[..., :2] * (1, -1)

    def ball(self, center: Array, radius: float, color: Array, glow: float = 0.0) -> None:
        """A ball; ``glow`` from 0 to 1 makes it brighter."""
        self._rounded(center, center, radius, color, glow)

    def stick(self, start: Array, end: Array, radius: float, color: Array) -> None:
        """A stick between two positions, with round ends."""
        self._rounded(start, end, radius, color, 0.0)

    def _rounded(self, start: Array, end: Array, radius: float, color: Array, glow: float) -> None:
        """All points not farther than ``radius`` from a line: a ball where it is a point."""
        ends = self.pixels(np.stack([start, end]))
        margin = radius * self.scale + 1
        height, width = self.z.shape
        left, top = np.maximum(0, np.floor(ends.min(0) - margin)).astype(int)
        right, bottom = np.minimum((width, height), np.ceil(ends.max(0) + margin)).astype(int)
        if left >= right or top >= bottom:
            return
        x, y = np.meshgrid(np.arange(left, right) + 0.5, np.arange(top, bottom) + 0.5)
        place = np.stack([x, y], -1).astype(np.float32)
        line = ends[1] - ends[0]
        along = ((place - ends[0]) @ line / max(float(line @ line), 1e-9)).clip(0, 1)
        across = (place - ends[0] - along[..., None] * line) * (1, -1) / (radius * self.scale)
        square = (across**2).sum(-1)
        up = np.sqrt((1 - square).clip(0))
        z = start[2] + along * (end[2] - start[2]) + radius * up
        box = np.s_[top:bottom, left:right]
        seen = (square <= 1) & (z > self.z[box])
        normal = np.concatenate([across, up[..., None]], -1)
        shaded = self._shaded(normal, color, z, glow)
        self.color[box] = np.where(seen[..., None], shaded, self.color[box])
        self.z[box] = np.where(seen, z, self.z[box])

    def _shaded(self, normal: Array, color: Array, z: Array, glow: float) -> Array:
        """The colour of a surface: diffuse and reflected light, a dark rim, and fog."""
        diffuse = (normal @ LIGHT).clip(0)
        mirrored = (2 * diffuse * normal[..., 2] - LIGHT[2]).clip(0) ** 24
        bright = 0.34 + 0.66 * diffuse + glow * 0.35
        bright *= 1 - 0.5 * (1 - normal[..., 2]) ** 3
        surface = bright[..., None] * color + 120 * mirrored[..., None]
        fog = FOG * (0.5 - 0.5 * z / self.depth).clip(0, 1)
        return surface + fog[..., None] * (BACKGROUND - surface)

    def mesh(
        self,
        vertices: Array,
        normals: Array,
        faces: NDArray[np.integer],
        colors: Array,
        opacity: float,
    ) -> None:
        """A surface of small triangles, one layer of glass over what is behind it.

        Args:
            vertices: [num_vertices, 3] in Å.
            normals: unit vectors that point outward [num_vertices, 3].
            faces: vertices of each triangle [num_faces, 3].
            colors: of the vertices [num_vertices, 3], 0 to 255.
            opacity: how little is seen of what is behind it, from 0 to 1.
        """
        depth, layer = np.full_like(self.z, -np.inf), np.zeros_like(self.color)
        known = np.concatenate([vertices[:, 2:], normals, colors], 1).astype(np.float32)
        place = self.pixels(vertices)
        for face in faces[normals[faces, 2].max(1) > 0]:
            _fill(depth, layer, place[face], known[face], self._shaded)
        front = (depth > self.z)[..., None]
        self.color += front * opacity * (layer - self.color)
        self.z = np.maximum(self.z, depth)

    def cloud(self, points: Array, color: Array, strength: float, softness: float) -> None:
        """A glow of points [num, 3], but for those behind something.

        Args:
            strength: how much of the glow's colour is seen where it is brightest, from 0 to 1.
            softness: blur in Å.
        """
        height, width = self.z.shape
        x, y = np.floor(self.pixels(points)).astype(int).T
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        x, y, z = x[inside], y[inside], points[inside, 2]
        count = np.zeros((2, height, width), dtype=np.float32)
        for layer, shown in zip(
            count, (z > self.z[y, x], np.ones_like(x, dtype=bool)), strict=True
        ):
            np.add.at(layer, (y[shown], x[shown]), 1.0)
            gaussian_filter(layer, softness * self.scale, truncate=3, output=layer)
        seen, whole = count
        alpha = strength * (1 - np.exp(-3 * seen / max(whole.max(), 1e-9)))
        self.color += alpha[..., None] * (color - self.color)

    def image(self, width: int, height: int) -> Image.Image:
        """The picture, made smaller for smooth edges."""
        full = Image.fromarray(self.color.clip(0, 255).astype(np.uint8))
        return full.resize((width, height), Image.Resampling.BOX)


def _fill(
    depth: Array,
    layer: Array,
    corners: Array,
    known: Array,
    shaded: Callable[[Array, Array, Array, float], Array],
) -> None:
    """Draw one triangle.

    Args:
        depth, layer: z and colour of what is seen of the surface so far.
        corners: places on the image [3, 2].
        known: of the corners z, normal and colour [3, 7].
    """
    height, width = depth.shape
    left, top = np.maximum(0, np.floor(corners.min(0))).astype(int)
    right, bottom = np.minimum((width, height), np.ceil(corners.max(0)) + 1).astype(int)
    (ax, ay), (bx, by) = corners[1] - corners[0], corners[2] - corners[0]
    area = ax * by - ay * bx
    if left >= right or top >= bottom or abs(area) < 1e-9:
        return
    x = np.arange(left, right) + 0.5 - corners[0, 0]
    y = np.arange(top, bottom)[:, None] + 0.5 - corners[0, 1]
    second, third = (x * by - y * bx) / area, (y * ax - x * ay) / area
    share = np.stack([1 - second - third, second, third], -1)
    values = share.clip(0, 1).astype(np.float32) @ known
    box = np.s_[top:bottom, left:right]
    seen = (share.min(-1) >= -1e-6) & (values[..., 0] > depth[box])
    if seen.any():
        color = shaded(values[..., 1:4], values[..., 4:], values[..., 0], GLASS)
        layer[box] = np.where(seen[..., None], color, layer[box])
        depth[box] = np.where(seen, values[..., 0], depth[box])
