"""Networks that turn atoms and their edges into features, one paper per file.

`Representation` is the contract, which `schnetgen_pyg.testing.check_representation` checks:

    representation(z, graph) → features [num_nodes, hidden_channels]
    representation.from_positions(z, pos, batch) → the same, the short way

Features are invariant under rotation, reflection and translation, follow a permutation of the
atoms, and are smooth where pairs enter at the cutoff. Gradients reach the positions and can be
differentiated again. An atom without edges has finite features, from which not all networks tell
elements.

To add one, write a file with a subclass and name it here, or from outside
``REPRESENTATIONS.register("name", MyNetwork)``: then generators and potentials take it by its name.
"""

from schnetgen_pyg.registry import Registry
from schnetgen_pyg.representations.allegro import Allegro
from schnetgen_pyg.representations.base import PairRepresentation, Representation
from schnetgen_pyg.representations.dimenetpp import DimeNetPlusPlus
from schnetgen_pyg.representations.dtnn import DTNN
from schnetgen_pyg.representations.equivariant_transformer import EquivariantTransformer
from schnetgen_pyg.representations.gmnn import GMNN
from schnetgen_pyg.representations.painn import PaiNN
from schnetgen_pyg.representations.schnet import SchNet

#: Every representation by the name that settings and command lines use.
REPRESENTATIONS: Registry[type[Representation]] = Registry(
    "representation",
    {
        "schnet": SchNet,
        "dtnn": DTNN,
        "painn": PaiNN,
        "dimenetpp": DimeNetPlusPlus,
        "equivariant_transformer": EquivariantTransformer,
        "allegro": Allegro,
        "gmnn": GMNN,
    },
)

__all__ = [
    "DTNN",
    "GMNN",
    "REPRESENTATIONS",
    "Allegro",
    "DimeNetPlusPlus",
    "EquivariantTransformer",
    "PaiNN",
    "PairRepresentation",
    "Representation",
    "SchNet",
]
