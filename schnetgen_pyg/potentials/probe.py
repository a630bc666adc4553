"""The local chemical potential: what a trained network says of one more atom.

A probe of an element starts from the element's embedding and receives, in every block, messages
from the molecule's atoms, which do not receive any from it: they are as they would be without it.
The read-out of its last features is its energy Ω(r) in the molecule's field (K. T. Schütt, *Lernen
von Repräsentationen für Atomistische Systeme mit Tiefen Neuronalen Netzen*, summary of his thesis,
2018, section 3 and figure 4; first in Schütt et al., Nature Communications 8, 13890, 2017).

**The surface.** Below figure 4 the text has the isosurface Σ_i ‖r − r_i‖ = 3.7 Å. Taken by the
letter that is no surface: the sum of the distances to all atoms is nowhere in methane below 4.4 Å,
and the more atoms, the larger it is. So we read it as

    Σ_i ‖r − r_i‖⁻² = 3.7 Å⁻²,

whose surface closes about any molecule: 0.52 Å from a single atom, 0.6 to 1.4 Å from the nearest
one of benzene. `LEVEL` has it, and every function takes another one: at 2 Å⁻² the probe is 1.0 to
2.1 Å from benzene, about as far as atoms are that are bonded, at 1 Å⁻² 1.7 to 3.2 Å.
"""

from __future__ import annotations

from typing import NamedTuple

import ase
import numpy as np
import torch
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torch_geometric.data import Data

from schnetgen_pyg.chem.isosurface import Array, Grid, inverse_squares, isosurface
from schnetgen_pyg.data.conversion import checked, to_ase
from schnetgen_pyg.data.origin import named
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.graphs.probes import probe_graph
from schnetgen_pyg.potentials.model import Potential
from schnetgen_pyg.targets.atomwise import Atomwise
from schnetgen_pyg.targets.prediction import require_usable

#: Å⁻² of the thesis's surface, as we read it.
LEVEL = 3.7
#: Å between the points of the grid that a surface is found on.
SPACING = 0.15
#: Edges from atoms to probes that are in memory at a time.
EDGES = 20_000


class ProbedSurface(NamedTuple):
    """A surface about a molecule with the local chemical potential on it.

    Attributes:
        atoms: the molecule.
        probe: symbol of the probe's element.
        level: of the surface in Å⁻².
        vertices: [num_vertices, 3] in Å.
        normals: unit vectors that point outward [num_vertices, 3].
        faces: vertices of each triangle [num_faces, 3], counterclockwise as seen from outside.
        values: Ω at the vertices [num_vertices] in eV.
    """

    atoms: ase.Atoms
    probe: str
    level: float
    vertices: Array
    normals: Array
    faces: NDArray[np.int64]
    values: Array


class ProbedGrid(NamedTuple):
    """The same as volumes, for programs that draw the surface themselves.

    Attributes:
        atoms, probe, level: as of a `ProbedSurface`.
        grid: the points.
        sums: Σ_i ‖r − r_i‖⁻² at them [nx, ny, nz] in Å⁻².
        values: Ω [nx, ny, nz] in eV; far from the surface that of the nearest point near it.
    """

    atoms: ase.Atoms
    probe: str
    level: float
    grid: Grid
    sums: Array
    values: Array


def chemical_potential(
    potential: Potential,
    structure: Data | ase.Atoms,
    probe: str | int = "H",
    *,
    level: float = LEVEL,
    spacing: float = SPACING,
) -> ProbedSurface:
    """The local chemical potential on the surface Σ_i ‖r − r_i‖⁻² = ``level`` about a molecule.

    Args:
        potential: whose representation lets atoms send messages that they get no answer to; all
            of this library do.
        structure: a molecule.
        probe: symbol or atomic number of an element that the potential is for.
        level: of the surface in Å⁻²; the lower, the farther away.
        spacing: of the grid it is found on, in Å.

    Raises:
        InputError: as `probe_energy`, `schnetgen_pyg.chem.isosurface.isosurface`.
    """
    data = _molecule(potential, structure, probe)
    mesh = isosurface(_positions(data), level, spacing)
    values = probe_energy(potential, data, torch.from_numpy(mesh.vertices), probe)
    symbol = chemical_symbols[_number(potential, probe)]
    return ProbedSurface(to_ase(data), symbol, level, *mesh, values.numpy())


def chemical_potential_on_grid(
    potential: Potential,
    structure: Data | ase.Atoms,
    probe: str | int = "H",
    *,
    level: float = LEVEL,
    spacing: float = SPACING,
) -> ProbedGrid:
    """`chemical_potential` on the points of a grid: computed three points deep to both sides of the
    surface, which is what a program interpolates between."""
    data = _molecule(potential, structure, probe)
    pos = _positions(data)
    grid = Grid.around(pos, level, spacing)
    points = grid.points
    sums = inverse_squares(pos, points)[0].reshape(grid.shape)
    inside = sums > level
    depth = distance_transform_edt(inside) + distance_transform_edt(~inside)
    near = depth <= 3
    values = np.zeros(grid.shape)
    asked = torch.from_numpy(points[near.ravel()])
    values[near] = probe_energy(potential, data, asked, probe).numpy()
    place = distance_transform_edt(~near, return_distances=False, return_indices=True)
    symbol = chemical_symbols[_number(potential, probe)]
    return ProbedGrid(to_ase(data), symbol, level, grid, sums, values[tuple(place)])


