"""What the training of every kind of model has in common: optimiser, steps, validation."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple

import lightning.pytorch as pl
import torch
import torch.distributed as dist
from torch import Tensor
from torch_geometric.data import Data

from schnetgen_pyg.data.means import Mean
from schnetgen_pyg.training.config import RunConfig
from schnetgen_pyg.training.finite import (
    require_finite_gradient,
    require_finite_loss,
    require_finite_validation,
)


class Terms(NamedTuple):
    """What a batch, or the share of it that a process has, says of a model.

    Attributes:
        loss: terms whose sum is the loss.
        logged: what is logged beside the loss, by the names there.
    """

    loss: Mapping[str, Mean]
    logged: Mapping[str, Mean]

    def parts(self) -> dict[str, Mean]:
        """All of them, without gradients."""
        parts = {f"loss of {name}": mean for name, mean in self.loss.items()} | dict(self.logged)
        return {name: mean.detach() for name, mean in parts.items()}


def over_processes(parts: dict[str, Mean]) -> dict[str, Mean]:
    """The means over the shares of all processes."""
    if num_processes() == 1 or not parts:
        return parts
    totals = torch.stack([mean.total.double() for mean in parts.values()])
    numbers = [torch.as_tensor(mean.number).to(totals) for mean in parts.values()]
    both = torch.stack([totals, torch.stack(numbers)])
    dist.all_reduce(both)
    return {name: Mean(*both[:, place]) for place, name in enumerate(parts)}


def num_processes() -> int:
    """That train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def values(parts: Mapping[str, Mean], prefix: str = "") -> dict[str, Tensor]:
    """What is logged: the loss, and the rest by name."""
    loss = [mean.value for name, mean in parts.items() if name.startswith("loss of ")]
    rest = {name: mean.value for name, mean in parts.items() if not name.startswith("loss of ")}
    found = {"loss": torch.stack(loss).sum()} | rest
    return {f"{prefix}{name}": value for name, value in found.items()}


class RunModule(pl.LightningModule):
    """A model in training.

    Args:
        model: has ``config``, ``provenance``, ``save`` and ``from_pretrained``.
        config: of the run.
    """

    def __init__(self, model: Any, config: RunConfig):
        super().__init__()
        self.model = model
        self.config: Any = config
        #: Of the learning rate, lowered on a plateau.
        self.rate = 1.0
        self._validated: dict[str, Mean] = {}

    @abstractmethod
    def terms(self, batch: Data, *seed: int) -> Terms:
        """Loss and errors of a batch; ``seed`` fixes what is drawn."""

    def loss(self, batch: Data, *seed: int) -> Tensor:
        """Of a batch that is not shared, differentiable."""
        terms = self.terms(batch, *seed).loss
        return torch.stack([mean.value for mean in terms.values()]).sum()

    def configure_optimizers(self) -> Any:
        """Adam, with warmup and schedule."""
        optimizer = torch.optim.Adam(self.parameters(), lr=self.config.learning_rate)
        steps, warmup = self.config.steps, self.config.warmup

        def factor(step: int) -> float:
            rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
            if self.config.schedule != "cosine":
                return rise * self.rate
            return rise * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps))))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def training_step(self, batch: Data, _: int) -> Tensor:
        terms = self.terms(batch, self.global_step, 2, self.global_rank)
        whole = over_processes(terms.parts())
        # The processes average their gradients. Their shares may be unequal: so each divides its
        # sums by the mean number, not by its own.
        shares = [
            Mean(mean.total * num_processes(), whole[f"loss of {name}"].number).value
            for name, mean in terms.loss.items()
        ]
        for name, value in values(whole).items():
            self.log(name, value, prog_bar=name == "loss", batch_size=batch.ptr.numel() - 1)
        loss = torch.stack(shares).sum()
        require_finite_loss(self, loss)
        return loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        if self.config.precision != "16-mixed":  # which leaves such steps out itself
            require_finite_gradient(self)

    def on_validation_epoch_start(self) -> None:
        self._validated = {}

    def validation_step(self, batch: Data, index: int) -> None:
        known, found = self._validated, self.terms(batch, index, 3).parts()
        require_finite_validation(self, batch, index, found)
        for name, mean in found.items():
            known[name] = known[name].join(mean) if name in known else mean

    def validation_errors(self) -> dict[str, float]:
        """Means over the validation set."""
        found = values(over_processes(self._validated), "validation_")
        return {name: float(value) for name, value in found.items()}
