"""The table of targets, which users add to."""

from __future__ import annotations

from schnetgen_pyg.registry import Registry
from schnetgen_pyg.targets.base import Target
from schnetgen_pyg.targets.charges import CHARGES
from schnetgen_pyg.targets.dipole import DIPOLE
from schnetgen_pyg.targets.energy import ENERGY, FORCES, STRESS
from schnetgen_pyg.targets.polarizability import POLARIZABILITY
from schnetgen_pyg.targets.scalars import QM9

#: Every target by its name.
TARGETS: Registry[Target] = Registry(
    "target",
    {
        target.name: target
        for target in (ENERGY, FORCES, STRESS, *QM9, DIPOLE, POLARIZABILITY, CHARGES)
    },
)
