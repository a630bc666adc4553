"""Local chemical potentials as files that viewers of molecules open, as a picture and as a page."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import ase
import numpy as np
from ase.data import chemical_symbols
from ase.data.colors import jmol_colors
from ase.io.cube import write_cube
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from schnetgen_pyg.chem.bonds import bond_pairs, connectivity
from schnetgen_pyg.chem.elements import hill_formula
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.potentials.probe import ProbedGrid, ProbedSurface
from schnetgen_pyg.report.animation import OVERSAMPLING, ball_radius, draw_sticks
from schnetgen_pyg.report.page import ASSETS
from schnetgen_pyg.report.rendering import BACKGROUND, Array, Canvas
from schnetgen_pyg.storage.atomic import replacing

#: matplotlib's, red where the energy is low: where the probe is attracted.
COLORS = "RdYlBu"
#: Share of the vertices at each end whose colour is that of the end.
CLIPPED = 0.02
#: 3Dmol.js counts the vertices of a coloured surface in 16 bits.
MOST_VERTICES = 64_000
#: Of pictures, in pixels.
WIDTH, HEIGHT = 560, 420


def color_range(values: Array) -> tuple[float, float]:
    """Energies in eV of the first and of the last colour."""
    low, high = np.quantile(values, [CLIPPED, 1 - CLIPPED]).tolist()
    return low, max(high, low + 1e-6)


def _colors(values: Array) -> Array:
    """Of vertices, 0 to 255 [num_vertices, 3]."""
    from matplotlib import colormaps

    low, high = color_range(values)
    shares = ((values - low) / (high - low)).clip(0, 1)
    return np.asarray(255 * colormaps[COLORS](shares)[:, :3]).round()


def write_ply(path: str | os.PathLike[str], surface: ProbedSurface) -> None:
    """Write a mesh (Stanford's PLY, binary), atomically: vertices in Å with normals, colours and
    ``potential`` in eV; atoms are not in it."""
    vertices = np.empty(
        len(surface.vertices),
        [
            *((name, "<f4") for name in ("x", "y", "z", "nx", "ny", "nz")),
            *((name, "u1") for name in ("red", "green", "blue")),
            ("potential", "<f4"),
        ],
    )
    for names, columns in (
        (("x", "y", "z"), surface.vertices),
        (("nx", "ny", "nz"), surface.normals),
        (("red", "green", "blue"), _colors(surface.values)),
        (("potential",), surface.values[:, None]),
    ):
        for name, column in zip(names, columns.T, strict=True):
            vertices[name] = column
    faces = np.empty(len(surface.faces), [("number", "u1"), ("corners", "<i4", 3)])
    faces["number"], faces["corners"] = 3, surface.faces
    kinds = {"<f4": "float", "|u1": "uchar"}
    header = [
        "ply",
        "format binary_little_endian 1.0",
        f"comment {_title(surface.atoms, surface.probe, surface.level)}",
        f"element vertex {len(vertices)}",
        *(f"property {kinds[str(kind[1])]} {kind[0]}" for kind in vertices.dtype.descr),
        f"element face {len(faces)}",
        "property list uchar int vertex_indices",
        "end_header\n",
    ]
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write("\n".join(header).encode())
        file.write(vertices.tobytes())
        file.write(faces.tobytes())


def potential_path(path: str | os.PathLike[str]) -> Path:
    """Where the second volume goes: ``x.potential.cube`` beside ``x.cube``."""
    return Path(path).with_suffix(".potential.cube")


def write_cubes(path: str | os.PathLike[str], volumes: ProbedGrid) -> tuple[Path, Path]:
    """Write two cube files, each atomically: Σ_i ‖r − r_i‖⁻² (Å⁻²), whose isosurface at ``level``
    is drawn, and `potential_path` with the energies (eV) that colour it."""
    shown = Path(path), potential_path(path)
    title = _title(volumes.atoms, volumes.probe, volumes.level)
    words = "the surface: sum of inverse squared distances (1/Angstrom^2)", "the colour (eV)"
    largest = 100 * volumes.level  # at an atom it is infinite
    for name, data, what in zip(
        shown, (volumes.sums.clip(max=largest), volumes.values), words, strict=True
    ):
        # The cell of the grid, of which the writer makes the steps; a molecule has none.
        boxed = ase.Atoms(volumes.atoms.numbers, volumes.atoms.positions)
        boxed.set_cell(volumes.grid.spacing * np.array(volumes.grid.shape))
        with replacing(name) as temporary, temporary.open("w") as file:
            write_cube(file, boxed, data, origin=volumes.grid.origin, comment=f"{title}; {what}")
    return shown


def _title(atoms: ase.Atoms, probe: str, level: float) -> str:
    """In the letters of old formats."""
    formula = hill_formula(atoms.numbers)
    return (
        f"Local chemical potential of {formula}, probe {probe}, isosurface {level:g} 1/Angstrom^2"
    )


def draw_surface(path: str | os.PathLike[str], surface: ProbedSurface) -> None:
    """Draw the molecule in its surface of glass (PNG), seen along its thinnest direction and a
    little from above, with a bar of the colours."""
    from matplotlib.figure import Figure

    figure = Figure(
        figsize=(WIDTH / 100, HEIGHT / 100), facecolor=tuple((BACKGROUND / 255).tolist())
    )
    add_surface(figure, surface)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)


def add_surface(figure: Any, surface: ProbedSurface, title: str = "") -> None:
    """`draw_surface` in a matplotlib ``Figure`` or subfigure, all of it."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    axes = figure.add_axes((0.0, 0.0, 0.86, 1.0))
    axes.set_axis_off()
    axes.imshow(_image(surface))
    axes.set_title(title, color="white", fontsize=11, y=0.92)
    mappable = ScalarMappable(Normalize(*color_range(surface.values)), COLORS)
    bar = figure.colorbar(mappable, cax=figure.add_axes((0.84, 0.14, 0.025, 0.7)), extend="both")
    bar.set_label(f"probe {surface.probe} (eV)", color="white", fontsize=9)
    bar.ax.tick_params(colors="white", labelsize=8)


def _image(surface: ProbedSurface) -> Any:
    """The molecule and the surface, without the bar."""
    centre = surface.atoms.positions.mean(0)
    rotation = _view(surface.atoms.positions - centre)
    vertices = (surface.vertices - centre) @ rotation
    pos = (surface.atoms.positions - centre) @ rotation
    width, height = round(0.86 * WIDTH), HEIGHT
    reach = np.abs(vertices).max(0) * 1.08
    scale = OVERSAMPLING * min(width / 2 / reach[0], height / 2 / reach[1])
    canvas = Canvas(OVERSAMPLING * width, OVERSAMPLING * height, scale, 3 * float(reach.max()))
    draw_sticks(canvas, surface.atoms, pos, np.ones(len(pos)))
    for place, number in zip(pos, surface.atoms.numbers, strict=True):
        canvas.ball(place, ball_radius(number), 30 + 225 * jmol_colors[number])
    normals = surface.normals @ rotation
    canvas.mesh(vertices, normals, surface.faces, _colors(surface.values), 0.72)
    return canvas.image(width, height)


def _view(pos: Array) -> Array:
    """A rotation [3, 3] that brings the longest direction to x and the thinnest to the viewer, and
    leans it by 25°."""
    axes = np.linalg.svd(pos, full_matrices=True)[2].T if len(pos) > 1 else np.eye(3)
    axes[:, 2] *= np.linalg.det(axes)  # turned, not mirrored
    cosine, sine = np.cos(np.radians(25)), np.sin(np.radians(25))
    return np.asarray(axes @ np.array([[1, 0, 0], [0, cosine, sine], [0, -sine, cosine]]))


def write_surface_page(path: str | os.PathLike[str], surface: ProbedSurface) -> None:
    """Write one HTML file that opens offline and lets the surface be turned, atomically.

    Raises:
        InputError: for more vertices than the viewer can colour.
    """
    if len(surface.vertices) >= MOST_VERTICES:
        raise InputError(
            f"{Path(path)}: the viewer colours surfaces of fewer than {MOST_VERTICES:,} vertices, "
            f"and this one has {len(surface.vertices):,}; take a wider spacing"
        )
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    low, high = color_range(surface.values)
    shown = {
        "z": [chemical_symbols[number] for number in surface.atoms.numbers],
        "pos": surface.atoms.positions.round(4).tolist(),
        "bonds": bond_pairs(connectivity(surface.atoms)).tolist(),
        "vertices": surface.vertices.round(3).tolist(),
        "normals": surface.normals.round(3).tolist(),
        "faces": surface.faces.ravel().tolist(),
        "colors": _colors(surface.values).astype(int).tolist(),
        "values": surface.values.round(4).tolist(),
    }
    environment = Environment(
        loader=FileSystemLoader(ASSETS), autoescape=True, undefined=StrictUndefined
    )
    html = environment.get_template("surface.html").render(
        formula=hill_formula(surface.atoms.numbers),
        probe=surface.probe,
        level=f"{surface.level:g}",
        low=f"{low:.3g}",
        high=f"{high:.3g}",
        stops=", ".join(to_hex(colormaps[COLORS](x)) for x in np.linspace(0, 1, 9)),
        json=json.dumps(shown, separators=(",", ":"), allow_nan=False),
        viewer_script=(ASSETS / "3Dmol-min.js").read_text(encoding="utf-8"),
        licenses=(ASSETS / "3Dmol-LICENSE.txt").read_text(),
    )
    with replacing(path) as temporary:
        temporary.write_text(html, encoding="utf-8")
