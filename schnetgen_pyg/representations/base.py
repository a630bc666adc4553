"""What a representation is: the contract of every network here, and of users' own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from schnetgen_pyg.errors import InputError, require
from schnetgen_pyg.graphs.graph import Graph
from schnetgen_pyg.graphs.inputs import Inputs
from schnetgen_pyg.graphs.neighbors import neighbor_graph
from schnetgen_pyg.registry import nearest


def check_width_and_cutoff(settings: Any, without_cutoff: bool = False) -> None:
    """Refuse what no network can be built of; ``without_cutoff``: whether ``None`` is one."""
    width, cutoff = settings.hidden_channels, settings.cutoff
    require(width >= 1, "hidden_channels", width, "at least 1")
    allowed = (cutoff is None and without_cutoff) or (cutoff is not None and cutoff > 0)
    expected = "positive, in Å" + (", or None for all pairs" if without_cutoff else "")
    require(allowed, "cutoff", cutoff, expected)


def last_distance(settings: Any) -> float:
    """Where in Å the radial functions end: ``max_distance``, by default the cutoff."""
    stop = settings.cutoff if settings.max_distance is None else settings.max_distance
    if stop is None or stop <= 0:
        raise InputError(
            f"max_distance must be positive, and given where there is no cutoff; got {stop}"
        )
    return float(stop)


class Representation(nn.Module, ABC):
    """Features of atoms from their elements and from where the others are.

    A subclass has its own ``Settings``, a frozen dataclass with at least ``hidden_channels`` and
    ``cutoff``, and builds itself from ``self.settings``. It takes the edges as they are and builds
    no graph. `schnetgen_pyg.testing.check_representation` says what else holds.

    Args:
        settings: all settings.
        changes: values that replace some, by name: ``PaiNN(hidden_channels=64)``.

    Raises:
        InputError: for a setting that the network does not have, or a value it cannot use.
    """

    Settings: ClassVar[Any]
    #: Whether it can do without a cutoff.
    complete_graphs: ClassVar[bool] = False
    #: Whether it has vector features: `scalars_and_vectors`.
    has_vectors: ClassVar[bool] = False

    def __init__(self, settings: Any = None, **changes: Any):
        super().__init__()
        if settings is not None and not isinstance(settings, self.Settings):
            raise InputError(
                f"{type(self).__name__} takes its Settings, or settings by name, got {settings!r}"
            )
        given = {} if settings is None else vars(settings)
        self.settings = self.make_settings(**(given | changes))

    @classmethod
    def setting_names(cls) -> list[str]:
        return [field.name for field in fields(cls.Settings)]

    @classmethod
    def make_settings(cls, **values: Any) -> Any:
        """Its ``Settings`` with these values; those not given are the defaults.

        Raises:
            InputError: with the nearest name for one that it does not have.
        """
        names = cls.setting_names()
        for name in values:
            if name not in names:
                raise InputError(
                    f"{cls.__name__} has no setting {name!r}{nearest(name, names)}; it has "
                    f"{', '.join(names)}"
                )
        return cls.Settings(**values)

    @property
    def hidden_channels(self) -> int:
        """Width of the features."""
        return int(self.settings.hidden_channels)

    @property
    def cutoff(self) -> float | None:
        """Radius in Å up to which the graph must hold all pairs; ``None``: every pair."""
        cutoff: float | None = self.settings.cutoff
        return cutoff

    @abstractmethod
    def reset_parameters(self) -> None:
        """Give the weights new initial values."""

    @abstractmethod
    def forward(self, z: Tensor, graph: Graph, *, extra: Tensor | None = None) -> Tensor:
        """Features [num_nodes, hidden_channels].

        Args:
            z: atomic numbers [num_nodes].
            graph: whose ``distance`` and ``vector`` are all that is known of the positions.
            extra: what else is known of every atom [num_nodes, hidden_channels], added to the
                embeddings, or where a network has none of this width to the features.
        """

    def scalars_and_vectors(self, z: Tensor, graph: Graph) -> tuple[Tensor, Tensor]:
        """The features of `forward`, and vectors [num_nodes, 3, hidden_channels] that turn with the
        molecule; of a network that ``has_vectors``.

        Raises:
            InputError: if it has none.
        """
        raise InputError(
            f"{type(self).__name__} has no vector features, which turn with the molecule; take a "
            "representation that has (painn, equivariant_transformer)"
        )

    def from_positions(
        self,
        z: Tensor,
        pos: Tensor,
        batch: Tensor | None = None,
        cell: Tensor | None = None,
        batch_size: int | None = None,
    ) -> Tensor:
        """Features of atoms at their positions, the short way.

        Args:
            z: atomic numbers [num_atoms].
            pos: positions [num_atoms, 3] in Å, of any floating-point type.
            batch: structure of each atom [num_atoms], in any order; by default all zero.
            cell: cell vectors as rows [num_graphs, 3, 3] in Å ([3, 3] for one structure); a row of
                zeros is a direction without periodicity.
            batch_size: number of structures; by default that of ``batch``.

        Returns:
            [num_atoms, hidden_channels], in the order of the atoms.

        Raises:
            InputError: with what does not fit.
        """
        inputs = Inputs.of(z, pos, batch, cell, batch_size)
        dtype = next(self.parameters(), pos).dtype
        cell = None if inputs.cell is None else inputs.cell.to(dtype)
        graph = neighbor_graph(inputs.pos.to(dtype), inputs.ptr, self.cutoff, cell)
        x: Tensor = self(inputs.z, graph)
        return x if inputs.back is None else x[inputs.back]

    def new(self) -> Self:
        """Another one with the same settings and new weights."""
        return type(self)(self.settings)


class PairRepresentation(Representation):
    """A network whose messages depend on an edge only through quantities of its unordered pair.

    All partial molecules of a molecule then share them, and a sampler keeps them.

    Attributes:
        parity: of each quantity: −1 where the edge from the later to the earlier atom has the
            opposite sign.
        radial_stop: distance in Å beyond which `radial` does not change; ``None`` if there is none.
    """

    parity: tuple[int, ...]
    radial_stop: float | None

    @abstractmethod
    def radial(self, distance: Tensor) -> list[Tensor]:
        """Filters of every block for distances [num_pairs] in Å."""

    @abstractmethod
    def pair_filters(self, graph: Graph) -> list[Tensor]:
        """The quantities [num_pairs, …], one for each of ``parity``. A pair farther than the cutoff
        changes no features."""

    def filters(self, graph: Graph) -> list[Tensor]:
        """`pair_filters` as sums of messages over this graph take them."""
        pairs = zip(self.pair_filters(graph), self.parity, strict=True)
        return [graph.weights(values, parity) for values, parity in pairs]

    @abstractmethod
    def forward(
        self,
        z: Tensor,
        graph: Graph,
        filters: Sequence[Tensor] | None = None,
        *,
        extra: Tensor | None = None,
    ) -> Tensor:
        """As `Representation.forward`; ``filters`` are those of an earlier call."""
