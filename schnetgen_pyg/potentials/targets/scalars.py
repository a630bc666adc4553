"""Scalars of whole structures."""

from __future__ import annotations

from schnetgen_pyg.potentials.targets.base import Target

#: Between the highest occupied and the lowest empty orbital.
GAP = Target("gap", "eV", extensive=False)
