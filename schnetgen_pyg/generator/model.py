"""SchNetGen (Gebauer, Gastegger, Schütt 2018): where does the next atom go?

A representation of the placed atoms, the product with the embedding of the new atom's type, and
decisions read off the features: in the paper one, a distribution over the distance from each
placed atom to the new one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from schnetgen_pyg.accelerated import enabled
from schnetgen_pyg.accelerated.radial_tables import KeptTable, RadialTable, serves
from schnetgen_pyg.chem.valence_states import StateTable
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.generator.composition import Composition
from schnetgen_pyg.generator.conditions import CONDITIONS, Condition
from schnetgen_pyg.generator.config import GeneratorConfig
from schnetgen_pyg.generator.decisions import DECISIONS, Decision, Distance, Focus
from schnetgen_pyg.generator.new_atom_product import NewAtomProduct
from schnetgen_pyg.generator.presets import DEFAULT_PRESET
from schnetgen_pyg.generator.refinement import Refinement
from schnetgen_pyg.generator.step import Step
from schnetgen_pyg.generator.steps import partial_molecules, step_graph
from schnetgen_pyg.generator.training_set import TrainingSet
from schnetgen_pyg.graphs.graph import Graph
from schnetgen_pyg.graphs.inputs import Inputs
from schnetgen_pyg.representations import REPRESENTATIONS, PairRepresentation, Representation
from schnetgen_pyg.storage.models import load_model, restore, save_model
from schnetgen_pyg.targets import Target, as_targets
from schnetgen_pyg.targets.prediction import predict
from schnetgen_pyg.targets.predictor import Predictor, heads_of

#: Name of the record of what was seen, beside the weights in a file.
SEEN = "training_set"


class SchNetGen(nn.Module):
    """Distributions over the distances from every placed atom to the next one, and over whatever
    else is decided of it.

    Args:
        config: architecture.
        changes: values that replace its own: names of its fields, and of settings of the
            representation, e.g. ``SchNetGen(hidden_channels=64, num_interactions=3)``.

    Raises:
        InputError: for a setting that neither has.

    Source: Gebauer, Gastegger, Schütt, "Generating equilibrium molecules with deep neural
    networks" (2018), figures 2 and 3.
    """

    def __init__(self, config: GeneratorConfig | None = None, **changes: Any):
        super().__init__()
        self.config = config = GeneratorConfig.split(changes, config)
        network = REPRESENTATIONS[config.representation]
        self.representation: Representation = network(**config.representation_settings())
        #: Whether all partial molecules of a molecule share what it knows of their pairs.
        self.shares_filters = isinstance(self.representation, PairRepresentation)
        self.new_atom_embedding: nn.Embedding | None = None
        if not _has_embedding(self.representation, config.hidden_channels):
            self.new_atom_embedding = nn.Embedding(101, config.hidden_channels)
        self.new_atom_product = NewAtomProduct()
        decisions = nn.ModuleDict({name: DECISIONS[name](config) for name in config.decisions})
        self.decisions: Mapping[str, Decision] = cast(Any, decisions)
        conditions = nn.ModuleDict({name: CONDITIONS[name](config) for name in config.conditions})
        self.conditions: Mapping[str, Condition] = cast(Any, conditions)
        names = [name for one in self.conditions.values() for name in one.optional]
        if len({*names, *self.required}) < len(names) + len(self.required):
            raise InputError(
                f"conditions: several read one attribute ({', '.join([*names, *self.required])}); "
                "call one of them otherwise"
            )
        #: p(Z), where the model has it.
        self.composition: Composition | None = None
        if config.max_counts:
            most = dict(zip(config.elements, config.max_counts, strict=True))
            degrees = StateTable(config.states).degrees()
            self.composition = Composition(most, degrees, config.hidden_channels)
        #: What takes the last small errors off finished molecules, where the model has it.
        self.refinement = Refinement(len(config.states)) if config.refinement else None
        #: Read-outs of what is predicted of finished molecules; none where nothing is.
        self.heads = heads_of(self.representation, self.targets, config.elements)
        #: What is known about the training; saved with the weights.
        self.provenance: dict[str, Any] = {}
        #: What it was trained on, where that is known; saved with the weights.
        self.training_set: TrainingSet | None = None
        #: Name or path that it was loaded by; molecules that it makes carry it.
        self.name = ""
        self._table = KeptTable()

    def reset_parameters(self) -> None:
        """Weights as those of a new model."""
        fresh = SchNetGen(self.config).to(self.device)
        self.load_state_dict(fresh.state_dict())
        self.training_set = None

    @property
    def targets(self) -> dict[str, Target]:
        """What is predicted of finished molecules, each with its ``unit``, by name."""
        return as_targets(self.config.targets)

    @property
    def predictor(self) -> Predictor:
        """What predicts properties of molecules, in the calling style of a `Potential`: this
        model's representation, once, on the whole molecule without a new atom or any condition,
        and its heads. Weights are shared, not copied.

        Raises:
            InputError: of a model without targets.
        """
        if not self.config.targets:
            raise InputError(
                "this model predicts no properties; train one that does (SchNetGen(targets=…), "
                "schnetgen train --targets gap mu), which may start from this one"
            )
        elements = self.config.elements
        found = Predictor(self.representation, self.targets, elements, self.heads)
        return found.train(self.training)

    def predict(
        self, structures: Any, batch_size: int = 64, *, progress: Callable[..., Any] | None = None
    ) -> list[Data]:
        """Predict properties of molecules: `schnetgen_pyg.targets.prediction.predict` of the
        `predictor`.

        Args:
            structures: ``Data`` or ASE ``Atoms``.
            batch_size: structures at a time.
            progress: such as ``tqdm``.

        Returns:
            copies of the structures with what was predicted in place of their labels, by the names
            of `targets`, and the units in ``info["units"]``; energy in eV.

        Raises:
            InputError: of a model without targets, or naming a structure that it is not for.
        """
        return predict(self.predictor, structures, batch_size, progress=progress)

    @property
    def device(self) -> torch.device:
        return self.distance.bins.centers.device

    @property
    def required(self) -> tuple[str, ...]:
        """Attributes of the molecules that the conditions require."""
        names: list[str] = []
        for condition in self.conditions.values():
            names += condition.requires
        return tuple(dict.fromkeys(names))

    @property
    def optional(self) -> dict[str, Condition]:
        """Attributes of the molecules that may be given or not, and the conditions that read
        them."""
        return {name: one for one in self.conditions.values() for name in one.optional}

    def of_molecules(self, molecules: Data) -> Tensor | None:
        """What the conditions say of whole molecules [num_molecules, hidden_channels], for p(Z)."""
        told = (condition.of_molecules(molecules) for condition in self.conditions.values())
        known = [one for one in told if one is not None]
        return torch.stack(known).sum(0) if known else None

    @property
    def filter_size(self) -> int:
        """Numbers that are kept of a pair of atoms in sampling."""
        if not isinstance(self.representation, PairRepresentation):
            return 10 * self.config.hidden_channels
        vector = self.distance.bins.centers.new_tensor([[1.0, 0.0, 0.0]])
        filters = self.representation.pair_filters(Graph(vector.norm(dim=1), vector))
        return sum(one.shape[1] for one in filters)

    @property
    def distance(self) -> Distance:
        """The decision that every model takes."""
        decision = self.decisions["distance"]
        assert isinstance(decision, Distance)
        return decision

    @property
    def focus(self) -> Focus | None:
        """The decision on the focus, if the model takes it."""
        decision = getattr(self.decisions, "focus", None)
        assert decision is None or isinstance(decision, Focus)
        return decision

    def forward(
        self,
        z: Tensor,
        pos: Tensor,
        next_z: Tensor,
        batch: Tensor | None = None,
        batch_size: int | None = None,
        **known: Tensor,
    ) -> Tensor:
        """Log-distribution over the distance to the next atom, for every placed atom.

        Args:
            z: atomic numbers of the placed atoms [num_atoms].
            pos: their positions [num_atoms, 3] in Å.
            next_z: atomic number of the atom to place [num_graphs].
            batch: partial molecule of each atom [num_atoms]; by default all zero.
            batch_size: number of partial molecules; by default that of ``next_z``.
            known: what conditions read, per graph or per atom, such as ``remaining``, the atoms of
                each of ``config.elements`` still to place, the next one among them
                [num_graphs, num_elements], or ``valence_state`` [num_atoms]; and with ``next_`` in
                front what was decided of the next atoms, such as ``next_valence_state``
                or ``next_focus``, the atom that each is bonded to [num_graphs].

        Returns:
            log-probabilities of the distance bins [num_atoms, num_bins].

        Raises:
            InputError: if shapes do not fit, or something is missing.
        """
        inputs = Inputs.of(z, pos, batch, None, batch_size)
        counts = inputs.ptr.diff()
        if next_z.shape != counts.shape or not (counts > 0).all():
            raise InputError(
                f"`next_z` must have shape [num_graphs] = [{counts.numel()}], one for every "
                f"partial molecule, each with an atom; got {list(next_z.shape)}"
            )
        back = torch.arange(len(z), device=z.device) if inputs.back is None else inputs.back
        order = back.argsort()
        pos = inputs.pos.to(self.distance.bins.centers.dtype)
        molecules = Data(z=inputs.z, pos=pos, batch=inputs.batch, ptr=inputs.ptr)
        graphs = torch.arange(len(counts), device=z.device)
        partial = partial_molecules(molecules, graphs, counts)
        partial.next_z = next_z
        decided = {}
        for name, value in known.items():
            if name.startswith("next_"):
                decided[name.removeprefix("next_")] = value
            else:
                per_atom = len(value) == z.numel() != next_z.numel()
                partial[name] = value[order] if per_atom or name == "valence_state" else value
        for condition in self.conditions.values():
            condition.complete(partial, molecules)
        step = self.step(partial, self.step_graph(molecules, partial))
        if "focus" in decided:
            decided["focus"] = back[decided["focus"]]
        step.decide(next_z=next_z, **decided)
        return self._over_focuses(step, counts)[back]

    def _over_focuses(self, step: Step, counts: Tensor) -> Tensor:
        """p(Δ_j) = Σ_f p(f) p(Δ_j | f): the f-th atom of every partial molecule in turn."""
        if self.focus is None or step.focus is not None:
            if self.config.focused and step.focus is None:
                raise InputError(
                    "this model needs `next_focus`, which placed atom each next one is bonded to "
                    "[num_graphs]"
                )
            return self.distance.log_prob(step)
        batch, focus_log_prob = step.partial.batch, self.focus.log_prob(step)
        total = step.x.new_full((len(batch), self.config.num_bins), -torch.inf)
        for place in range(int(counts.max())):
            focus = step.partial.ptr[:-1] + (place % counts)
            step.decide(focus=focus)
            log_prob = self.distance.log_prob(step) + focus_log_prob[focus][batch, None]
            log_prob = log_prob.masked_fill((place >= counts)[batch, None], -torch.inf)
            total = torch.logaddexp(total, log_prob)
        return total

    def step(
        self,
        partial: Data,
        graph: Graph,
        filters: Sequence[Tensor] | None = None,
        generator: torch.Generator | None = None,
    ) -> Step:
        """The partial molecules as the decisions see them.

        Args:
            partial, graph: from `schnetgen_pyg.generator.steps`, with what conditions read.
            filters: of the representation, where they are known already.
            generator: source of random numbers in training.
        """
        x = self.features(partial, graph, filters)
        return Step(partial, x, self.combine_with_new_atom, generator)

    def features(
        self, partial: Data, graph: Graph, filters: Sequence[Tensor] | None = None
    ) -> Tensor:
        """Features of the placed atoms [num_nodes, hidden_channels]; arguments as those of
        `step`."""
        extra = None
        if len(self.conditions):
            told = [condition(partial) for condition in self.conditions.values()]
            extra = sum(told[1:], told[0])[partial.batch]
            for condition in self.conditions.values():
                per_atom = condition.per_atom(partial)
                extra = extra if per_atom is None else extra + per_atom
        given = {} if filters is None else {"filters": filters}
        x: Tensor = self.representation(partial.z, graph, extra=extra, **given)
        return x

    def step_graph(self, molecules: Data, partial: Data) -> Graph:
        """The graph of a batch of partial molecules, as the representation takes it."""
        dense = None if self.shares_filters and enabled("padding") else False
        return step_graph(molecules, partial, self.config.cutoff, dense=dense)

    def combine_with_new_atom(self, step: Step) -> Tensor:
        """The new-atom product [num_nodes, hidden_channels] of features with the embedding of the
        new atom's type, and of what else is known of it."""
        if step.next_z is None:
            raise InputError("the type of the next atom is not decided yet")
        new = self._embedding()(step.next_z)
        parts: list[Condition | Decision] = [*self.conditions.values(), *self.decisions.values()]
        for part in parts:
            told = part.new_atom(step)
            new = new if told is None else new + told
        return self.new_atom_product(step.x, new, step.partial.batch)

    def _embedding(self) -> nn.Embedding:
        """Of the new atom's type: the representation's, where it has this width."""
        embedding = self.new_atom_embedding or self.representation.embedding
        assert isinstance(embedding, nn.Embedding)
        return embedding

    def filter_table(self) -> RadialTable | None:
        """The representation's functions of distances for interpolation, which a sampler asks for
        more pairs than the table has knots; ``None`` where these functions do not end."""
        return self._table.of(self.representation) if serves(self.representation) else None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write weights, configuration and the record of what was seen to one safetensors file,
        atomically."""
        tensors = self.state_dict()
        if self.training_set is not None:
            tensors = tensors | {SEEN: self.training_set.to_tensor()}
        save_model(path, "generator", asdict(self.config), self.provenance, tensors)

    @classmethod
    def from_preset(cls, name: str = DEFAULT_PRESET, **changes: Any) -> SchNetGen:
        """A new model with the architecture of a preset; `TrainingConfig.from_preset` has how it is
        trained.

        Args:
            name: such as ``"focus"``, one of `schnetgen_pyg.generator.presets.PRESETS`.
            changes: values that replace its own, e.g. ``elements=(1, 6, 7, 8)``.

        Raises:
            InputError: for an unknown preset or setting.
        """
        return cls(GeneratorConfig.from_preset(name, **changes))

    @classmethod
    def from_pretrained(cls, name_or_path: str | os.PathLike[str]) -> SchNetGen:
        """Load a bundled checkpoint by its name or any file that `save` wrote.

        The file holds numbers and JSON only: nothing in it is executed. Parts of one's own have to
        be registered before.

        Raises:
            InputError: if there is no such checkpoint, or the file is none of this version.
        """
        stored = load_model(name_or_path, "generator", GeneratorConfig)
        seen = stored.weights.pop(SEEN, None)
        build: Callable[[dict[str, Any]], SchNetGen] = lambda s: cls(GeneratorConfig(**s))  # noqa: E731
        model = restore(stored, build)
        model.provenance = stored.provenance
        model.training_set = None if seen is None else TrainingSet.from_tensor(seen)
        model.name = str(name_or_path)
        return model.eval()


def _has_embedding(representation: nn.Module, channels: int) -> bool:
    """Whether the network embeds elements in features of this width."""
    embedding = getattr(representation, "embedding", None)
    return isinstance(embedding, nn.Embedding) and embedding.embedding_dim == channels
