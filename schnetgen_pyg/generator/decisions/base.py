"""What a decision is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from schnetgen_pyg.data.means import Mean
from schnetgen_pyg.errors import InputError

if TYPE_CHECKING:
    from schnetgen_pyg.generator.config import GeneratorConfig
    from schnetgen_pyg.generator.draft import Draft
    from schnetgen_pyg.generator.step import Step


class Decision(nn.Module, ABC):
    """One of the choices that place an atom: how probable the options are, what the right one was
    in a real molecule, and how one is drawn.

    Attributes:
        after: decisions that a model must take before this one.
        conditions: conditions that a model must have.
        tells_focus: whether it says which placed atom the new one is bonded to (`Step.focus`).
        keeps: names in ``draft.state.kept`` [count, places] under which it keeps what was drawn,
            and their types; generated molecules have them as arrays, and where such molecules are
            followed they are there again.
    """

    after: ClassVar[tuple[str, ...]] = ()
    tells_focus: ClassVar[bool] = False
    keeps: ClassVar[Mapping[str, torch.dtype]] = {}
    conditions: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def __init__(self, config: GeneratorConfig):
        super().__init__()

    @classmethod
    def check(cls, config: GeneratorConfig, before: Sequence[str]) -> None:
        """Whether a model of this configuration can take the decision ``before`` which these are.

        Raises:
            InputError: with what is missing.
        """
        missing = [name for name in cls.after if name not in before]
        if missing:
            raise InputError(
                f"decisions: {cls.__name__} comes after {', '.join(missing)}, got "
                f"{list(config.decisions)}"
            )
        missing = [name for name in cls.conditions if name not in config.conditions]
        if missing:
            raise InputError(
                f"conditions: {cls.__name__} needs {', '.join(missing)}, got "
                f"{list(config.conditions)}"
            )

    @abstractmethod
    def log_prob(self, step: Step) -> Tensor:
        """Log-probabilities of the options, for every partial molecule [num_graphs, options] or
        every placed atom [num_nodes, options]."""

    @abstractmethod
    def loss(self, step: Step, molecules: Data) -> Mean | dict[str, Mean]:
        """Cross-entropy in nats of what is true in the molecules, as sum and number, or several by
        name; the step is told the truth (`Step.decide`)."""

    @abstractmethod
    def draw(self, step: Step, draft: Draft) -> Tensor | None:
        """Decide for molecules under construction, or follow them where ``draft.forced``: the step
        is told what, and the draft keeps it. The log-probabilities of what was decided [count],
        which count where molecules are followed, or nothing."""

    def new_atom(self, step: Step) -> Tensor | None:
        """Channels of the next atoms [num_graphs, hidden_channels] that tell later decisions of
        this one, once it is taken; by default none."""
        return None


def mean_loss(log_prob: Tensor, target: Tensor) -> Mean:
    """Mean cross-entropy of log-probabilities [num, options] with the right options [num]; 0 for
    none at all, with the network still in the graph."""
    return Mean(-log_prob.gather(1, target.unsqueeze(1)).sum(), len(target))


def chosen(log_prob: Tensor, choice: Tensor) -> Tensor:
    """Log-probabilities [num] of what was chosen [num] among [num, options]."""
    return log_prob[torch.arange(len(choice), device=choice.device), choice]
