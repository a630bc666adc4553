"""The table of targets, which users add to."""

from __future__ import annotations

from schnetgen_pyg.potentials.targets.base import Target
from schnetgen_pyg.potentials.targets.charges import CHARGES
from schnetgen_pyg.potentials.targets.dipole import DIPOLE
from schnetgen_pyg.potentials.targets.energy import ENERGY, FORCES, STRESS
from schnetgen_pyg.potentials.targets.polarizability import POLARIZABILITY
from schnetgen_pyg.potentials.targets.scalars import QM9
from schnetgen_pyg.registry import Registry

#: Every target by its name.
TARGETS: Registry[Target] = Registry(
    "target",
    {
        target.name: target
        for target in (ENERGY, FORCES, STRESS, *QM9, DIPOLE, POLARIZABILITY, CHARGES)
    },
)
