"""Potential energies: a representation, a read-out of every atom, references of the elements.

Forces and stress are derivatives of the energy by the vectors between atoms: all that a
representation sees of the positions.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from difflib import get_close_matches
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.utils import cumsum

from schnetgen_pyg.accelerated.radial_tables import SPACING, KeptTable, serves
from schnetgen_pyg.chem.elements import MAX_ATOMIC_NUMBER
from schnetgen_pyg.errors import InputError, require
from schnetgen_pyg.graphs.graph import Graph
from schnetgen_pyg.graphs.neighbors import neighbor_graph
from schnetgen_pyg.potentials.recording import RecordedForces
from schnetgen_pyg.representations import REPRESENTATIONS
from schnetgen_pyg.representations.layers import mlp
from schnetgen_pyg.storage.models import load_model, restore, save_model


@dataclass(frozen=True)
class PotentialConfig:
    """Architecture of a `Potential`.

    Attributes:
        representation: a name in `schnetgen_pyg.representations.REPRESENTATIONS`.
        settings: arguments of the representation, such as ``{"hidden_channels": 64}``.
        elements: atomic numbers the model is for.
    """

    representation: str = "schnet"
    settings: dict[str, Any] = field(default_factory=dict)
    elements: tuple[int, ...] = (1, 6, 7, 8, 9)

    def __post_init__(self) -> None:
        known = ", ".join(REPRESENTATIONS)
        name = self.representation
        require(name in REPRESENTATIONS, "representation", repr(name), f"one of {known}")
        valid = bool(self.elements) and all(1 <= n <= MAX_ATOMIC_NUMBER for n in self.elements)
        require(valid, "elements", self.elements, f"atomic numbers from 1 to {MAX_ATOMIC_NUMBER}")
        allowed = list(inspect.signature(REPRESENTATIONS[name]).parameters)
        for key in self.settings:
            near = get_close_matches(key, allowed, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            expected = f"one of {', '.join(allowed)}{hint}"
            require(key in allowed, f"a setting of {name}", repr(key), expected)


class Prediction(NamedTuple):
    """What a potential says of a batch.

    Attributes:
        energy: [num_graphs] in eV, float64.
        forces: [num_atoms, 3] in eV/Å.
        stress: [num_graphs, 3, 3] in eV/Å³: derivative of the energy by the strain, by the volume.
        energy_variance: of an ensemble's members [num_graphs] in eV².
        forces_variance: of an ensemble's members [num_atoms, 3] in (eV/Å)².
    """

    energy: Tensor
    forces: Tensor | None = None
    stress: Tensor | None = None
    energy_variance: Tensor | None = None
    forces_variance: Tensor | None = None


def fit_references(structures: Sequence[Data], elements: Sequence[int]) -> Tensor:
    """Energies of single atoms, by least squares, whose sums are nearest to the energies.

    Where compositions do not tell the elements apart (isomers, say) the shortest solution is taken.

    Args:
        structures: with ``energy`` in eV.
        elements: atomic numbers.

    Returns:
        [num_elements] in eV, float64.
    """
    counts = torch.stack([(d.z[:, None] == torch.tensor(elements)).sum(0) for d in structures])
    energy = torch.cat([d.energy.reshape(1).double() for d in structures])
    return torch.linalg.lstsq(counts.double(), energy[:, None], driver="gelsd").solution[:, 0]


class Potential(nn.Module):
    """Energy of structures: Σ_i (scale · readout(x_i) + reference of z_i).

    The read-out is SchNet's (Schütt et al. 2017): two dense layers, half as wide, with a shifted
    softplus between them.

    Args:
        config: architecture, or the name of a representation, or a module with
            ``forward(z, graph)``, ``hidden_channels`` and ``cutoff``.
        elements: atomic numbers the model is for.
        settings: of the representation, e.g. ``Potential("schnet", cutoff=5.0)``.
    """

    references: Tensor
    scale: Tensor

    def __init__(
        self,
        config: PotentialConfig | str | nn.Module = "schnet",
        elements: Sequence[int] | None = None,
        **settings: Any,
    ):
        super().__init__()
        chosen: dict[str, Any] = {} if elements is None else {"elements": tuple(elements)}
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
        channels = int(self.representation.hidden_channels)  # type: ignore[arg-type]
        self.readout = mlp([channels, max(1, channels // 2), 1])
        # Energies of atoms are large: single precision would leave errors of some meV.
        size = MAX_ATOMIC_NUMBER + 1
        self.register_buffer("references", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))
        known = torch.zeros(size, dtype=torch.bool)
        known[list(self.config.elements)] = True
        self.register_buffer("known", known, persistent=False)
        #: What is known about the training; saved with the weights.
        self.provenance: dict[str, Any] = {}
        #: Å between the knots of tabulated radial functions; ``None``: they are computed.
        self.table_spacing: float | None = None
        self._table = KeptTable()
        #: Force calls without Python, where they are recorded.
        self._recorded: RecordedForces | None = None

    def tabulate(self, spacing: float | None = SPACING, *, record: bool = False) -> Potential:
        """Interpolate the radial functions in force calls, which makes these several times faster.

        Energies without gradients and forces that need no further derivatives use the table;
        training does not. Where weights have changed the table is made anew.

        Args:
            spacing: between the knots in Å; the error falls with its fourth power. ``None`` to
                compute the functions again.
            record: record the operations of forces at the first call, which takes seconds, and
                replay them without Python, which is several times faster for small structures.
                Neighbours of at most 100 atoms are kept while none has moved by 0.25 Å: the sums
                then have another order, and the last digits may differ.

        Raises:
            InputError: if the representation has no radial functions that end, or nothing is
                tabulated that could be recorded.
        """
        require(not record or spacing is not None, "spacing", spacing, "a number, to record")
        if spacing is not None:
            require(0 < spacing <= 0.1, "spacing", spacing, "positive and at most 0.1 Å, or None")
            if not serves(self.representation):
                raise InputError(
                    f"{type(self.representation).__name__} cannot be tabulated: that takes radial "
                    "functions that end (SchNet has them, and PaiNN with a cutoff)"
                )
        self.table_spacing = spacing
        self._recorded = RecordedForces() if record else None
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Potential:
        """References and scale stay in double precision where there is one."""
        exact = {"references": self.references, "scale": self.scale}
        super()._apply(fn, recurse)
        for name, value in exact.items():
            moved = getattr(self, name)
            if moved.device.type != "mps":
                setattr(self, name, value.to(moved.device))
        return self

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers the model is for."""
        return self.config.elements

    def fit_statistics(self, structures: Sequence[Data]) -> None:
        """Set the references and the scale from the training data: the root mean square of the
        forces in eV/Å, or without forces the energies' deviation per √atom."""
        references = fit_references(structures, self.elements)
        self.references.zero_()
        self.references[list(self.elements)] = references.to(self.references)
        if structures[0].get("forces") is not None:
            scale = torch.cat([d.forces for d in structures]).double().square().mean().sqrt()
        else:
            rest = [float(d.energy - self.references[d.z].sum()) for d in structures]
            size = [d.z.numel() for d in structures]
            scale = (torch.tensor(rest).square() / torch.tensor(size)).mean().sqrt()
        # Data without any spread would make a model that cannot learn.
        self.scale.fill_(scale if scale > 1e-6 else 1.0)

    def interaction(self, z: Tensor, graph: Graph, batch: Tensor, num_graphs: int) -> Tensor:
        """Energies without the references [num_graphs] in eV."""
        y = self.readout(self.representation(z, graph)).squeeze(1) * self.scale.to(graph.distance)
        return y.new_zeros(num_graphs).index_add(0, batch, y)

    def reference_energy(self, z: Tensor, batch: Tensor, num_graphs: int) -> Tensor:
        """Sums of the references [num_graphs] in eV, float64."""
        return self.references.new_zeros(num_graphs).index_add(0, batch, self.references[z])

    def _with_slope(
        self, z: Tensor, graph: Graph, batch: Tensor, num_graphs: int, create_graph: bool
    ) -> tuple[Graph, Tensor, Tensor]:
        """The graph differentiated, `interaction` and its derivative by the vectors of pairs
        [num_pairs, 3]."""
        if not graph.vector.requires_grad:
            vector = graph.vector.requires_grad_()
            graph = replace(graph, vector=vector, distance=vector.norm(dim=1))
        energy = self.interaction(z, graph, batch, num_graphs)
        (slope,) = torch.autograd.grad(energy.sum(), graph.vector, create_graph=create_graph)
        return graph, energy, slope

    def forward(
        self,
        z: Tensor,
        pos: Tensor,
        batch: Tensor | None = None,
        cell: Tensor | None = None,
        *,
        compute_forces: bool = False,
        compute_stress: bool = False,
        create_graph: bool | None = None,
    ) -> Any:
        """Energies, and their derivatives on demand.

        Args:
            z: atomic numbers [num_atoms].
            pos: positions [num_atoms, 3] in Å.
            batch: structure of each atom [num_atoms], ascending; by default all zero.
            cell: cell vectors as rows [num_graphs, 3, 3] in Å ([3, 3] for one structure); a row of
                zeros is a direction without periodicity.
            compute_forces: forces, by automatic differentiation.
            compute_stress: the stress of periodic structures.
            create_graph: make the derivatives differentiable; by default in training mode.

        Returns:
            energies [num_graphs] in eV (float64), or with a derivative a `Prediction`.
        """
        derivatives = compute_forces or compute_stress
        if derivatives and torch.is_inference_mode_enabled():
            raise InputError(
                "forces are derivatives, which torch.inference_mode() rules out; call the model "
                "outside it, or inside torch.no_grad()"
            )
        create_graph = self.training if create_graph is None else create_graph
        final = not create_graph if derivatives else not torch.is_grad_enabled()
        table = None
        if final and self.table_spacing is not None:
            table = self._table.of(self.representation, self.table_spacing)
            if derivatives and self._recorded is not None:
                found = self._recorded(self, table, z, pos, batch, cell, compute_stress)
                return Prediction(*found)
        ptr, batch, cell = self.check(z, pos, batch, cell, compute_stress)
        size = ptr.numel() - 1
        cutoff: float | None = self.representation.cutoff  # type: ignore[assignment]
        with torch.set_grad_enabled(derivatives or torch.is_grad_enabled()):
            graph = replace(neighbor_graph(pos, ptr, cutoff, cell), table=table)
            slope = None
            if derivatives:
                graph, interaction, slope = self._with_slope(z, graph, batch, size, create_graph)
            else:
                interaction = self.interaction(z, graph, batch, size)
            energy = interaction.to(self.references) + self.reference_energy(z, batch, size)
            if slope is None:
                return energy
            forces, stress = graph.forces(slope, z.numel()), None
            if compute_stress:
                assert cell is not None
                stress = graph.stress(slope, batch, cell)
        if not create_graph:
            energy, stress = energy.detach(), None if stress is None else stress.detach()
        return Prediction(energy, forces, stress)

    def check(
        self, z: Tensor, pos: Tensor, batch: Tensor | None, cell: Tensor | None, stress: bool
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Boundaries of the structures, ``batch`` and ``cell`` in their full shapes."""
        if z.dim() != 1 or not z.numel():
            raise InputError(f"`z` must have shape [num_atoms], got {list(z.shape)}")
        if pos.shape != (z.numel(), 3):
            raise InputError(
                f"`pos` must have shape [num_atoms, 3] = [{z.numel()}, 3], got {list(pos.shape)}"
            )
        if not torch.isfinite(pos).all():
            atom = int((~torch.isfinite(pos)).any(1).nonzero()[0])
            raise InputError(f"the position of atom {atom} is not finite: {pos[atom].tolist()}")
        inside = (z >= 0) & (z <= MAX_ATOMIC_NUMBER)
        if not (inside & self.known[z * inside]).all():  # type: ignore[index]
            found = sorted(set(z.tolist()) - set(self.elements))
            raise InputError(
                f"the potential is for atomic numbers {list(self.elements)}, the structure has "
                f"{found}; train one with them"
            )
        if batch is None:
            batch = torch.zeros_like(z)
        elif batch.shape != z.shape or (batch.diff() < 0).any():
            raise InputError(
                "`batch` must name the structure of each atom [num_atoms], ascending; "
                "sort the atoms by their structure"
            )
        ptr = cumsum(torch.bincount(batch))
        if cell is not None:
            cell = cell.to(pos).reshape(-1, 3, 3)
            if cell.shape[0] != ptr.numel() - 1:
                raise InputError(
                    f"`cell` must have shape [num_graphs, 3, 3] = [{ptr.numel() - 1}, 3, 3], "
                    f"got {list(cell.shape)}"
                )
        if stress and (cell is None or not (torch.linalg.det(cell).abs() > 0).all()):
            raise InputError("stress needs a `cell` with a volume for every structure")
        return ptr, batch, cell

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


class Ensemble(nn.Module):
    """The mean of several potentials, and the variance among them as a measure of doubt.

    Args:
        members: at least one potential; called as a `Potential` is.
    """

    def __init__(self, members: Sequence[Potential]):
        super().__init__()
        require(len(members) > 0, "members", "none", "at least one potential")
        self.members = nn.ModuleList(members)
        self.elements = tuple(sorted(set.intersection(*(set(m.elements) for m in members))))

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """As `Potential.forward`; a `Prediction` has the variances (of the population)."""
        results = [member(*inputs, **options) for member in self.members]
        if isinstance(results[0], Tensor):
            return torch.stack(results).mean(0)
        energy = torch.stack([r.energy for r in results])
        forces = torch.stack([r.forces for r in results])
        stress = None
        if results[0].stress is not None:
            stress = torch.stack([r.stress for r in results]).mean(0)
        return Prediction(
            energy.mean(0),
            forces.mean(0),
            stress,
            energy.var(0, correction=0),
            forces.var(0, correction=0),
        )
