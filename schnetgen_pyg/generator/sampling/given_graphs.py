"""Molecules whose graphs are given, as a sampler starts from them: the order of their atoms, their
types and valence states, and what the graph says of every place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from schnetgen_pyg.chem.molecular_graphs import MolecularGraph
from schnetgen_pyg.chem.valence_states import UNKNOWN, state_table
from schnetgen_pyg.generator.conditions.graph import ATOMS, MOLECULES, graph_of
from schnetgen_pyg.generator.conditions.latent import Gaussian, Latent
from schnetgen_pyg.generator.draft import State
from schnetgen_pyg.generator.graph_rules import BONDED, REACH, SIDES, most_rules, side_rules
from schnetgen_pyg.generator.model import SchNetGen
from schnetgen_pyg.generator.orders import grown
from schnetgen_pyg.generator.random_numbers import random_keys, uniform

#: Atoms of a molecule at most.
MOST_ATOMS = 200
#: What random orders are drawn with, as a step of their own.
ORDER = 900_000


@dataclass(frozen=True, eq=False)
class Known:
    """A molecule as a model knows it.

    Attributes:
        graph: the molecule.
        state: valence states of its atoms, `UNKNOWN` for hydrogens [num_atoms].
        vectors: of its atoms [num_atoms, channels], where the model is told graphs.
        vector: of the molecule [channels].
        prior: p(z | G), where the model has a latent [num_atoms, size].
    """

    graph: MolecularGraph
    state: Tensor
    vectors: Tensor | None = None
    vector: Tensor | None = None
    prior: Gaussian | None = None

    @property
    def num_heavy(self) -> int:
        """Atoms that come before the hydrogens; of hydrogen alone the first."""
        return max(1, int((self.graph.numbers != 1).sum()))


def states_of_graph(graph: MolecularGraph, model: SchNetGen) -> Tensor:
    """Valence states of the atoms by the model's table [num_atoms]; `UNKNOWN` for hydrogens and for
    states that it has not."""
    table = state_table(model.config.states, torch.device("cpu"))
    z = torch.from_numpy(graph.numbers)
    hydrogen = graph.numbers == 1
    numbers = [torch.from_numpy(graph.adjacency[:, kind].sum(1)) for kind in (hydrogen, ~hydrogen)]
    own = torch.from_numpy(graph.formal_charge), torch.from_numpy(graph.valence)
    return table.index(z, *own, *numbers).masked_fill(z == 1, UNKNOWN)


@torch.inference_mode()
def known_to(model: SchNetGen, graphs: Sequence[MolecularGraph], at_once: int = 256) -> list[Known]:
    """Molecules as the model knows them, each encoded once."""
    condition = graph_of(model.conditions)
    found = []
    for start in range(0, len(graphs), at_once):
        some = graphs[start : start + at_once]
        vectors: Sequence[Tensor | None] = [None] * len(some)
        whole: Sequence[Tensor | None] = vectors
        priors: Sequence[Gaussian | None] = [None] * len(some)
        if condition is not None:
            atoms, molecules = condition.encode(some)
            vectors, whole = atoms.split([len(graph) for graph in some]), molecules.unbind()
            if isinstance(condition, Latent):
                priors = condition.priors(some, atoms)
        found += [
            Known(graph, states_of_graph(graph, model), own, vector, prior)
            for graph, own, vector, prior in zip(some, vectors, whole, priors, strict=True)
        ]
    return found


def random_orders(
    molecules: Sequence[Known], seed: int, number: Tensor, attempt: Tensor
) -> list[np.ndarray]:
    """An order of the atoms of each molecule [num_atoms], as in training: connected, hydrogens
    last. It depends on the seed, the number of the conformer and the attempt, not on the others."""
    sizes = [len(one.graph) for one in molecules]
    width = max(sizes)
    z = torch.zeros(len(sizes), width, dtype=torch.long)
    bonds = torch.zeros(len(sizes), width, width, dtype=torch.bool)
    for row, (one, size) in enumerate(zip(molecules, sizes, strict=True)):
        z[row, :size] = torch.from_numpy(one.graph.numbers)
        bonds[row, :size, :size] = torch.from_numpy(one.graph.adjacency)
    places = torch.arange(width, dtype=torch.int32)
    counter = (places.unsqueeze(1) * MOST_ATOMS + places).flatten()
    noise = uniform(random_keys(seed, number, (ORDER + attempt).int()), counter)
    noise = noise.view(len(sizes), width, width).transpose(0, 1)
    order = grown(z, bonds, z > 0, noise).numpy()
    return [row[:size] for row, size in zip(order, sizes, strict=True)]


@dataclass(frozen=True)
class Layout:
    """Which atom comes to which place, in padded rows.

    Attributes:
        source: atom at each place, or -1 for none [count, places]; hydrogens come after the places
            of all heavy atoms.
        num_heavy: places before those of the hydrogens.
    """

    source: np.ndarray
    num_heavy: int

    @classmethod
    def of(cls, molecules: Sequence[Known], orders: Sequence[np.ndarray]) -> Layout:
        heavy = [one.num_heavy for one in molecules]
        most, left = max(heavy), max(len(o) - h for o, h in zip(orders, heavy, strict=True))
        source = np.full((len(orders), most + left), -1)
        for row, order, own in zip(source, orders, heavy, strict=True):
            row[:own] = order[:own]
            row[most : most + len(order) - own] = order[own:]
        return cls(source, most)

    def in_rounds(self, molecules: Sequence[Known]) -> tuple[Layout, list[int]]:
        """The same with hydrogens in rounds, of different atoms in each, and the widths of
        these."""
        each: list[list[list[int]]] = []
        for row, one in zip(self.source, molecules, strict=True):
            rounds: list[list[int]] = []
            number: dict[int, int] = {}
            for atom in row[self.num_heavy :][row[self.num_heavy :] >= 0].tolist():
                parent = int(one.graph.adjacency[atom].argmax())
                number[parent] = number.get(parent, -1) + 1
                if number[parent] == len(rounds):
                    rounds.append([])
                rounds[number[parent]].append(atom)
            each.append(rounds)
        depth = max(map(len, each))
        widths = [max(len(r[k]) if k < len(r) else 0 for r in each) for k in range(depth)]
        source = np.full((len(each), self.num_heavy + sum(widths)), -1)
        source[:, : self.num_heavy] = self.source[:, : self.num_heavy]
        for row, rounds in zip(source, each, strict=True):
            start = self.num_heavy
            for some, width in zip(rounds, widths, strict=False):
                row[start : start + len(some)] = some
                start += width
        return Layout(source, self.num_heavy), widths

    def state(self, molecules: Sequence[Known], pos: Sequence[np.ndarray] | None = None) -> State:
        """Molecules to be built, the first atom at the origin, or with positions [num_atoms, 3] to
        be followed."""
        count, places = self.source.shape
        source = torch.from_numpy(self.source)
        there = source >= 0
        z = torch.zeros(count, places, dtype=torch.long)
        state, xyz = torch.full_like(z, UNKNOWN), torch.zeros(count, places, 3)
        bonded = torch.zeros(count, places, places, dtype=torch.bool)
        reach = torch.full((count, places, places), torch.inf)
        width = max(most_rules(one.graph) for one in molecules)
        sides = np.zeros((count, places, width, 4), dtype=np.int64)
        for row, one in enumerate(molecules):
            at = there[row].nonzero().squeeze(1)
            own = self.source[row, at.numpy()]
            z[row, at] = torch.from_numpy(one.graph.numbers[own])
            state[row, at] = one.state[own]
            pairs = np.ix_(own, own)
            bonded[row, at.unsqueeze(1), at] = torch.from_numpy(one.graph.adjacency[pairs])
            reach[row, at.unsqueeze(1), at] = torch.from_numpy(one.graph.reach[pairs]).float()
            if width:
                place = np.empty(len(own), dtype=np.int64)
                place[own] = at.numpy()
                sides[row] = side_rules(one.graph, place, places, width)
            if pos is not None:
                xyz[row, at] = torch.as_tensor(pos[row][own], dtype=xyz.dtype)
        known = {BONDED: bonded, REACH: reach, SIDES: torch.from_numpy(sides)}
        known |= self._vectors(molecules, source)
        charge = torch.tensor([one.graph.charge for one in molecules])
        found = State.start(z, xyz, known, charge)
        found.valence_state.copy_(state)
        return found

    def _vectors(self, molecules: Sequence[Known], source: Tensor) -> dict[str, Tensor]:
        """What the encoder says, for the condition ``graph``."""
        vectors = [one.vectors for one in molecules if one.vectors is not None]
        whole = [one.vector for one in molecules if one.vector is not None]
        if not vectors:
            return {}
        atoms = vectors[0].new_zeros(*source.shape, vectors[0].shape[1])
        for row, own in enumerate(vectors):
            there = source[row] >= 0
            atoms[row, there] = own[source[row, there]]
        return {ATOMS: atoms, MOLECULES: torch.stack(whole)}
