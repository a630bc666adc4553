"""The fingerprint of a molecule that the generated ones are to be like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import ase
import numpy as np
import torch
from rdkit import Chem, rdBase
from torch import Tensor, nn
from torch_geometric.data import Data

from schnetgen_pyg.chem.fingerprints import BITS, BYTES, packed_fingerprint
from schnetgen_pyg.chem.identity import smiles
from schnetgen_pyg.chem.molecules import to_rdkit
from schnetgen_pyg.data.conversion import to_ase
from schnetgen_pyg.data.fingerprints import fingerprints_of
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.generator.conditions.base import Condition
from schnetgen_pyg.representations.layers import mlp, silent_linear

if TYPE_CHECKING:
    from schnetgen_pyg.generator.config import GeneratorConfig

#: Width of the three layers that the bits go through (Gebauer et al., Nat. Commun. 13, 973, 2022).
WIDTH = 128


class Fingerprint(Condition):
    """The Morgan fingerprint of the molecule [num_molecules, 128], packed (uint8): zeros, which no
    molecule has, where it is not given, and then exactly nothing is said.

    The target is a molecule: a SMILES, an RDKit molecule, ASE ``Atoms`` or ``Data``.
    """

    optional = ("fingerprint",)

    def __init__(self, config: GeneratorConfig):
        super().__init__(config)
        self.layers = mlp([BITS, WIDTH, WIDTH, WIDTH])
        self.features = silent_linear(WIDTH, config.hidden_channels)
        self.composition = (
            silent_linear(WIDTH, config.hidden_channels) if config.max_counts else None
        )

    def absent(self, name: str) -> Tensor:
        return torch.zeros(BYTES, dtype=torch.uint8)

    def learn(self, structures: Sequence[Data]) -> dict[str, Tensor]:
        return {"fingerprint": fingerprints_of(structures)}

    def target(self, name: str, value: Any) -> Tensor:
        many = isinstance(value, (list, tuple))
        nothing = self.absent(name).numpy()
        bits = [
            nothing if one is None else packed_fingerprint(_molecule(one))
            for one in (value if many else [value])
        ]
        rows = torch.from_numpy(np.stack(bits))
        return rows if many else rows[0]

    def shown(self, name: str, value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return [self.shown(name, one) for one in value]
        return None if value is None else smiles(_molecule(value))

    def forward(self, partial: Data) -> Tensor:
        return self._told(partial.fingerprint, self.features)

    def of_molecules(self, molecules: Data) -> Tensor | None:
        if self.composition is None:
            return None
        return self._told(self.given(molecules, "fingerprint"), self.composition)

    def _told(self, packed: Tensor, last: nn.Linear) -> Tensor:
        """Channels [num, channels] of packed fingerprints [num, 128]."""
        places = torch.arange(8, dtype=torch.uint8, device=packed.device)
        bits = ((packed.unsqueeze(2) >> places) & 1).flatten(1)
        known = packed.any(1, keepdim=True)
        told: Tensor = last(self.layers(bits.to(last.weight))) * known
        return told


def _molecule(given: Any) -> Chem.Mol:
    """The molecule that a target is."""
    if isinstance(given, Data):
        given = to_ase(given)
    if isinstance(given, ase.Atoms):
        return to_rdkit(given)
    if isinstance(given, Chem.Mol):
        return given
    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(given) if isinstance(given, str) else None
    if mol is None or not mol.GetNumAtoms():
        raise InputError(
            f"targets: fingerprint must be a molecule (a SMILES that RDKit reads, an RDKit "
            f"molecule, or a structure), got {given!r}"
        )
    return mol
