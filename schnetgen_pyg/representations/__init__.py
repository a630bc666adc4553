"""Networks that turn atoms and their edges into features, one paper per file.

The contract, which `tests/test_representations.py` checks for all of them:

    representation(z, graph) → features [num_nodes, hidden_channels]

* ``z`` are atomic numbers [num_nodes]; ``graph`` is a `schnetgen_pyg.graphs.Graph`, whose
  ``distance`` and ``vector`` are all that is known of the positions. Gradients reach the
  positions through them and can be differentiated again.
* ``representation.hidden_channels`` is the width of the features, ``representation.cutoff`` the
  radius in Å up to which the graph must hold all pairs (``None``: every pair of a molecule). The
  features are smooth where pairs enter at that radius.
* Features are invariant under rotation, reflection and translation, and follow a permutation of
  the atoms. An atom without edges has features of its own.
* A representation takes the edges as they are; it builds no graph.

To add one, write a file with a class of this contract and name it in `REPRESENTATIONS`.
"""

from torch import nn

from .dtnn import DTNN
from .painn import PaiNN
from .schnet import SchNet

#: Every representation by the name that settings and command lines use.
REPRESENTATIONS: dict[str, type[nn.Module]] = {
    "schnet": SchNet,
    "dtnn": DTNN,
    "painn": PaiNN,
}

__all__ = ["DTNN", "REPRESENTATIONS", "PaiNN", "SchNet"]
