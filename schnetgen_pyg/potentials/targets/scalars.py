"""Scalars of whole structures, in the units that QM9 has in this library."""

from __future__ import annotations

from schnetgen_pyg.potentials.targets.base import Target

#: Between the highest occupied and the lowest empty orbital, and these two.
GAP = Target("gap", "eV", extensive=False)
HOMO = Target("homo", "eV", extensive=False)
LUMO = Target("lumo", "eV", extensive=False)
#: Norm of the dipole moment: contributions of atoms that cancel each other out.
MU = Target("mu", "D")
#: Isotropic polarisability.
ALPHA = Target("alpha", "Å³")
#: Heat capacity at constant volume.
CV = Target("Cv", "cal/(mol K)")

SCALARS = (GAP, HOMO, LUMO, MU, ALPHA, CV)
