"""What is decided of every atom that is placed, one decision per file.

To add one, write a file with a subclass of `Decision` and name it here, or from outside:
``DECISIONS.register("name", MyDecision)``; a model has it with
``SchNetGen(decisions=(…, "name", …))``.
"""

from schnetgen_pyg.generator.decisions.base import Decision
from schnetgen_pyg.generator.decisions.distance import Distance
from schnetgen_pyg.generator.decisions.focus import Focus
from schnetgen_pyg.generator.decisions.hydrogens import Hydrogens
from schnetgen_pyg.generator.decisions.next_type import NextType
from schnetgen_pyg.generator.decisions.parent import Parent
from schnetgen_pyg.generator.decisions.valence_state import ValenceState
from schnetgen_pyg.registry import Registry

#: Every decision by the name that configurations use.
DECISIONS: Registry[type[Decision]] = Registry(
    "decision",
    {
        "next_type": NextType,
        "valence_state": ValenceState,
        "hydrogens": Hydrogens,
        "focus": Focus,
        "parent": Parent,
        "distance": Distance,
    },
)

__all__ = [
    "DECISIONS",
    "Decision",
    "Distance",
    "Focus",
    "Hydrogens",
    "NextType",
    "Parent",
    "ValenceState",
]
