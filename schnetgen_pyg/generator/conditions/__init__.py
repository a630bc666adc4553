"""What the network is told beside the placed atoms, one condition per file.

To add one, write a file with a subclass of `Condition` and name it here, or from outside:
``CONDITIONS.register("name", MyCondition)``; a model has it with
``SchNetGen(conditions=(…, "name"))``.
"""

from schnetgen_pyg.generator.conditions.base import Condition
from schnetgen_pyg.generator.conditions.fingerprint import Fingerprint
from schnetgen_pyg.generator.conditions.given_atoms import GivenAtoms
from schnetgen_pyg.generator.conditions.graph import GivenGraph
from schnetgen_pyg.generator.conditions.latent import Latent
from schnetgen_pyg.generator.conditions.properties import Properties
from schnetgen_pyg.generator.conditions.remaining_formula import RemainingFormula
from schnetgen_pyg.generator.conditions.valence_states import ValenceStates
from schnetgen_pyg.registry import Registry

#: Every condition by the name that configurations use.
CONDITIONS: Registry[type[Condition]] = Registry(
    "condition",
    {
        "remaining_formula": RemainingFormula,
        "valence_states": ValenceStates,
        "given_atoms": GivenAtoms,
        "properties": Properties,
        "fingerprint": Fingerprint,
        "graph": GivenGraph,
        "latent": Latent,
    },
)

__all__ = [
    "CONDITIONS",
    "Condition",
    "Fingerprint",
    "GivenAtoms",
    "GivenGraph",
    "Latent",
    "Properties",
    "RemainingFormula",
    "ValenceStates",
]
