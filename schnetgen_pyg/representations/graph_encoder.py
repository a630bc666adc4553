"""What a 2-D graph says of its atoms and of the whole molecule, by layers of PyG.

``gine``: graph isomorphism networks with bonds (Hu et al., ICLR 2020; Xu et al., ICLR 2019).
``gps``: the same with attention between all atoms beside it (Rampášek et al., NeurIPS 2022).
``dmpnn``: messages along directed bonds (`schnetgen_pyg.representations.dmpnn`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch_geometric.nn import GINEConv, GPSConv, LayerNorm, global_mean_pool

from schnetgen_pyg.chem.molecular_graphs import ATOM_FIELDS, BOND_FIELDS
from schnetgen_pyg.errors import InputError, require
from schnetgen_pyg.registry import Registry
from schnetgen_pyg.representations.dmpnn import DMPNN

#: Attention heads of ``gps``.
HEADS = 4


def _heads(channels: int) -> int:
    if channels % HEADS:
        raise InputError(
            f"channels must be a multiple of {HEADS} for the attention heads of gps, got {channels}"
        )
    return HEADS


def _gine(channels: int) -> nn.Module:
    inside = nn.Sequential(
        nn.Linear(channels, 2 * channels), nn.SiLU(), nn.Linear(2 * channels, channels)
    )
    return GINEConv(inside, train_eps=True)


class _Gine(nn.Module):
    """One layer: x + GINEConv of what is normalised, atom by atom."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = LayerNorm(channels, mode="node")
        self.conv = _gine(channels)

    def forward(self, x: Tensor, edge_index: Tensor, edges: Tensor, batch: Tensor) -> Tensor:
        told: Tensor = x + self.conv(self.norm(x), edge_index, edges)
        return told


class _Gps(nn.Module):
    """One layer of `GPSConv`; norms are of single atoms, so that a batch changes nothing."""

    def __init__(self, channels: int):
        super().__init__()
        settings = {"norm": "layer_norm", "norm_kwargs": {"mode": "node"}, "act": "silu"}
        self.conv = GPSConv(channels, _gine(channels), heads=_heads(channels), **settings)

    def forward(self, x: Tensor, edge_index: Tensor, edges: Tensor, batch: Tensor) -> Tensor:
        told: Tensor = self.conv(x, edge_index, batch, edge_attr=edges)
        return told


class _Stack(nn.Module):
    """Layers one after the other, and a norm."""

    def __init__(self, layer: Callable[[int], nn.Module], channels: int, num_layers: int):
        super().__init__()
        self.layers = nn.ModuleList(layer(channels) for _ in range(num_layers))
        self.norm = LayerNorm(channels, mode="node")

    def forward(self, x: Tensor, edge_index: Tensor, edges: Tensor, batch: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x, edge_index, edges, batch)
        told: Tensor = self.norm(x)
        return told


#: Layers of graph encoders by their name: of the channels and how many, with a forward of atoms
#: [num_atoms, channels], edge_index (both directions of every bond), bonds [num_edges, channels]
#: and batch.
GRAPH_LAYERS: Registry[Callable[[int, int], nn.Module]] = Registry(
    "graph layer",
    {"gine": partial(_Stack, _Gine), "gps": partial(_Stack, _Gps), "dmpnn": DMPNN},
)


class GraphEncoder(nn.Module):
    """Vectors of atoms and molecules from the 2-D graph alone.

    Args:
        layers: a name in `GRAPH_LAYERS`.
        channels: width.
        num_layers: how many.

    Example:
        >>> graph = MolecularGraph.of_mol(mol)  # with explicit hydrogens
        >>> atoms, molecules = GraphEncoder()(*GraphBatch.of_graphs([graph]))
    """

    def __init__(self, layers: str = "gine", channels: int = 128, num_layers: int = 4):
        super().__init__()
        require(channels >= 1, "channels", channels, "at least 1")
        require(num_layers >= 1, "num_layers", num_layers, "at least 1")
        self.channels = channels
        self.atom = nn.ModuleList(nn.Embedding(size, channels) for size in ATOM_FIELDS.values())
        self.bond = nn.ModuleList(nn.Embedding(size, channels) for size in BOND_FIELDS.values())
        self.layers = GRAPH_LAYERS[layers](channels, num_layers)

    def forward(
        self, x: Tensor, edge_index: Tensor, edge_attr: Tensor, batch: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Vectors of atoms [num_atoms, channels] and molecules [num_molecules, channels], the mean
        over their atoms.

        Args:
            x: `ATOM_FIELDS` of every atom [num_atoms, fields].
            edge_index: bonds in both directions [2, num_edges].
            edge_attr: their `BOND_FIELDS` [num_edges, fields].
            batch: molecule of each atom [num_atoms]; by default all of one.
        """
        batch = x.new_zeros(len(x)) if batch is None else batch
        atoms = self.layers(_sum_of(self.atom, x), edge_index, self.bonds(edge_attr), batch)
        return atoms, global_mean_pool(atoms, batch)

    def bonds(self, edge_attr: Tensor) -> Tensor:
        """Vectors of bonds alone [num_edges, channels]."""
        return _sum_of(self.bond, edge_attr)


def _sum_of(embeddings: nn.ModuleList, fields: Tensor) -> Tensor:
    """Of the embeddings of every field [num, channels], of whole numbers [num, fields]."""
    told = [embed(one) for embed, one in zip(embeddings, fields.long().unbind(1), strict=True)]
    return torch.stack(told).sum(0)
