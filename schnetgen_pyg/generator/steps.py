"""From molecules to one batch of their partial molecules: for training and for sampling.

A *step* places one atom: the first ``size`` atoms of a molecule are there, atom ``size`` is
next. All steps of all molecules of a batch form one PyG batch of partial molecules, built by
index arithmetic on the device of the molecules.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import cumsum, scatter

from schnetgen_pyg.accelerated.padding import DenseLayout
from schnetgen_pyg.graphs.graph import Graph
from schnetgen_pyg.graphs.indexing import ranges
from schnetgen_pyg.graphs.neighbors import radius_pairs

#: Padded blocks are used up to this many cells per directed edge they hold.
DENSE_CELLS_PER_EDGE = 12


def all_steps(ptr: Tensor, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Every step of every molecule: its molecule and size, both [num_steps]; of molecules that
    begin with so many atoms ``given`` [num_molecules] those that come after."""
    start = torch.ones_like(ptr[1:]) if given is None else given.clamp(min=1)
    molecule, place = ranges((ptr.diff() - start).clamp(min=0))
    return molecule, place + start[molecule]


def random_steps(
    ptr: Tensor,
    num: int,
    generator: torch.Generator | None = None,
    given: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """At most ``num`` distinct random steps of each molecule, as in `all_steps`."""
    molecule, size = all_steps(ptr, given)
    noise = torch.rand(molecule.numel(), generator=generator, dtype=torch.float64).to(ptr.device)
    shuffled = (molecule + noise).argsort()
    _, rank = ranges(torch.bincount(molecule, minlength=ptr.numel() - 1))
    kept = shuffled[rank < num].sort().values
    return molecule[kept], size[kept]


def scaffold_steps(
    molecules: Data,
    num_hydrogens: int,
    generator: torch.Generator | None = None,
    given: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Every step that does not place a hydrogen and at most ``num_hydrogens`` random ones of each
    molecule that do, as in `all_steps`: most of the cost of a molecule is in the latter."""
    molecule, size = all_steps(molecules.ptr, given)
    hydrogen = (molecules.z[molecules.ptr[molecule] + size] == 1).long()
    noise = torch.rand(molecule.numel(), generator=generator, dtype=torch.float64)
    group = 2 * molecule + hydrogen
    shuffled = (group + noise.to(group.device)).argsort()
    _, rank = ranges(torch.bincount(group, minlength=2 * molecules.ptr.numel()))
    kept = shuffled[(rank < num_hydrogens) | (hydrogen[shuffled] == 0)].sort().values
    return molecule[kept], size[kept]


def partial_molecules(molecules: Data, molecule: Tensor, size: Tensor) -> Data:
    """One batch of partial molecules.

    Args:
        molecules: batch with ``z``, ``pos``, ``ptr``, atoms in the order of placement.
        molecule: the molecule of each step [num_steps], ascending.
        size: its number of placed atoms [num_steps], ascending within a molecule.

    Returns:
        batch with ``z``, ``pos``, ``batch`` (the step), ``ptr`` of the placed atoms [num_nodes];
        ``atom``: each node's atom in ``molecules``; and per step ``molecule``, ``next_atom``
        (in ``molecules``, the one to place) and ``next_z``.
    """
    step, place = ranges(size)
    atom = molecules.ptr[molecule[step]] + place
    next_atom = molecules.ptr[molecule] + size
    return Data(
        z=molecules.z[atom],
        pos=molecules.pos[atom],
        batch=step,
        ptr=cumsum(size),
        atom=atom,
        molecule=molecule,
        next_atom=next_atom,
        next_z=molecules.z[next_atom.clamp(max=molecules.z.numel() - 1)],
    )


def step_graph(
    molecules: Data,
    partial: Data,
    cutoff: float | None = None,
    *,
    dense: bool | None = None,
) -> Graph:
    """The graph of a batch of partial molecules, over pairs shared by all steps of a molecule.

    Args:
        molecules: the batch that ``partial`` was made from; atoms of type 0 are none, and have no
            edges where ``dense`` is False.
        partial: from `partial_molecules`.
        cutoff: radius in Å, or ``None`` for complete graphs.
        dense: padded blocks (True), edge lists (False) or whichever is cheaper (None).

    Returns:
        the pairs in the order of `radius_pairs`.
    """
    ptr, sizes = molecules.ptr, partial.ptr.diff()
    largest = scatter(sizes, partial.molecule, dim_size=ptr.numel() - 1, reduce="max")
    pairs = radius_pairs(molecules.pos, ptr, cutoff)
    owner = torch.repeat_interleave(ptr.diff())[pairs[0]]
    place = pairs - ptr[owner]
    wanted = place[0] < largest[owner]
    if dense is False:
        wanted &= (molecules.z[pairs] > 0).all(0)
    pairs, owner, place = pairs[:, wanted], owner[wanted], place[:, wanted]
    vector = molecules.pos[pairs[0]] - molecules.pos[pairs[1]]
    distance = vector.norm(dim=1)

    # Steps are sorted by (molecule, size): those that hold a pair are the last of its molecule.
    width = int(largest.max()) if largest.numel() else 0
    first_step = cumsum(torch.bincount(partial.molecule, minlength=ptr.numel() - 1))
    rank = partial.molecule * (width + 2) + sizes
    start = torch.searchsorted(rank, owner * (width + 2) + place[0] + 1)
    copies = first_step[owner + 1] - start

    steps_per_molecule = int(first_step.diff().max()) if partial.molecule.numel() else 0
    shape = (ptr.numel() - 1, steps_per_molecule, width)
    if dense is None:
        cells = shape[0] * (shape[1] + 1) * width**2
        dense = cells <= DENSE_CELLS_PER_EDGE * 2 * int(copies.sum())
    if dense:
        step_row = torch.arange(sizes.numel(), device=ptr.device) - first_step[partial.molecule]
        step_row = partial.molecule * shape[1] + step_row
        local = partial.atom - ptr[partial.molecule[partial.batch]]
        layout = DenseLayout(shape, step_row[partial.batch] * width + local, owner, place)
        return Graph(distance, vector, dense=layout, num_nodes=partial.z.numel())

    pair, copy = ranges(copies)
    node = partial.ptr[start[pair] + copy] + place[:, pair]
    later, earlier = node
    edge_index = torch.stack([torch.cat([earlier, later]), torch.cat([later, earlier])])
    pair = torch.cat([pair, pair])
    return Graph(distance, vector, edge_index, pair, num_nodes=partial.z.numel())


def new_pairs(pos: Tensor, known: int) -> Graph:
    """The pairs that places after the first ``known`` ones have with those before them, for a
    sampler that keeps what it knows of the others.

    Args:
        pos: positions in Å of partial molecules with the same number of places
            [molecules, places, 3].

    Returns:
        padded blocks of all places, with these pairs alone, sorted by the later place.
    """
    molecules, places = pos.shape[:2]
    later, earlier = ranges(torch.arange(known, places, device=pos.device))
    later = later + known
    vector = (pos[:, later] - pos[:, earlier]).flatten(0, 1)
    node = torch.arange(molecules * places, device=pos.device)
    owner = torch.arange(molecules, device=pos.device).repeat_interleave(len(later))
    place = torch.stack([later, earlier]).repeat(1, molecules)
    layout = DenseLayout((molecules, 1, places), node, owner, place)
    return Graph(vector.norm(dim=1), vector, dense=layout, num_nodes=len(node))
