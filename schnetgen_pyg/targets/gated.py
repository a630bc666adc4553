"""Gated equivariant blocks: from scalar and vector features of atoms to scalars and vectors
(Schütt, Unke, Gastegger, ICML 2021, after Weiler et al., NeurIPS 2018)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from schnetgen_pyg.representations.layers import mlp


class GatedEquivariantBlock(nn.Module):
    """s' and g ∘ Wv, where scalars s' and gates g come from s and the lengths of Vv.

    Args:
        inputs, outputs: widths of scalars and vectors.
        activate: whether a SiLU follows on the scalars.
    """

    def __init__(self, inputs: int, outputs: int, activate: bool):
        super().__init__()
        self.mix = nn.Linear(inputs, 2 * outputs, bias=False)
        self.gates = mlp([inputs + outputs, inputs, 2 * outputs], nn.SiLU)
        self.activate = activate

    def forward(self, s: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """s [num_atoms, inputs] and v [num_atoms, 3, inputs] to the same of the outputs."""
        v_v, w_v = self.mix(v).chunk(2, dim=2)
        length = torch.linalg.vector_norm(v_v, dim=1)
        s, gate = self.gates(torch.cat([s, length], dim=1)).chunk(2, dim=1)
        return F.silu(s) if self.activate else s, gate.unsqueeze(1) * w_v


class GatedReadout(nn.Module):
    """Two blocks, the second half as wide: a scalar and a vector of every atom."""

    def __init__(self, hidden_channels: int):
        super().__init__()
        half = max(1, hidden_channels // 2)
        self.blocks = nn.ModuleList(
            [
                GatedEquivariantBlock(hidden_channels, half, activate=True),
                GatedEquivariantBlock(half, 1, activate=False),
            ]
        )

    def forward(self, s: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Features [num_atoms, F] and [num_atoms, 3, F] to [num_atoms] and [num_atoms, 3]."""
        for block in self.blocks:
            s, v = block(s, v)
        return s.squeeze(1), v.squeeze(2)
