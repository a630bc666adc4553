"""Networks that turn atoms and their edges into features, one paper per file.

The contract, which `tests/test_representations.py` checks for all of them:

    representation(z, graph) → features [num_nodes, hidden_channels]

* ``z`` are atomic numbers [num_nodes]; ``graph`` is a `schnetgen_pyg.graphs.graph.Graph`, whose
  ``distance`` and ``vector`` are all that is known of the positions. Gradients reach the
  positions through them and can be differentiated again.
* ``representation.hidden_channels`` is the width of the features, ``representation.cutoff`` the
  radius in Å up to which the graph must hold all pairs (``None``: every pair of a molecule). The
  features are smooth where pairs enter at that radius.
* Features are invariant under rotation, reflection and translation, and follow a permutation of
  the atoms. An atom without edges has finite features, from which not all networks tell elements.
* A representation takes the edges as they are; it builds no graph.

Networks whose messages depend on an edge only through quantities of its unordered pair have these
too (SchNet, PaiNN). All partial molecules of a molecule then share them, and a sampler keeps them:

* ``pair_filters(graph)`` → those quantities [num_pairs, …], one tensor for each of ``parity``,
  which is −1 where the edge from the later to the earlier atom has the opposite sign; a pair
  farther than the cutoff changes no features;
* ``representation(z, graph, filters, extra)`` takes them as `Graph.dense` lays them out, and
  ``extra`` [num_nodes, hidden_channels] is added to the embeddings.

To add one, write a file with a class of this contract and name it in `REPRESENTATIONS`.
"""

from torch import nn

from schnetgen_pyg.representations.allegro import Allegro
from schnetgen_pyg.representations.dimenetpp import DimeNetPlusPlus
from schnetgen_pyg.representations.dtnn import DTNN
from schnetgen_pyg.representations.equivariant_transformer import EquivariantTransformer
from schnetgen_pyg.representations.gmnn import GMNN
from schnetgen_pyg.representations.painn import PaiNN
from schnetgen_pyg.representations.schnet import SchNet

#: Every representation by the name that settings and command lines use.
REPRESENTATIONS: dict[str, type[nn.Module]] = {
    "schnet": SchNet,
    "dtnn": DTNN,
    "painn": PaiNN,
    "dimenetpp": DimeNetPlusPlus,
    "equivariant_transformer": EquivariantTransformer,
    "allegro": Allegro,
    "gmnn": GMNN,
}

__all__ = [
    "DTNN",
    "GMNN",
    "REPRESENTATIONS",
    "Allegro",
    "DimeNetPlusPlus",
    "EquivariantTransformer",
    "PaiNN",
    "SchNet",
]