def probe_energy(
    potential: Potential, structure: Data | ase.Atoms, points: Tensor, probe: str | int = "H"
) -> Tensor:
    """Ω(r) = scale · readout(features of a probe at r), without the reference of its element.

    Probes do not see each other: many in one call are as many calls.

    Args:
        potential: for the energy, taken where it is (its device and precision).
        structure: a molecule of elements that the potential is for.
        points: r [num_points, 3] in Å, none of them at an atom.
        probe: symbol or atomic number of an element that the potential is for.

    Returns:
        [num_points] in eV (float64), on the CPU.

    Raises:
        InputError: for a potential without energy, or with a read-out of another kind; for an
            element that it is not for; for a periodic structure; for a point at an atom; for a
            representation that lets the probe change the atoms.
    """
    data = _molecule(potential, structure, probe)
    if points.dim() != 2 or points.shape[1] != 3:
        raise InputError(f"`points` must have shape [num_points, 3], got {[*points.shape]}")
    weights = next(potential.parameters())
    z, pos, points = data.z.to(weights.device), data.pos.to(weights), points.to(weights)
    number = _number(potential, probe)
    step = max(1, EDGES // len(z))
    found = [torch.empty(0, dtype=torch.float64)]
    with torch.no_grad():
        for start in range(0, len(points), step):
            found.append(_chunk(potential, z, pos, points[start : start + step], number, not start))
    energy = torch.cat(found)
    if not bool(energy.isfinite().all()):
        bad = int((~energy.isfinite()).nonzero()[0])
        raise InputError(
            f"the probe at point {bad}, {[round(x, 3) for x in points[bad].tolist()]} Å, has no "
            "finite energy; is it at an atom? Move it away"
        )
    return energy


def _chunk(
    potential: Potential, z: Tensor, pos: Tensor, points: Tensor, number: int, first: bool
) -> Tensor:
    """Energies of some probes; of the ``first`` ones it is seen to that the atoms do not notice."""
    network = potential.representation
    graph = probe_graph(pos, points, network.cutoff)
    x = network(torch.cat([z, z.new_full((len(points),), number)]), graph)
    if first:
        alone = network(z, probe_graph(pos, points[:0], network.cutoff))
        if not torch.allclose(x[: len(z)], alone, rtol=1e-3, atol=1e-4 * float(alone.abs().max())):
            raise InputError(
                f"{type(network).__name__} lets a probe change the features of the atoms: it does "
                "not go by the graph's directed edges; take schnet, painn or another of this "
                "library"
            )
    head = potential.heads["energy"]
    assert isinstance(head, Atomwise)
    return (head.readout(x[len(z) :]).squeeze(1).double() * head.scale).cpu()


def _molecule(potential: Potential, structure: Data | ase.Atoms, probe: str | int) -> Data:
    """The structure, if the potential can say something of it and of the probe."""
    if not isinstance(potential, Potential):
        raise InputError(f"a probe takes one Potential, got {type(potential).__name__}")
    if "energy" not in potential.targets:
        raise InputError(
            f"the potential is for {', '.join(potential.targets)}, and a probe's energy takes one "
            "for the energy; train one with targets=('energy',)"
        )
    head = potential.heads["energy"]
    if not isinstance(head, Atomwise) or head.reads_vectors or head.reads_positions:
        raise InputError(
            f"the energy is read out by {type(head).__name__}, and a probe's energy takes the "
            "contribution of one atom alone; take a potential with the library's read-out"
        )
    _number(potential, probe)
    data = checked([structure])[0]
    if data.get("cell") is not None and bool(data.cell.any()):
        raise InputError(
            f"{named(data, 'structure')}: is periodic, and the surface closes about molecules "
            "only; if it is one molecule in a box, remove its cell"
        )
    require_usable(potential, [data], 0)
    return data


def _positions(data: Data) -> Array:
    positions: Array = data.pos.detach().cpu().double().numpy()
    return positions


def _number(potential: Potential, probe: str | int) -> int:
    """Atomic number of the probe's element, if the potential has seen it."""
    symbols = [chemical_symbols[number] for number in potential.elements]
    number = atomic_numbers.get(probe, 0) if isinstance(probe, str) else probe
    if number not in potential.elements:
        raise InputError(
            f"probe: the potential has never seen {probe!r}; it is for "
            f"{', '.join(symbols)}; name one of these, or train one with it"
        )
    return number
