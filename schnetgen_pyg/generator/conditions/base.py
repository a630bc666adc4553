"""What a condition is."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from schnetgen_pyg.data.means import Mean
from schnetgen_pyg.data.properties import property_values
from schnetgen_pyg.errors import InputError

if TYPE_CHECKING:
    from schnetgen_pyg.generator.config import GeneratorConfig
    from schnetgen_pyg.generator.draft import Draft
    from schnetgen_pyg.generator.step import Step


class Condition(nn.Module, ABC):
    """Something that a generator is told: of every molecule, of placed atoms, of the next one.

    The least is a ``forward`` that makes channels of the attributes named in ``requires`` or
    ``optional``. Where these are attributes of the molecules (in the data, and in
    `schnetgen_pyg.generate`'s ``targets``), nothing else is to be done.

    Attributes:
        requires: attributes of the molecules, per graph [num_molecules, …] or per atom
            [num_atoms, …].
        optional: attributes per graph [num_molecules, …] of which any molecule may lack any: what
            stands for one that is not given is `absent`, and the condition then says exactly
            nothing of it. In training some are left out at random
            (`schnetgen_pyg.generator.conditions.hiding`), so that one model knows all subsets.
    """

    requires: ClassVar[tuple[str, ...]] = ()
    optional: tuple[str, ...] = ()

    @abstractmethod
    def __init__(self, config: GeneratorConfig):
        super().__init__()

    @classmethod
    def check(cls, config: GeneratorConfig) -> None:
        """Whether a model of this configuration can have it.

        Raises:
            InputError: with what is missing.
        """

    def absent(self, name: str) -> Tensor:
        """What stands for an optional attribute that is not given [...]: NaN."""
        return torch.tensor(torch.nan, dtype=torch.float32)

    def is_absent(self, name: str, rows: Tensor) -> Tensor:
        """Of which molecules an optional attribute [num_molecules, …] is not given
        [num_molecules]."""
        same = rows.isnan() if rows.is_floating_point() else rows == self.absent(name).to(rows)
        return same.flatten(1).all(1) if same.dim() > 1 else same

    def learn(self, structures: Sequence[Data]) -> dict[str, Tensor]:
        """The optional attributes of structures to be trained on, by name [num_structures, …]:
        numbers, in the data as attributes or in ``info``."""
        return property_values(structures, self.optional)

    def target(self, name: str, value: Any) -> Tensor:
        """An optional attribute as a user, or a command line, asks for it: one value [...], or one
        for each molecule [num_molecules, …]; ``None`` is one that is not given.

        Raises:
            InputError: for what it cannot be.
        """
        try:
            if isinstance(value, (list, tuple)):
                return torch.tensor([_number(one) for one in value], dtype=torch.float64)
            if value is None or isinstance(value, str):
                value = _number(value)
            return torch.as_tensor(value, dtype=torch.float64)
        except (TypeError, ValueError, RuntimeError):
            raise InputError(f"targets: {name} must be a number, got {value!r}") from None

    def shown(self, name: str, value: Any) -> Any:
        """What molecules say of such a target: a plain value, or a list of one for each."""
        return self.target(name, value).tolist()

    def unit(self, name: str) -> str:
        """The unit of an optional attribute; empty where it is not known, or there is none."""
        return ""

    def unusual(self, name: str, value: Tensor) -> str:
        """Why targets [num_molecules, …] are unlike what was seen in training; empty if they are
        not, or nobody knows."""
        return ""

    def given(self, molecules: Data, name: str) -> Tensor:
        """An optional attribute of every molecule [num_molecules, …]."""
        value: Tensor | None = molecules.get(name)
        if value is not None:
            return value
        absent = self.absent(name).to(molecules.ptr.device)
        return absent.expand(molecules.ptr.numel() - 1, *absent.shape)

    def prepare(
        self, partial: Data, molecules: Data, generator: torch.Generator | None = None
    ) -> None:
        """Give the partial molecules what the condition reads of them, from the whole ones. Here:
        the attributes in ``requires`` and ``optional``, of the molecule of each step or of each
        placed atom."""
        for name in self.requires:
            value = molecules.get(name)
            if value is None:
                raise InputError(
                    f"the model knows the condition {type(self).__name__} and needs {name!r} of "
                    "every molecule; give it"
                )
            per_atom = len(value) == molecules.z.numel() != molecules.ptr.numel() - 1
            partial[name] = value[partial.atom if per_atom else partial.molecule]
        for name in self.optional:
            partial[name] = self.given(molecules, name)[partial.molecule]

    def recall(self, partial: Data, draft: Draft) -> None:
        """The same for molecules under construction."""
        self.prepare(partial, draft.molecules)

    def complete(self, partial: Data, molecules: Data) -> None:
        """The same where a caller of the model gave something himself, and may have left out what
        has a default."""
        for name in self.optional:
            partial[name] = self.given(partial, name)

    @abstractmethod
    def forward(self, partial: Data) -> Tensor:
        """Channels of every partial molecule [num_graphs, hidden_channels], which are added to the
        embeddings of all its atoms."""

    def of_molecules(self, molecules: Data) -> Tensor | None:
        """What p(Z) is told of every molecule [num_molecules, hidden_channels], from the attributes
        in ``requires`` and ``optional``; by default nothing. Only asked where the model has p(Z)
        (``config.max_counts``)."""
        return None

    def loss(self, partial: Data, molecules: Data) -> dict[str, Mean]:
        """What it costs to tell it, by name: terms in nats that the training's ``kl_weight``
        multiplies; by default none. Asked after `prepare`."""
        return {}

    def metrics(self, partial: Data, molecules: Data) -> dict[str, Mean]:
        """What a training is to log of it, by name; by default nothing. Asked after `prepare`."""
        return {}

    def per_atom(self, partial: Data) -> Tensor | None:
        """Channels of every placed atom [num_nodes, hidden_channels], if there are any."""
        return None

    def new_atom(self, step: Step) -> Tensor | None:
        """Channels of the next atoms [num_graphs, hidden_channels], which are added to the
        embedding of their type, as far as something is known of them."""
        return None


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
