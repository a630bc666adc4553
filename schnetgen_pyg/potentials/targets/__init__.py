"""What potentials predict: the table of targets.

A user's own target is one file::

    from schnetgen_pyg.potentials.targets import TARGETS, Target

    TARGETS.register("polarisability", Target("polarisability", "bohr³"))

    potential = Potential("painn", elements=(1, 6, 8), targets=("polarisability",))
    fit_potential(potential, structures, "run")  # structures with ``polarisability``

A file that names a target is read where the target is registered.
"""

from schnetgen_pyg.potentials.targets.atomwise import Atomwise, Features, fit_references
from schnetgen_pyg.potentials.targets.base import Derivative, Target
from schnetgen_pyg.potentials.targets.energy import ENERGY, FORCES, STRESS
from schnetgen_pyg.potentials.targets.scalars import SCALARS
from schnetgen_pyg.registry import Registry

#: Every target by its name.
TARGETS: Registry[Target] = Registry(
    "target", {target.name: target for target in (ENERGY, FORCES, STRESS, *SCALARS)}
)

__all__ = ["TARGETS", "Atomwise", "Derivative", "Features", "Target", "fit_references"]
