"""Nodes and edges as padded blocks, in which sums of messages form nothing for single edges."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from schnetgen_pyg.accelerated.pair_convolution import block_sum
from schnetgen_pyg.accelerated.switches import enabled


def by_products(like: Tensor) -> bool:
    """Whether sums over several steps are small matrix products per molecule and channel: few
    kernels for a GPU; but a CPU would transpose longer than multiply."""
    return like.is_cuda or not enabled("pair_convolution")


@dataclass(frozen=True)
class DenseLayout:
    """Where nodes and pairs lie in padded blocks [molecules, steps, atoms].

    Weights of pairs are shared by all steps of a molecule, and a sum of messages never forms an
    [edges, channels] tensor.

    Attributes:
        shape: (num_molecules, num_steps, num_atoms) of the padded blocks.
        node: flat position of each node in [molecules * steps * atoms].
        molecule: of each pair [num_pairs].
        place: of the later and of the earlier atom of each pair in their molecule [2, num_pairs].
    """

    shape: tuple[int, int, int]
    node: Tensor
    molecule: Tensor
    place: Tensor

    @property
    def full(self) -> bool:
        """Whether every padded place is a node, then in the same order."""
        return self.node.numel() == math.prod(self.shape)

    def spread(self, weight: Tensor, parity: int = 1) -> Tensor:
        """Weights of pairs [num_pairs, channels] in blocks [neighbors, molecules, atoms,
        channels]. With ``parity`` −1 an edge from the later to the earlier atom has the opposite
        sign."""
        molecules, _, atoms = self.shape
        both = torch.cat([weight, parity * weight])
        target, source = torch.cat([self.place, self.place.flip(0)], 1)
        cell = (source * molecules + self.molecule.repeat(2)) * atoms + target
        blocks = weight.new_zeros(molecules * atoms * atoms, weight.shape[1])
        return blocks.index_copy(0, cell, both).view(atoms, molecules, atoms, -1)

    @cached_property
    def held(self) -> list[int]:
        """Atoms of each step, in the molecule with most of them."""
        steps, atoms = self.shape[1:]
        if self.full or steps == 1:
            return [atoms] * steps
        number = self.node.new_zeros(steps)
        step, place = self.node // atoms % steps, self.node % atoms
        found: list[int] = number.scatter_reduce(0, step, place + 1, "amax").tolist()
        return found

    def _pad(self, x: Tensor) -> Tensor:
        """Node features [num_nodes, copies, channels] in [molecules, steps, atoms, copies,
        channels]."""
        molecules, steps, atoms = self.shape
        if not self.full:
            padded = x.new_zeros(molecules * steps * atoms, *x.shape[1:])
            x = padded.index_copy(0, self.node, x)
        return x.view(molecules, steps, atoms, *x.shape[1:])

    def _unpad(self, blocks: Tensor, shape: torch.Size) -> Tensor:
        """The way back, to ``shape`` but for the first dimension."""
        flat = blocks.reshape(-1, *shape[1:])
        return flat if self.full else flat[self.node]

    def aggregate(self, x: Tensor, blocks: Tensor) -> Tensor:
        """Σ_j W_ij ∘ x_j over the other atoms j of the same partial molecule.

        Args:
            x: node features [num_nodes, channels], or several of them
                [num_nodes, copies, channels].
            blocks: from `spread`.

        Returns:
            the shape of ``x``.
        """
        steps, copies = self.shape[1], x.shape[1] if x.dim() == 3 else 1
        padded = self._pad(x.view(x.shape[0], copies, -1))
        if steps == 1 or not by_products(x):
            return self._unpad(block_sum(padded, blocks, self.held), x.shape)
        columns = padded.permute(0, 4, 2, 1, 3).flatten(3)
        total = torch.matmul(blocks.permute(1, 3, 2, 0).contiguous(), columns)
        total = total.unflatten(3, (steps, copies)).permute(0, 3, 2, 4, 1)
        return self._unpad(total, x.shape)

    def aggregate_vectors(self, x: Tensor, blocks: Tensor, direction: Tensor) -> Tensor:
        """Σ_j r̂_ij ⊗ (W_ij ∘ x_j) [num_nodes, 3, channels].

        Args:
            x: node features [num_nodes, channels].
            blocks: from `spread`.
            direction: unit vectors of the pairs, from `spread` with parity −1.
        """
        steps, atoms = self.shape[1:]
        padded = self._pad(x.unsqueeze(1))
        if steps == 1:
            directed = (blocks * padded[:, 0].transpose(0, 1)).permute(1, 2, 0, 3)
            total = torch.matmul(direction.permute(1, 2, 3, 0), directed)
            return self._unpad(total, torch.Size((-1, 3, x.shape[1])))
        # [neighbors, molecules, atoms, 3, channels]
        directed = blocks.unsqueeze(3) * direction.unsqueeze(4)
        if by_products(x):
            columns = padded.permute(0, 4, 2, 1, 3).flatten(3)
            total = torch.matmul(directed.permute(1, 4, 2, 3, 0).flatten(2, 3), columns)
            total = total.unflatten(2, (atoms, 3)).permute(0, 4, 2, 3, 1)
        else:
            total = block_sum(padded, directed.flatten(2, 3), self.held)
        return self._unpad(total, torch.Size((-1, 3, x.shape[1])))


@dataclass(frozen=True)
class TargetRows:
    """One padded row of edges for every node that they lead to: with it Σ_j r̂_ij ⊗ m_ij is one
    matrix product per node, which never forms the products of single edges.

    Attributes:
        shape: number of nodes and of edges in a row.
        slot: place of each edge in [num_nodes * width].
    """

    shape: tuple[int, int]
    slot: Tensor

    def pad(self, values: Tensor) -> Tensor:
        """Values of edges [num_edges, channels] in rows [num_nodes, width, channels], zero where
        there is no edge."""
        nodes, width = self.shape
        rows = values.new_zeros(nodes * width, values.shape[1])
        return rows.index_copy(0, self.slot, values).view(nodes, width, values.shape[1])

    def flat(self, rows: Tensor) -> Tensor:
        """The way back: values in rows [num_nodes, width, channels] to [num_edges, channels]."""
        return rows.flatten(0, 1).index_select(0, self.slot)
