"""Many structures in one batch, of which any are taken by index arithmetic."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.utils.data import Dataset
from torch_geometric.data import Batch, Data
from torch_geometric.utils import cumsum

from schnetgen_pyg.graphs.indexing import ranges


class Molecules(Dataset[Data]):
    """Structures in one PyG batch, from which any molecules are taken by index arithmetic."""

    def __init__(self, structures: Sequence[Data]):
        whole = Batch.from_data_list(list(structures))
        self.z, self.pos, self.ptr = whole.z, whole.pos, whole.ptr

    def __len__(self) -> int:
        return self.ptr.numel() - 1

    def __getitem__(self, molecules: Sequence[int]) -> Data:
        """A batch of the molecules with these indices."""
        chosen = torch.as_tensor(molecules)
        counts = self.ptr.diff()[chosen]
        batch, place = ranges(counts)
        atom = self.ptr[chosen][batch] + place
        return Data(z=self.z[atom], pos=self.pos[atom], batch=batch, ptr=cumsum(counts))


class LabelledMolecules(Molecules):
    """`Molecules` with energies, and forces and cells where the structures have them."""

    def __init__(self, structures: Sequence[Data]):
        super().__init__(structures)
        self.energy = torch.cat([d.energy.reshape(1).double() for d in structures])
        self.forces = self.cell = None
        if structures[0].get("forces") is not None:
            self.forces = torch.cat([d.forces for d in structures])
        if any(d.get("cell") is not None for d in structures):
            none = torch.zeros(1, 3, 3)
            self.cell = torch.cat([none if d.get("cell") is None else d.cell for d in structures])

    def __getitem__(self, molecules: Sequence[int]) -> Data:
        chosen = torch.as_tensor(molecules)
        data = super().__getitem__(molecules)
        data.energy = self.energy[chosen]
        if self.forces is not None:
            place = torch.arange(data.z.numel()) - data.ptr[data.batch]
            data.forces = self.forces[self.ptr[chosen][data.batch] + place]
        if self.cell is not None:
            data.cell = self.cell[chosen]
        return data
