"""What models predict of structures: the table of targets.

A user's own target is one file::

    from schnetgen_pyg.targets import TARGETS, Target

    TARGETS.register("band_gap", Target("band_gap", "eV", extensive=False))

    potential = Potential("painn", elements=(1, 6, 8), targets=("band_gap",))
    fit_potential(potential, structures, "run")  # structures with ``band_gap``

A file that names a target is read where the target is registered. A column of numbers that needs no
read-out of its own need not be registered: `targets_in`.
"""

from schnetgen_pyg.targets.atomwise import Atomwise, Features, Joined, fit_references
from schnetgen_pyg.targets.base import Derivative, Target
from schnetgen_pyg.targets.columns import Column, as_targets, targets_in
from schnetgen_pyg.targets.table import TARGETS

__all__ = [
    "TARGETS",
    "Atomwise",
    "Column",
    "Derivative",
    "Features",
    "Joined",
    "Target",
    "as_targets",
    "fit_references",
    "targets_in",
]
