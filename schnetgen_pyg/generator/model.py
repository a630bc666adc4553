"""SchNetGen (Gebauer, Gastegger, Schütt 2018): where does the next atom go?

A representation of the placed atoms, the product with the embedding of the new atom's type, and
a head that gives each placed atom a distribution over its distance to the new atom.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from inspect import signature
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.utils import cumsum, scatter

from schnetgen_pyg.accelerated.chunks import per_block
from schnetgen_pyg.accelerated.radial_tables import KeptTable, RadialTable, serves
from schnetgen_pyg.errors import InputError, require
from schnetgen_pyg.generator.distances import DistanceBins
from schnetgen_pyg.generator.heads import (
    EnvironmentHead,
    FocusHead,
    FocusMixer,
    HydrogenHead,
    NewAtomProduct,
    TypeHead,
)
from schnetgen_pyg.generator.orders import ORDERS
from schnetgen_pyg.generator.placement import PENALTY
from schnetgen_pyg.generator.steps import partial_molecules, step_graph
from schnetgen_pyg.generator.valence_states import UNKNOWN, UNKNOWN_OPEN, open_neighbors
from schnetgen_pyg.graphs.graph import Graph
from schnetgen_pyg.representations import REPRESENTATIONS
from schnetgen_pyg.representations.layers import mlp
from schnetgen_pyg.storage.models import load_model, restore, save_model


@dataclass(frozen=True)
class GeneratorConfig:
    """Architecture of a `SchNetGen`; the defaults are the paper's.

    Attributes:
        representation: a name in `schnetgen_pyg.representations.REPRESENTATIONS`.
        hidden_channels: width of the atom features.
        num_filters: width of SchNet's cfconv filters.
        num_interactions: number of interaction blocks.
        num_gaussians: functions of the distance expansion; SchNet's are Gaussians from 0 to
            ``max_distance``.
        num_bins: bins of the distance distributions, from 0 to ``max_distance``.
        max_distance: in Å; the paper's is the diagonal of its grid, √3 · 8.8.
        cutoff: radius in Å of the message passing; ``None`` for complete graphs.
        label_width: σ in Å of the distance labels; the paper's is √(spacing/2).
        num_head_layers: dense layers from the features to the bins, of growing width.
        order: in which order atoms are placed, a name in `schnetgen_pyg.generator.orders.ORDERS`.
        focus: a mixture over the placed atom that the new one is bonded to (its focus):
            p(r) = Σ_f p(f) ∏_j p(Δ_j | f); needs an order in which there is one.
        next_type: predict the type of the next atom, from what is left of the formula.
        hydrogens: predict how many hydrogens each placed atom lacks.
        environments: predict how many hydrogens and how many heavier neighbors an atom will have
            with its type, before its place is chosen; whatever is predicted later knows it. A CH2
            in a chain and one at a double bond have different bonds and angles, and it is known
            throughout which placed atoms wait for another neighbor.
    """

    representation: str = "schnet"
    hidden_channels: int = 128
    num_filters: int = 128
    num_interactions: int = 9
    num_gaussians: int = 300
    num_bins: int = 300
    max_distance: float = 15.242
    cutoff: float | None = None
    label_width: float = 0.15966
    num_head_layers: int = 4
    order: str = "scaffold_first"
    focus: bool = False
    next_type: bool = False
    hydrogens: bool = False
    environments: bool = False
    elements: tuple[int, ...] = (1, 6, 7, 8, 9)

    def __post_init__(self) -> None:
        for name in ("hidden_channels", "num_filters", "num_interactions", "num_head_layers"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("num_gaussians", "num_bins"):
            require(getattr(self, name) >= 2, name, getattr(self, name), "at least 2")
        for name in ("max_distance", "label_width"):
            require(getattr(self, name) > 0, name, getattr(self, name), "positive")
        require(self.cutoff is None or self.cutoff > 0, "cutoff", self.cutoff, "positive or null")
        known = f"one of {', '.join(REPRESENTATIONS)}"
        require(
            self.representation in REPRESENTATIONS, "representation", self.representation, known
        )
        require(self.order in ORDERS, "order", self.order, f"one of {', '.join(ORDERS)}")
        connected = self.order != "scaffold_first"
        require(connected or not self.focus, "order", self.order, "a bonded one with focus")
        require(self.focus or not self.hydrogens, "hydrogens", True, "false without focus")
        able = self.hydrogens and self.next_type and 1 in self.elements
        require(able or not self.environments, "environments", True, NO_ENVIRONMENTS)


NO_ENVIRONMENTS = "false without hydrogens, next_type and hydrogen among the elements"


def _representation(config: GeneratorConfig) -> Any:
    """The network that a configuration names, with those settings that it has."""
    network = REPRESENTATIONS[config.representation]
    settings = {
        "hidden_channels": config.hidden_channels,
        "num_filters": config.num_filters,
        "num_interactions": config.num_interactions,
        "num_gaussians": config.num_gaussians,
        "num_radial": config.num_gaussians,
        "cutoff": config.cutoff,
        "max_distance": config.max_distance,
        "gamma": (config.num_gaussians - 1) / config.max_distance,
        "last_activation": True,
    }
    accepted = signature(network).parameters
    return network(**{name: value for name, value in settings.items() if name in accepted})


def _has_embedding(representation: nn.Module, channels: int) -> bool:
    """Whether the network embeds elements in features of this width."""
    embedding = getattr(representation, "embedding", None)
    return isinstance(embedding, nn.Embedding) and embedding.embedding_dim == channels


class SchNetGen(nn.Module):
    """Distributions over the distances from every placed atom to the next one.

    Args:
        config: architecture; keyword arguments replace its fields, e.g.
            ``SchNetGen(hidden_channels=64, num_interactions=3)``.

    Source: Gebauer, Gastegger, Schütt, "Generating equilibrium molecules with deep neural
    networks" (2018), figures 2 and 3.
    """

    element_index: Tensor

    def __init__(self, config: GeneratorConfig | None = None, **changes: Any):
        super().__init__()
        self.config = config = replace(config or GeneratorConfig(), **changes)
        self.representation: Any = _representation(config)
        #: Whether all partial molecules of a molecule share what it knows of their pairs.
        self.shares_filters = hasattr(self.representation, "pair_filters")
        if not _has_embedding(self.representation, config.hidden_channels):
            self.new_atom_embedding = nn.Embedding(101, config.hidden_channels)
        self.new_atom_product = NewAtomProduct()
        self.bins = DistanceBins(config.num_bins, config.max_distance, config.label_width)
        widths = torch.linspace(config.hidden_channels, config.num_bins, config.num_head_layers + 1)
        self.distance_head = mlp([round(width) for width in widths.tolist()])
        channels, elements = config.hidden_channels, len(config.elements)
        if config.focus:
            self.focus_head = FocusHead(channels)
            self.focus_mixer = FocusMixer(channels, config.max_distance)
        if config.next_type:
            self.type_head = TypeHead(channels, elements)
        if config.hydrogens:
            self.hydrogen_head = HydrogenHead(channels)
        if config.environments:
            self.environment_head = EnvironmentHead(channels)
            self.next_environment_head = EnvironmentHead(channels)
            self.environment_embedding = nn.Embedding(UNKNOWN + 1, channels)
            self.next_environment_embedding = nn.Embedding(UNKNOWN + 1, channels)
            self.open_embedding = nn.Embedding(UNKNOWN_OPEN + 1, channels)
            self.pending = nn.Linear(2, channels, bias=False)
            for layer in (self.environment_embedding, self.next_environment_embedding):
                nn.init.zeros_(layer.weight)
            nn.init.zeros_(self.open_embedding.weight)
        if config.next_type or config.hydrogens:
            self.composition = nn.Linear(elements, channels, bias=False)
        element_index = torch.full((101,), -1)
        element_index[torch.tensor(config.elements)] = torch.arange(elements)
        self.register_buffer("element_index", element_index, persistent=False)
        #: What is known about the training; saved with the weights.
        self.provenance: dict[str, Any] = {}
        self._table = KeptTable()

    def forward(
        self,
        z: Tensor,
        pos: Tensor,
        next_z: Tensor,
        batch: Tensor | None = None,
        remaining: Tensor | None = None,
        environment: Tensor | None = None,
        next_environment: Tensor | None = None,
    ) -> Tensor:
        """Log-distribution over the distance to the next atom, for every placed atom.

        Args:
            z: atomic numbers of the placed atoms [num_atoms].
            pos: their positions [num_atoms, 3] in Å.
            next_z: atomic number of the atom to place [num_graphs].
            batch: partial molecule of each atom [num_atoms], ascending; by default all zero.
            remaining: atoms of each of ``config.elements`` still to place, the next one among
                them [num_graphs, num_elements]; for models that predict from it.
            environment, next_environment: of the placed and of the next atoms [num_atoms],
                [num_graphs], as `schnetgen_pyg.generator.valence_states` numbers them, for models
                that know them; by default unknown.

        Returns:
            log-probabilities of the distance bins [num_atoms, num_bins].
        """
        if batch is None:
            batch = torch.zeros_like(z)
        if pos.shape != (z.numel(), 3):
            raise InputError(
                f"`pos` must have shape [num_atoms, 3] = [{z.numel()}, 3], got {list(pos.shape)}"
            )
        if (batch.diff() < 0).any():
            raise InputError("`batch` must ascend; sort the atoms by their partial molecule")
        counts = torch.bincount(batch, minlength=next_z.numel())
        if next_z.dim() != 1 or counts.numel() != next_z.numel():
            raise InputError(
                f"`next_z` must have shape [num_graphs] = [{counts.numel()}], "
                f"got {list(next_z.shape)}"
            )
        molecules = Data(z=z, pos=pos, batch=batch, ptr=cumsum(counts))
        partial = partial_molecules(molecules, torch.arange(len(counts), device=z.device), counts)
        partial.next_z = next_z
        if self.config.environments:
            partial.environment = (
                torch.full_like(z, UNKNOWN) if environment is None else environment
            )
            partial.open = open_neighbors(molecules, partial)
            if next_environment is None:
                next_environment = torch.full_like(next_z, UNKNOWN)
        graph = self.step_graph(molecules, partial)
        x = self.features(partial, graph, remaining)
        x = self.meet(x, next_z, batch, next_environment)
        if not self.config.focus:
            return self.distance_log_prob(x, partial)
        # p(Δ_j) = Σ_f p(f) p(Δ_j | f): the f-th atom of every partial molecule in turn.
        focus_log_prob = self.focus_head(x, batch, len(counts))
        total = x.new_full((z.numel(), self.config.num_bins), -torch.inf)
        for place in range(int(counts.max())):
            focus = partial.ptr[:-1] + (place % counts)
            log_prob = (
                self.distance_log_prob(x, partial, focus) + focus_log_prob[focus][batch, None]
            )
            log_prob = log_prob.masked_fill((place >= counts)[batch, None], -torch.inf)
            total = torch.logaddexp(total, log_prob)
        return total

    def features(
        self,
        partial: Data,
        graph: Graph,
        remaining: Tensor | None = None,
        filters: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """Features of the placed atoms [num_nodes, hidden_channels].

        Args:
            partial, graph: from `schnetgen_pyg.generator.steps`.
            remaining: atoms of each element still to place [num_graphs, num_elements].
            filters: of the representation, where they are known already.
        """
        extra = None
        if hasattr(self, "composition"):
            if remaining is None:
                raise InputError("this model needs `remaining`, what is left of the formula")
            extra = self.composition(remaining.to(self.bins.centers.dtype))
            if self.config.environments:
                extra = extra + self.pending(self._pending(partial, remaining).to(extra.dtype))
            extra = extra[partial.batch]
            if self.config.environments:
                extra = extra + self.environment_embedding(partial.environment)
                extra = extra + self.open_embedding(partial.open)
        if self.shares_filters:
            return self.representation(partial.z, graph, filters, extra)
        x = self.representation(partial.z, graph)
        return x if extra is None else x + extra

    def step_graph(self, molecules: Data, partial: Data) -> Graph:
        """The graph of a batch of partial molecules, as the representation takes it."""
        dense = None if self.shares_filters else False
        return step_graph(molecules, partial, self.config.cutoff, dense=dense)

    def meet(
        self, x: Tensor, next_z: Tensor, batch: Tensor, environment: Tensor | None = None
    ) -> Tensor:
        """The new-atom product of features with the embedding of the new atom's type, and of its
        ``environment`` [num_graphs] for a model that predicts it."""
        embedding = getattr(self, "new_atom_embedding", None) or self.representation.embedding
        new = embedding(next_z)
        if environment is not None and self.config.environments:
            new = new + self.next_environment_embedding(environment)
        return self.new_atom_product(x, new, batch)

    def distance_log_prob(self, x: Tensor, partial: Data, focus: Tensor | None = None) -> Tensor:
        """Log-distributions over distances [num_nodes, num_bins]; arguments as `distance_scores`
        has them."""
        return torch.log_softmax(self.distance_scores(x, partial, focus), dim=-1)

    def distance_scores(
        self,
        x: Tensor,
        partial: Data,
        focus: Tensor | None = None,
        reach: float = math.inf,
    ) -> Tensor:
        """`distance_log_prob` up to a constant of each node, which sampling has no use for
        [num_nodes, bins].

        Args:
            x: from `meet`.
            partial: the partial molecules.
            focus: node of each partial molecule's focus [num_graphs], for a model with focus.
            reach: with a focus, how far from it the new atom is at most, in Å: bins that no node
                can then have, because of its own distance to the focus, get `PENALTY` or are
                left out.
        """
        hidden: Any = self.distance_head[:-1]
        last: Any = self.distance_head[-1]
        distance = at_focus = x.new_zeros(len(x), 0)
        if self.config.focus:
            assert focus is not None
            distance = (partial.pos - partial.pos[focus[partial.batch]]).norm(dim=1)
            at_focus = self.focus_mixer.focus(x[focus])

        def scores(rows: Tensor | slice, bins: slice) -> Tensor:
            y = x[rows]
            if self.config.focus:
                y = self.focus_mixer(y, at_focus[partial.batch[rows]], distance[rows])
            return F.linear(hidden(y), last.weight[bins], last.bias[bins])

        if torch.is_grad_enabled():
            return scores(slice(None), slice(None))
        size = per_block(x, self.config.num_bins)
        if math.isinf(reach):
            rows = [slice(start, start + size) for start in range(0, len(x), size)]
            return torch.cat([scores(part, slice(None)) for part in rows])
        spacing = self.bins.spacing
        bins = min(self.config.num_bins, int((float(distance.max()) + reach) / spacing) + 3)
        result = x.new_full((len(x), bins), PENALTY)
        for part in distance.argsort().split(size):
            closest, farthest = distance[part[[0, -1]]].tolist()
            start = max(0, int((closest - reach) / spacing) - 1)
            reached = slice(start, min(bins, int((farthest + reach) / spacing) + 3))
            result[part, reached] = scores(part, reached)
        return result

    def next_environment_log_prob(self, x: Tensor, partial: Data) -> Tensor:
        """Log-probabilities [num_graphs, 25] of the next atom's environment, from features x and
        its type; for a model that predicts it."""
        y = self.meet(x, partial.next_z, partial.batch)
        pooled = scatter(y, partial.batch, dim_size=partial.next_z.numel(), reduce="mean")
        return self.next_environment_head(pooled)

    def _pending(self, partial: Data, remaining: Tensor) -> Tensor:
        """Hydrogens of the formula that no placed atom is known to have, and neighbors that placed
        atoms are known to wait for [num_graphs, 2]."""
        known = partial.environment != UNKNOWN
        hydrogens = (partial.z == 1).long() - partial.environment % 5 * known
        pending = torch.stack([hydrogens, partial.open * known], 1)
        pending = scatter(pending, partial.batch, dim_size=len(remaining))
        pending[:, 0] += remaining[:, self.config.elements.index(1)]
        return pending

    def remaining(self, molecules: Data, partial: Data) -> Tensor:
        """Atoms of each element still to place [num_graphs, num_elements], the next one among
        them, where ``molecules`` holds all atoms of the formula."""
        elements = len(self.config.elements)

        def counts(z: Tensor, owner: Tensor, size: int) -> Tensor:
            flat = torch.bincount(
                owner * elements + self.element_index[z], minlength=size * elements
            )
            return flat.view(size, elements)

        size = molecules.ptr.numel() - 1
        owner = torch.repeat_interleave(molecules.ptr.diff())
        total = counts(molecules.z, owner, size)
        placed = counts(partial.z, partial.batch, partial.ptr.numel() - 1)
        return total[partial.molecule] - placed

    def filter_table(self) -> RadialTable | None:
        """The representation's functions of distances for interpolation, which a sampler asks for
        more pairs than the table has knots; ``None`` where these functions do not end."""
        return self._table.of(self.representation) if serves(self.representation) else None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write weights and configuration to one safetensors file, atomically."""
        save_model(path, "generator", asdict(self.config), self.provenance, self.state_dict())

    @classmethod
    def from_pretrained(cls, name_or_path: str | os.PathLike[str]) -> SchNetGen:
        """Load a bundled checkpoint by its name or any file that `save` wrote.

        The file holds numbers and JSON only: nothing in it is executed.

        Raises:
            InputError: if there is no such checkpoint, or the file is none of this version.
        """
        stored = load_model(name_or_path, "generator", GeneratorConfig)
        model = restore(stored, lambda settings: cls(GeneratorConfig(**settings)))
        model.provenance = stored.provenance
        return model.eval()
