"""Potentials as models of torch-sim: batched dynamics and relaxation.

model = TorchSimPotential(Potential.from_pretrained("c7h10o2-painn-potential"))
torch_sim.optimize(system=atoms, model=model, …)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from schnetgen_pyg.errors import InputError, require
from schnetgen_pyg.potentials.ensemble import Ensemble
from schnetgen_pyg.potentials.model import Potential

try:
    from torch_sim.models.interface import ModelInterface
except ImportError as error:
    raise InputError(
        f'torch-sim is not installed, or cannot be used ({error}); pip install "schnetgen_pyg[md]"'
    ) from error


class TorchSimPotential(ModelInterface):
    """A potential by torch-sim's ``ModelInterface``.

    Neighbours are searched by the potential: again only where atoms have moved. The cell is
    torch-sim's, with vectors as columns. Molecules have no stress: it is zero.

    Args:
        potential: used where it is, in the precision of its weights.
        compute_stress: whether stress is wanted; both can be changed later.
        compute_forces: whether forces are wanted.
        dtype: of positions, energies and forces of torch-sim.
    """

    def __init__(
        self,
        potential: Potential | Ensemble,
        *,
        compute_stress: bool = False,
        compute_forces: bool = True,
        dtype: torch.dtype = torch.float64,
    ):
        super().__init__()
        targets = list(potential.targets)
        require("energy" in targets, "potential", f"one for {targets}", "one for the energy")
        self.potential = potential
        self._device = next(potential.parameters()).device
        self._dtype = dtype
        self._compute_stress, self._compute_forces = compute_stress, compute_forces

    @property
    def compute_stress(self) -> bool:
        return self._compute_stress

    @compute_stress.setter
    def compute_stress(self, wanted: bool) -> None:
        self._compute_stress = wanted

    @property
    def compute_forces(self) -> bool:
        return self._compute_forces

    @compute_forces.setter
    def compute_forces(self, wanted: bool) -> None:
        self._compute_forces = wanted

    def forward(self, state: Any, **_: Any) -> dict[str, Tensor]:
        """Energies, forces and stress of all systems.

        Args:
            state: torch-sim's ``SimState``, or a dict of what it is made of.

        Returns:
            ``energy`` [n_systems] in eV, ``forces`` [n_atoms, 3] in eV/Å, ``stress``
            [n_systems, 3, 3] in eV/Å³, in the type of this model.

        Raises:
            InputError: for charged systems, and as `Potential.forward`.
        """
        if isinstance(state, dict):
            from torch_sim.state import SimState

            state = SimState(**state)
        charge = getattr(state, "charge", None)
        if isinstance(charge, Tensor) and bool(charge.any()):
            raise InputError(f"the potential knows no charge, and systems have {charge.tolist()}")
        periodic = torch.as_tensor(state.pbc, device=self._device).expand(3)
        cell = state.cell.mT * periodic[:, None] if bool(periodic.any()) else None
        stressed = self._compute_stress and bool(periodic.all())
        found = self.potential(
            state.atomic_numbers.long(),
            state.positions,
            state.system_idx,
            cell,
            len(state.cell),
            compute_forces=self._compute_forces,
            compute_stress=stressed,
            create_graph=False,
        )
        names = ["energy"] + ["forces"] * self._compute_forces + ["stress"] * stressed
        results = {name: found[name].detach().to(self._dtype) for name in names}
        if self._compute_stress and not stressed:
            results["stress"] = torch.zeros_like(state.cell, dtype=self._dtype)
        return results
