"""Potentials: a representation, and heads that read its features as quantities of structures.

Forces and stress are derivatives of the energy by the vectors between atoms: all that a
representation sees of the positions.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from schnetgen_pyg.accelerated import enabled
from schnetgen_pyg.accelerated.radial_tables import SPACING, KeptTable, serves
from schnetgen_pyg.chem.elements import MAX_ATOMIC_NUMBER
from schnetgen_pyg.data.stored import with_label
from schnetgen_pyg.errors import InputError, require
from schnetgen_pyg.graphs.graph import Graph
from schnetgen_pyg.graphs.inputs import Inputs
from schnetgen_pyg.graphs.neighbors import neighbor_graph
from schnetgen_pyg.graphs.skin import SkinNeighbors
from schnetgen_pyg.potentials.config import PotentialConfig
from schnetgen_pyg.potentials.prediction import Prediction
from schnetgen_pyg.potentials.targets import (
    TARGETS,
    Column,
    Derivative,
    Features,
    Target,
    as_targets,
)
from schnetgen_pyg.representations import REPRESENTATIONS
from schnetgen_pyg.storage.models import load_model, restore, save_model


class Potential(nn.Module):
    """Quantities of structures from the features of their atoms: of the energy
    Σ_i (scale · readout(x_i) + reference of z_i).

    Args:
        config: architecture, or the name of a representation, or a module with
            ``forward(z, graph)``, ``hidden_channels`` and ``cutoff``.
        elements: atomic numbers the model is for.
        targets: what is predicted, names in `schnetgen_pyg.potentials.targets.TARGETS`, or columns
            of numbers from `schnetgen_pyg.potentials.targets.targets_in`.
        settings: of the representation, e.g. ``Potential("schnet", cutoff=5.0)``.
    """

    known: Tensor

    def __init__(
        self,
        config: PotentialConfig | str | nn.Module = "schnet",
        elements: Sequence[int] | None = None,
        targets: Sequence[str | Column] | None = None,
        **settings: Any,
    ):
        super().__init__()
        given = {"elements": elements, "targets": targets}
        chosen: dict[str, Any] = {k: tuple(v) for k, v in given.items() if v is not None}
        self.representation: Any
        if isinstance(config, nn.Module):
            require(not settings, "settings", settings, "those of the module itself")
            self.config = PotentialConfig(**chosen)
            self.representation, self.registered = config, False
        else:
            if isinstance(config, str):
                config = PotentialConfig(config, settings, **chosen)
            elif settings or chosen:
                config = replace(config, settings=config.settings | settings, **chosen)
            self.config, self.registered = config, True
            network = REPRESENTATIONS[config.representation]
            self.representation = network(**config.settings)
        self.targets: dict[str, Target] = as_targets(self.config.targets)
        self.heads = nn.ModuleDict({n: self._head(target) for n, target in self.targets.items()})
        known = torch.zeros(MAX_ATOMIC_NUMBER + 1, dtype=torch.bool)
        known[list(self.elements)] = True
        self.register_buffer("known", known, persistent=False)
        #: What is known about the training; saved with the weights.
        self.provenance: dict[str, Any] = {}
        #: Å between the knots of tabulated radial functions; ``None``: they are computed.
        self.table_spacing: float | None = None
        self._table = KeptTable()
        self._neighbors = SkinNeighbors()

    def _head(self, target: Target) -> nn.Module:
        """The read-out of a target, of what the representation has."""
        channels = int(self.representation.hidden_channels)
        if getattr(self.representation, "has_vectors", False):
            return target.equivariant_head(channels, self.elements)
        if target.needs_vectors:
            able = [name for name, kind in REPRESENTATIONS.items() if kind.has_vectors]
            raise InputError(
                f"{target.name} is read from vector features, which turn with the molecule, and "
                f"{type(self.representation).__name__} has none; take a representation that has: "
                f"{', '.join(able)}"
            )
        return target.head(channels, self.elements)

    def _reading(self, what: str) -> list[str]:
        """Targets whose heads say that they read ``positions`` or ``vectors``."""
        return [n for n, head in self.heads.items() if getattr(head, f"reads_{what}", False)]

    def require_no_cell(self, cell: Tensor | None, where: str = "") -> None:
        """Refuse a cell where a target depends on where in it the atoms are.

        Raises:
            InputError: naming the target.
        """
        if cell is None or not (names := self._reading("positions")) or not bool(cell.any()):
            return
        raise InputError(
            f"{where}{names[0]} is for molecules: of a periodic structure it depends on where in "
            "the cell the atoms are; if it is one molecule in a box, remove its cell"
        )

    def reset_parameters(self) -> None:
        """Weights as those of a new model."""
        self.representation.reset_parameters()
        for head in self.heads.values():
            head.reset_parameters()  # type: ignore[operator]

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers the model is for."""
        return self.config.elements

    def tabulate(self, spacing: float | None = SPACING) -> Potential:
        """Interpolate the radial functions in force calls, which makes these faster.

        Energies without gradients and forces that need no further derivatives use the table;
        training does not. Where weights have changed the table is made anew.

        Args:
            spacing: between the knots in Å; the error falls with its fourth power. ``None`` to
                compute the functions again.

        Raises:
            InputError: if the representation has no radial functions that end.
        """
        if spacing is not None:
            require(0 < spacing <= 0.1, "spacing", spacing, "positive and at most 0.1 Å, or None")
            if not serves(self.representation):
                raise InputError(
                    f"{type(self.representation).__name__} cannot be tabulated: that takes radial "
                    "functions that end (SchNet has them, and PaiNN with a cutoff)"
                )
        self.table_spacing = spacing
        return self

    @property
    def fitted(self) -> bool:
        """Whether all heads have what they take from training data."""
        return all(head.fitted for head in self.heads.values())

    def fit_statistics(
        self, structures: Sequence[Data], names: Sequence[str] | None = None
    ) -> None:
        """Set what the heads take from the training data, such as the references of the elements
        and the scale; of every target from the structures that have its label.

        Args:
            structures: with labels in their full shape.
            names: of targets; by default all.
        """
        for name in self.heads if names is None else names:
            found = with_label(structures, name)
            if not len(found):
                raise InputError(
                    f"no structure of the training has the label {name}; hold out fewer, or give "
                    "more that have it"
                )
            self.heads[name].fit(found)  # type: ignore[operator]

    def forward(
        self,
        z: Tensor,
        pos: Tensor,
        batch: Tensor | None = None,
        cell: Tensor | None = None,
        batch_size: int | None = None,
        *,
        compute_forces: bool = False,
        compute_stress: bool = False,
        create_graph: bool | None = None,
    ) -> Prediction:
        """Quantities of the targets, and derivatives of the energy on demand.

        Args:
            z: atomic numbers [num_atoms].
            pos: positions [num_atoms, 3] in Å.
            batch: structure of each atom [num_atoms]; by default all zero.
            cell: cell vectors as rows [num_graphs, 3, 3] in Å ([3, 3] for one structure); a row of
                zeros is a direction without periodicity.
            batch_size: number of structures; by default that of ``batch``.
            compute_forces: forces, by automatic differentiation.
            compute_stress: the stress of periodic structures.
            create_graph: make the derivatives differentiable; by default in training mode.

        Returns:
            by name, such as ``energy`` [num_graphs] in eV (float64) and ``forces``
            [num_atoms, 3] in eV/Å, in the order of the caller's atoms.

        Raises:
            InputError: with what does not fit.
        """
        wanted = ["forces"] * compute_forces + ["stress"] * compute_stress
        derivatives = [TARGETS[name] for name in wanted]
        if derivatives and torch.is_inference_mode_enabled():
            with torch.inference_mode(False), torch.no_grad():
                # Copies, as tensors of that mode may not take part in derivatives.
                z, pos = z.clone(), pos.clone()
                batch = None if batch is None else batch.clone()
                cell = None if cell is None else cell.clone()
                inputs = self._inputs(z, pos, batch, cell, batch_size)
                return self._evaluate(inputs, derivatives, False)
        create_graph = self.training if create_graph is None else create_graph
        inputs = self._inputs(z, pos, batch, cell, batch_size)
        return self._evaluate(inputs, derivatives, create_graph)

    def _inputs(
        self,
        z: Tensor,
        pos: Tensor,
        batch: Tensor | None,
        cell: Tensor | None,
        batch_size: int | None,
    ) -> Inputs:
        """Checked, in the precision of the weights."""
        inputs = Inputs.of(z, pos, batch, cell, batch_size)
        inside = (inputs.z >= 0) & (inputs.z <= MAX_ATOMIC_NUMBER)
        if not (inside & self.known[inputs.z * inside]).all():
            found = sorted(set(inputs.z.tolist()) - set(self.elements))
            raise InputError(
                f"the potential is for atomic numbers {list(self.elements)}, the structure has "
                f"{found}; train one with them"
            )
        dtype = next(self.parameters()).dtype
        cell = None if inputs.cell is None else inputs.cell.to(dtype)
        return inputs._replace(pos=inputs.pos.to(dtype), cell=cell)

    def _evaluate(
        self, inputs: Inputs, derivatives: Sequence[Target], create_graph: bool
    ) -> Prediction:
        final = not create_graph if derivatives else not torch.is_grad_enabled()
        with torch.set_grad_enabled(bool(derivatives) or torch.is_grad_enabled()):
            graph = self._graph(inputs, final)
            if derivatives and not graph.vector.requires_grad:
                vector = graph.vector.requires_grad_()
                graph = replace(graph, vector=vector, distance=vector.norm(dim=1))
            features = self._features(inputs, graph)
            found = Prediction({name: head(features) for name, head in self.heads.items()})
            slopes: dict[str, Tensor] = {}
            for target in derivatives:
                of = self._differentiated(target)
                if of not in slopes:
                    total = found[of].sum()
                    (slopes[of],) = torch.autograd.grad(
                        total, graph.vector, create_graph=create_graph
                    )
                assert isinstance(target, Derivative)
                found[target.name] = target.of_slope(slopes[of], graph, features, inputs.cell)
        known = self.targets | {target.name: target for target in derivatives}
        for name, value in found.items():
            value = value.detach() if derivatives and not create_graph else value
            per_atom = known[name].per == "atom" and inputs.back is not None
            found[name] = value[inputs.back] if per_atom else value
        return found

    def _features(self, inputs: Inputs, graph: Graph) -> Features:
        """What the heads read."""
        self.require_no_cell(inputs.cell)
        if self._reading("vectors"):
            x, v = self.representation.scalars_and_vectors(inputs.z, graph)
        else:
            x, v = self.representation(inputs.z, graph), None
        return Features(x, inputs.z, inputs.batch, inputs.num_graphs, inputs.pos, v)

    def _graph(self, inputs: Inputs, final: bool) -> Graph:
        """Neighbours; a ``final`` call, which nothing is differentiated through, may use tables."""
        cutoff: float | None = self.representation.cutoff
        given = inputs.pos, inputs.ptr, cutoff, inputs.cell
        # In training every batch is another one.
        graph = self._neighbors.graph(*given) if final else neighbor_graph(*given)
        if final and self.table_spacing is not None and enabled("radial_tables"):
            table = self._table.of(self.representation, self.table_spacing)
            graph = replace(graph, table=table)
        return graph

    def _differentiated(self, target: Target) -> str:
        """Name of the target that this one is a derivative of."""
        of = str(target.derivative_of)
        if of not in self.targets:
            raise InputError(
                f"{target.name} is a derivative of {of}, and this model predicts "
                f"{', '.join(self.targets)}; train one with targets=({of!r},)"
            )
        return of

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write weights and configuration to one safetensors file, atomically.

        Raises:
            InputError: if the representation is a module of one's own.
        """
        if not self.registered:
            raise InputError(
                "a file names the representation it is built from; put yours into "
                "schnetgen_pyg.representations.REPRESENTATIONS and build the potential by its name"
            )
        save_model(path, "potential", asdict(self.config), self.provenance, self.state_dict())

    @classmethod
    def from_pretrained(cls, name_or_path: str | os.PathLike[str]) -> Potential:
        """Load a bundled potential by its name or any file that `save` wrote.

        Raises:
            InputError: if there is no such potential, or the file is none of this version.
        """
        stored = load_model(name_or_path, "potential", PotentialConfig)
        model = restore(stored, lambda settings: cls(PotentialConfig(**settings)))
        model.provenance = stored.provenance
        return model.eval()
