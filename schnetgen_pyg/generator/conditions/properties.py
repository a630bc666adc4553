"""Properties of the whole molecule: any numeric columns of the training data, any of them given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from schnetgen_pyg.data.properties import property_values
from schnetgen_pyg.data.units import same_unit
from schnetgen_pyg.errors import InputError, require
from schnetgen_pyg.generator.conditions.base import Condition
from schnetgen_pyg.representations.layers import GaussianSmearing, ShiftedSoftplus

if TYPE_CHECKING:
    from schnetgen_pyg.data.properties import Property
    from schnetgen_pyg.generator.config import GeneratorConfig

#: Gaussians of a property, from so many standard deviations below its mean to as many above, but
#: not beyond its range; values farther out differ by the value itself, which is told beside them.
NUM_GAUSSIANS, REACH = 32, 3.0
#: Width of the hidden layer of a property.
HIDDEN = 64


class Properties(Condition):
    """The properties of ``config.properties`` [num_molecules] each, under their names, in their
    units; NaN for one that is not given, of which exactly nothing is said.

    Each is expanded in Gaussians (Gebauer et al., Nat. Commun. 13, 973, 2022) beside its
    standardised value and goes through two dense layers of its own, the last of which begins with
    zeros. p(Z) has a last layer for itself.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: GeneratorConfig):
        super().__init__(config)
        self.properties: tuple[Property, ...] = config.properties
        self.optional = tuple(one.name for one in self.properties)
        number, channels, inputs = len(self.properties), config.hidden_channels, NUM_GAUSSIANS + 1
        for name in ("mean", "std"):
            values = [getattr(one, name) for one in self.properties]
            self.register_buffer(name, torch.tensor(values), persistent=False)
        self.expansions = nn.ModuleList(map(_gaussians, self.properties))
        bound = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(number, inputs, HIDDEN).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(number, HIDDEN).uniform_(-bound, bound))
        self.act = ShiftedSoftplus()
        # Of zeros: a model that is new to properties begins as what it was.
        self.features = nn.Parameter(torch.zeros(number, HIDDEN + 1, channels))
        self.composition: nn.Parameter | None = None
        if config.max_counts:
            self.composition = nn.Parameter(torch.zeros(number, HIDDEN + 1, channels))

    @classmethod
    def check(cls, config: GeneratorConfig) -> None:
        names = [one.name for one in config.properties]
        text = "those that the model is to know: --properties gap, properties_in(structures, …)"
        require(bool(names), "properties", names, text)
        require(len({*names}) == len(names), "properties", names, "different")

    def learn(self, structures: Sequence[Data]) -> dict[str, Tensor]:
        units: dict[str, str] = {}
        found = property_values(structures, self.optional, units)
        for one in self.properties:
            stated = units.get(one.name, one.unit)
            if one.unit and not same_unit(stated, one.unit, one.name):
                raise InputError(
                    f"properties: {one.name} is in {stated} in the data, and in {one.unit} in the "
                    f"model; bring the data to that (units={{{one.name!r}: …}}, "
                    f"--units {one.name}=…)"
                )
        return {name: values.float() for name, values in found.items()}

    def unit(self, name: str) -> str:
        return self._property(name).unit

    def _property(self, name: str) -> Property:
        return self.properties[self.optional.index(name)]

    def unusual(self, name: str, value: Tensor) -> str:
        found = self._property(name)
        beyond = [one for one in value.reshape(-1).unique().tolist() if found.outside(one)]
        return found.outside(beyond[0]) if beyond else ""

    def prepare(
        self, partial: Data, molecules: Data, generator: torch.Generator | None = None
    ) -> None:
        partial.properties = self._values(molecules)[partial.molecule]

    def complete(self, partial: Data, molecules: Data) -> None:
        partial.properties = self._values(partial)

    def _values(self, molecules: Data) -> Tensor:
        """All of them side by side [num_molecules, num_properties]."""
        found = [self.given(molecules, name).reshape(-1) for name in self.optional]
        return torch.stack([one.to(self.mean) for one in found], 1)

    def forward(self, partial: Data) -> Tensor:
        return self._told(partial.properties, self.features)

    def of_molecules(self, molecules: Data) -> Tensor | None:
        if self.composition is None:
            return None
        return self._told(self._values(molecules), self.composition)

    def _told(self, values: Tensor, last: Tensor) -> Tensor:
        """Channels [num, channels] of values [num, num_properties], by the last layer of each, with
        its constants [num_properties, hidden + 1, channels]."""
        known = ~values.isnan()
        values = ((values - self.mean) / self.std).masked_fill(~known, 0.0).to(self.weight)
        each = [expand(one) for expand, one in zip(self.expansions, values.unbind(1), strict=True)]
        inputs = torch.cat([torch.stack(each, 1), values.unsqueeze(2)], 2)
        hidden = self.act(torch.einsum("npi,pih->nph", inputs, self.weight) + self.bias)
        hidden = torch.cat([hidden, torch.ones_like(hidden[..., :1])], 2) * known.unsqueeze(2)
        return torch.einsum("nph,phc->nc", hidden, last)


def _gaussians(one: Property) -> GaussianSmearing:
    """Of standardised values."""
    low, high = ((value - one.mean) / one.std for value in (one.low, one.high))
    return GaussianSmearing(max(low, -REACH), min(high, REACH), NUM_GAUSSIANS)
