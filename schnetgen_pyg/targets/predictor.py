"""Quantities of structures: a representation, and heads that read its features.

The representation may be a potential's, or a generator's, which then sees the finished molecule
without a new atom. Forces and stress are derivatives of the energy by the vectors between atoms:
all that a representation sees of the positions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

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
from schnetgen_pyg.representations import REPRESENTATIONS
from schnetgen_pyg.targets.atomwise import Features
from schnetgen_pyg.targets.base import Derivative, Target
from schnetgen_pyg.targets.prediction import Prediction
from schnetgen_pyg.targets.table import TARGETS


def heads_of(
    representation: Any, targets: Mapping[str, Target], elements: Sequence[int]
) -> nn.ModuleDict:
    """A read-out of every target, of what the representation has.

    Raises:
        InputError: for a target that needs vector features, where there are none.
    """
    channels = int(representation.hidden_channels)
    vectors = getattr(representation, "has_vectors", False)
    heads = {}
    for name, target in targets.items():
        if target.needs_vectors and not vectors:
            able = [name for name, kind in REPRESENTATIONS.items() if kind.has_vectors]
            raise InputError(
                f"{name} is read from vector features, which turn with the molecule, and "
                f"{type(representation).__name__} has none; take a representation that has: "
                f"{', '.join(able)}"
            )
        make = target.equivariant_head if vectors else target.head
        heads[name] = make(channels, elements)
    return nn.ModuleDict(heads)


class Predictor(nn.Module):
    """Quantities of structures from the features of their atoms.

    Args:
        representation: a module with ``forward(z, graph)``, ``hidden_channels`` and ``cutoff``.
        targets: what is predicted, by name.
        elements: atomic numbers it is for.
        heads: read-outs of the targets (`heads_of`); by default new ones.
    """

    known: Tensor

    def __init__(
        self,
        representation: Any,
        targets: Mapping[str, Target],
        elements: Sequence[int],
        heads: nn.ModuleDict | None = None,
    ):
        super().__init__()
        self.representation: Any = representation
        self.targets = dict(targets)
        self.elements: tuple[int, ...] = tuple(elements)
        self.heads = heads_of(representation, targets, elements) if heads is None else heads
        known = torch.zeros(MAX_ATOMIC_NUMBER + 1, dtype=torch.bool)
        known[list(self.elements)] = True
        weights = next(self.parameters(), known)
        self.register_buffer("known", known.to(weights.device), persistent=False)
        #: Å between the knots of tabulated radial functions; ``None``: they are computed.
        self.table_spacing: float | None = None
        self._table = KeptTable()
        self._neighbors = SkinNeighbors()

    def _reading(self, what: str) -> list[str]:
        """Targets whose heads say that they read ``positions`` or ``vectors``."""
        return [n for n, head in self.heads.items() if getattr(head, f"reads_{what}", False)]

    def require_no_cell(self, cell: Tensor | None, where: str = "") -> None:
        """Refuse a cell where the representation sees all pairs of atoms, or a target depends on
        where in it the atoms are.

        Raises:
            InputError: naming the target.
        """
        names = self._reading("positions")
        endless = self.representation.cutoff is None
        if cell is None or not (names or endless) or not bool(cell.any()):
            return
        if endless:
            raise InputError(
                f"{where}is periodic, and the representation has no cutoff, so that its pairs of "
                "atoms have no end: it is for molecules; take a model with one (cutoff=5.0) or, if "
                "it is one molecule in a box, remove its cell"
            )
        raise InputError(
            f"{where}{names[0]} is for molecules: of a periodic structure it depends on where in "
            "the cell the atoms are; if it is one molecule in a box, remove its cell"
        )

    def reset_parameters(self) -> None:
        """Weights as those of a new model."""
        self.representation.reset_parameters()
        for head in self.heads.values():
            head.reset_parameters()  # type: ignore[operator]

    def tabulate(self, spacing: float | None = SPACING) -> Self:
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
                f"the model is for atomic numbers {list(self.elements)}, the structure has "
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
