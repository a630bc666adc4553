"""What a condition is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from schnetgen_pyg.errors import InputError

if TYPE_CHECKING:
    from schnetgen_pyg.generator.config import GeneratorConfig
    from schnetgen_pyg.generator.draft import Draft
    from schnetgen_pyg.generator.step import Step


class Condition(nn.Module, ABC):
    """Something that a generator is told: of every molecule, of placed atoms, of the next one.

    The least is a ``forward`` that makes channels of the attributes named in ``requires``. Where
    these are attributes of the molecules (in the data, and in `schnetgen_pyg.generate`'s
    ``targets``), nothing else is to be done.

    Attributes:
        requires: attributes of the molecules, per graph [num_molecules, …] or per atom
            [num_atoms, …].
    """

    requires: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def __init__(self, config: GeneratorConfig):
        super().__init__()

    @classmethod
    def check(cls, config: GeneratorConfig) -> None:
        """Whether a model of this configuration can have it.

        Raises:
            InputError: with what is missing.
        """

    def prepare(
        self, partial: Data, molecules: Data, generator: torch.Generator | None = None
    ) -> None:
        """Give the partial molecules what the condition reads of them, from the whole ones. Here:
        the attributes in ``requires``, of the molecule of each step or of each placed atom."""
        for name in self.requires:
            value = molecules.get(name)
            if value is None:
                raise InputError(
                    f"the model knows the condition {type(self).__name__} and needs {name!r} of "
                    "every molecule; give it"
                )
            per_atom = len(value) == molecules.z.numel() != molecules.ptr.numel() - 1
            partial[name] = value[partial.atom if per_atom else partial.molecule]

    def recall(self, partial: Data, draft: Draft) -> None:
        """The same for molecules under construction."""
        self.prepare(partial, draft.molecules)

    def complete(self, partial: Data, molecules: Data) -> None:
        """The same where a caller of the model gave something himself, and may have left out what
        has a default."""

    @abstractmethod
    def forward(self, partial: Data) -> Tensor:
        """Channels of every partial molecule [num_graphs, hidden_channels], which are added to the
        embeddings of all its atoms."""

    def per_atom(self, partial: Data) -> Tensor | None:
        """Channels of every placed atom [num_nodes, hidden_channels], if there are any."""
        return None

    def new_atom(self, step: Step) -> Tensor | None:
        """Channels of the next atoms [num_graphs, hidden_channels], which are added to the
        embedding of their type, as far as something is known of them."""
        return None
