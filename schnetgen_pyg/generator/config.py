"""The architecture of a generator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from schnetgen_pyg.chem.valence_states import usual_states
from schnetgen_pyg.data.properties import Property
from schnetgen_pyg.errors import InputError, require
from schnetgen_pyg.generator.conditions import CONDITIONS
from schnetgen_pyg.generator.decisions import DECISIONS
from schnetgen_pyg.generator.orders import ORDERS
from schnetgen_pyg.generator.presets import preset
from schnetgen_pyg.registry import nearest
from schnetgen_pyg.representations import REPRESENTATIONS
from schnetgen_pyg.representations.graph_encoder import GRAPH_LAYERS
from schnetgen_pyg.targets import Column
from schnetgen_pyg.targets.columns import checked_targets

#: Settings of SchNet in the paper, where they are not those of a `GeneratorConfig`.
PAPER = {"num_filters": 128, "num_interactions": 9, "num_gaussians": 300, "original": True}


@dataclass(frozen=True)
class GeneratorConfig:
    """Architecture of a `SchNetGen`; the defaults are the paper's.

    Attributes:
        representation: a name in `schnetgen_pyg.representations.REPRESENTATIONS`.
        hidden_channels: width of the atom features.
        cutoff: radius in Å of the message passing; ``None`` for complete graphs or, for a
            representation that needs one, its default.
        settings: further settings of the representation, by their names there; those not given are
            its defaults, and for ``schnet`` the paper's.
        decisions: what is decided of every atom, in this order, names in
            `schnetgen_pyg.generator.decisions.DECISIONS`. Without ``next_type`` the types are a
            random sequence of the formula's; without ``focus`` positions lie on a grid.
        conditions: what the network is told, names in
            `schnetgen_pyg.generator.conditions.CONDITIONS`.
        order: in which order atoms are placed, a name in `schnetgen_pyg.generator.orders.ORDERS`.
        elements: atomic numbers the model is for.
        max_counts: most atoms of each of ``elements`` in any molecule, for p(Z), by which the model
            draws formulas; without them it draws those of its training.
        refinement: whether finished molecules are refined (`generator.refinement`).
        encoder: layers by which the condition ``graph`` reads 2-D graphs, a name in
            `schnetgen_pyg.representations.graph_encoder.GRAPH_LAYERS`.
        states: valence states that their atoms can have, each as (element, formal charge, sum of
            bond orders, hydrogens, heavier neighbours); by default the usual neutral ones.
        properties: of whole molecules that the condition ``properties`` tells, any of which may be
            asked for; `schnetgen_pyg.data.properties.properties_in` finds them in data.
        targets: what the representation predicts of finished molecules, names in
            `schnetgen_pyg.targets.TARGETS` or columns of numbers
            (`schnetgen_pyg.targets.targets_in`).
        num_bins: bins of the distance distributions, from 0 to ``max_distance``.
        max_distance: in Å; the paper's is the diagonal of its grid, √3 · 8.8. The last Gaussian of
            SchNet is there, too.
        label_width: σ in Å of the distance labels; the paper's is √(spacing/2).
        num_head_layers: dense layers from the features to the bins, of growing width.
    """

    representation: str = "schnet"
    hidden_channels: int = 128
    cutoff: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    decisions: tuple[str, ...] = ("distance",)
    conditions: tuple[str, ...] = ()
    order: str = "scaffold_first"
    elements: tuple[int, ...] = (1, 6, 7, 8, 9)
    max_counts: tuple[int, ...] = ()
    refinement: bool = False
    encoder: str = "gine"
    states: tuple[tuple[int, ...], ...] = ()
    properties: tuple[Property, ...] = ()
    targets: tuple[str | Column, ...] = ()
    num_bins: int = 300
    max_distance: float = 15.242
    label_width: float = 0.15966
    num_head_layers: int = 4

    def __post_init__(self) -> None:
        for name in ("hidden_channels", "num_head_layers"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        require(self.num_bins >= 2, "num_bins", self.num_bins, "at least 2")
        for name in ("max_distance", "label_width"):
            require(getattr(self, name) > 0, name, getattr(self, name), "positive")
        require(bool(self.elements), "elements", self.elements, "at least one atomic number")
        require(self.order in ORDERS, "order", self.order, f"one of {', '.join(ORDERS)}")
        known = ", ".join(GRAPH_LAYERS)
        require(self.encoder in GRAPH_LAYERS, "encoder", self.encoder, f"one of {known}")
        for name in ("decisions", "conditions", "elements", "max_counts"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        fits = len(self.max_counts) in (0, len(self.elements))
        expected = f"one number for each of the elements {list(self.elements)}"
        require(fits, "max_counts", list(self.max_counts), expected)
        states = self.states or usual_states(self.elements)
        object.__setattr__(self, "states", tuple(sorted(map(tuple, states))))
        object.__setattr__(self, "properties", tuple(map(_property, self.properties)))
        object.__setattr__(self, "targets", checked_targets(self.targets))
        network = REPRESENTATIONS[self.representation]
        if self.cutoff is None and not network.complete_graphs:
            object.__setattr__(self, "cutoff", network.make_settings().cutoff)
        self._check_parts()
        object.__setattr__(self, "settings", self._complete())

    @property
    def focused(self) -> bool:
        """Whether a decision says which placed atom the new one is bonded to."""
        return any(DECISIONS[name].tells_focus for name in self.decisions)

    def _check_parts(self) -> None:
        """Whether decisions and conditions are known and have what they build on."""
        if len({*self.decisions}) < len(self.decisions) or "distance" not in self.decisions:
            raise InputError(
                f"decisions must be different and have 'distance' among them, got "
                f"{list(self.decisions)}"
            )
        for place, name in enumerate(self.decisions):
            DECISIONS[name].check(self, self.decisions[:place])
        for name in self.conditions:
            CONDITIONS[name].check(self)
        told = "properties" in self.conditions or not self.properties
        require(told, "conditions", list(self.conditions), "with properties, as some are given")

    def _complete(self) -> dict[str, Any]:
        """Every further setting of the representation.

        Raises:
            InputError: for a setting that it does not have, or a value that it cannot use.
        """
        network = REPRESENTATIONS[self.representation]
        settings = (PAPER if self.representation == "schnet" else {}) | dict(self.settings)
        common = self._common()
        given = sorted(common.keys() & settings.keys())
        if any(settings[name] != common[name] for name in given):
            raise InputError(
                f"settings: {', '.join(given)} are those of the generator itself; give them there"
            )
        complete = vars(network.make_settings(**(settings | common)))
        return {name: value for name, value in sorted(complete.items()) if name not in common}

    def _common(self) -> dict[str, Any]:
        """What the representation shares with the generator."""
        names = ("hidden_channels", "cutoff", "max_distance")
        possible = REPRESENTATIONS[self.representation].setting_names()
        return {name: getattr(self, name) for name in names if name in possible}

    @classmethod
    def split(cls, changes: Mapping[str, Any], config: GeneratorConfig | None = None) -> Any:
        """A configuration from names of its fields and of settings of the representation.

        Args:
            changes: values by name.
            config: where all others come from; by default the paper's.

        Raises:
            InputError: for a name that is neither.
        """
        names = [one.name for one in fields(cls)]
        own = {name: value for name, value in changes.items() if name in names}
        further = {name: value for name, value in changes.items() if name not in names}
        start = {name: getattr(config, name) for name in names} if config is not None else {}
        network = REPRESENTATIONS[own.get("representation", start.get("representation", "schnet"))]
        possible = network.setting_names()
        for name in further:
            if name not in possible:
                raise InputError(
                    f"neither a generator nor {network.__name__} has a setting {name!r}"
                    f"{nearest(name, names + possible)}; {network.__name__} has "
                    f"{', '.join(possible)}"
                )
        if "representation" in own and own["representation"] != start.get("representation"):
            start.pop("settings", None)  # those of another network
        settings = {**start.get("settings", {}), **own.get("settings", {}), **further}
        return cls(**(start | own | {"settings": settings}))

    @classmethod
    def from_preset(cls, name: str, **changes: Any) -> GeneratorConfig:
        """The architecture of a preset.

        Args:
            name: such as ``"focus"``, one of `schnetgen_pyg.generator.presets.PRESETS`.
            changes: values that replace its own, as in `split`. With another representation the
                preset's settings of its own one are left out.

        Raises:
            InputError: for an unknown preset or setting.
        """
        values = preset(name)
        network = REPRESENTATIONS[values.get("representation", "schnet")]
        known = {*(one.name for one in fields(cls)), *network.setting_names()}
        own = cls.split({key: value for key, value in values.items() if key in known})
        result: GeneratorConfig = cls.split(changes, own)
        return result

    def representation_settings(self) -> dict[str, Any]:
        """All settings of the representation."""
        return {**self.settings, **self._common()}


def _property(given: Any) -> Property:
    """A property, also as a file has it."""
    if isinstance(given, Property):
        return given
    if not isinstance(given, Mapping):
        raise InputError(
            f"properties: {given!r} says nothing of its mean and range; take "
            f"properties_in(structures, [{given!r}]) of schnetgen_pyg.data.properties"
        )
    return Property(**given)
