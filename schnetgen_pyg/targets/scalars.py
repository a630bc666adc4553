"""The scalars of QM9 (Ramakrishnan et al., Sci. Data 1, 140022, 2014), under their usual names.

Energies of orbitals do not grow with the molecule: they are means over its atoms, as SchNetPack has
them. All that adds up over fragments is a sum. `mu` and `r2` have read-outs of their own.
"""

from __future__ import annotations

from schnetgen_pyg.targets.base import Target
from schnetgen_pyg.targets.dipole import MU
from schnetgen_pyg.targets.extent import R2

#: The twelve properties by which networks are compared on QM9.
QM9 = (
    MU,
    Target("alpha", "bohr³"),  # isotropic polarizability
    Target("homo", "eV", extensive=False),  # highest occupied orbital
    Target("lumo", "eV", extensive=False),  # lowest empty orbital
    Target("gap", "eV", extensive=False),
    R2,
    Target("zpve", "eV"),  # vibrations at 0 K
    Target("U0", "eV"),  # internal energy at 0 K
    Target("U", "eV"),  # internal energy at 298.15 K
    Target("H", "eV"),  # enthalpy at 298.15 K
    Target("G", "eV"),  # free energy at 298.15 K
    Target("Cv", "cal/(mol K)"),  # heat capacity at 298.15 K
)
