"""Training of potentials on energies and forces with Lightning: seeded, resumable, logged."""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging
from torch import Tensor
from torch.utils.data import DataLoader
from torch_geometric.data import Data

from schnetgen_pyg.data.batches import BatchSampler
from schnetgen_pyg.data.molecules import Molecules
from schnetgen_pyg.data.splits import split
from schnetgen_pyg.errors import InputError, require
from schnetgen_pyg.potentials.labels import errors, labelled
from schnetgen_pyg.potentials.model import Potential, Prediction
from schnetgen_pyg.potentials.prediction import predict
from schnetgen_pyg.storage.provenance import provenance
from schnetgen_pyg.training.callbacks import LAST
from schnetgen_pyg.training.trainer import make_trainer, require_choices


@dataclass(frozen=True)
class PotentialTrainingConfig:
    """How a potential is trained.

    Attributes:
        steps: optimiser steps in all; a larger number continues a finished run.
        batch_size: structures per step.
        learning_rate: of Adam.
        energy_weight: ρ of the loss ρ(E − Ê)² + Σ_i‖F_i − F̂_i‖²/n in eV², eV²/Å² (Schütt et al.
            2017, equation 5).
        schedule: of the learning rate: constant, cosine (to a hundredth at the last step) or
            plateau (halved when the validation loss stands).
        warmup: steps in which the learning rate rises from 0.
        plateau_patience: validations without a better one before the rate is halved.
        patience: validations without a better one before the run ends; 0 for never.
        ema_decay: decay of an exponential moving average of the weights; 0 for none.
        gradient_clip: largest norm of the gradient; 0 for no clipping.
        num_validation: structures held out for the validation loss; the best weights are kept.
        num_test: structures held out for the test errors.
        group_by: entry of the structures' ``info``, such as ``source`` of labelled files: those
            that share it stay on one side of the split.
        validation_interval: steps between validations, each with a checkpoint.
        seed: of the split, the batches and the weights.
        accelerator: Lightning's name: auto, cpu, gpu, …
        devices: Lightning's number of devices, or auto.
        strategy: Lightning's name of how several devices share the work: auto, ddp, …
        precision: Lightning's name.
    """

    steps: int = 100_000
    batch_size: int = 32
    learning_rate: float = 5e-4
    energy_weight: float = 0.01
    schedule: Literal["constant", "cosine", "plateau"] = "plateau"
    warmup: int = 0
    plateau_patience: int = 10
    patience: int = 0
    ema_decay: float = 0.999
    gradient_clip: float = 0.0
    num_validation: int = 100
    num_test: int = 0
    group_by: str | None = None
    validation_interval: int = 500
    seed: int = 0
    accelerator: str = "auto"
    devices: int | str = "auto"
    strategy: str = "auto"
    precision: Literal["32-true", "64-true", "bf16-mixed"] = "32-true"

    def __post_init__(self) -> None:
        positive = ("steps", "batch_size", "plateau_patience", "num_validation")
        for name in (*positive, "validation_interval"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("warmup", "patience", "gradient_clip", "num_test", "seed"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        for name in ("learning_rate", "energy_weight"):
            require(getattr(self, name) > 0, name, getattr(self, name), "positive")
        require(0 <= self.ema_decay < 1, "ema_decay", self.ema_decay, "between 0 and 1")
        require_choices(self)


class PotentialModule(pl.LightningModule):
    """Loss of energies and forces (`PotentialTrainingConfig.energy_weight`)."""

    def __init__(self, model: Potential, config: PotentialTrainingConfig):
        super().__init__()
        self.model = model
        self.config = config
        #: Of the learning rate, lowered on a plateau.
        self.rate = 1.0
        self.sums: dict[str, float] = {}

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.model.parameters(), lr=self.config.learning_rate)
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

    def residuals(self, batch: Data) -> tuple[Tensor, Tensor | None]:
        """Errors of the energies [num_graphs] and of the forces [num_atoms, 3], if there are."""
        wanted = batch.get("forces")
        result = self.model(
            batch.z,
            batch.pos.to(self.model.readout[0].weight),
            batch.batch,
            batch.get("cell"),
            compute_forces=wanted is not None,
        )
        if not isinstance(result, Prediction):
            return result - batch.energy, None
        return result.energy - batch.energy, result.forces - wanted

    def losses(self, batch: Data, energy: Tensor, forces: Tensor | None) -> Tensor:
        """Loss of each structure [num_graphs]."""
        loss = self.config.energy_weight * energy.square()
        if forces is None:
            return loss
        squares = forces.square().sum(1) / batch.ptr.diff()[batch.batch]
        return loss.index_add(0, batch.batch, squares.to(loss))

    def training_step(self, batch: Data, _: int) -> Tensor:
        energy, forces = self.residuals(batch)
        loss = self.losses(batch, energy, forces).mean()
        size = energy.numel()
        self.log("loss", loss, prog_bar=True, batch_size=size)
        self.log("energy_mae", energy.detach().abs().mean(), batch_size=size)
        if forces is not None:
            self.log("forces_mae", forces.detach().abs().mean(), prog_bar=True, batch_size=size)
        return loss

    def on_validation_epoch_start(self) -> None:
        self.sums = {}

    def validation_step(self, batch: Data, _: int) -> None:
        energy, forces = self.residuals(batch)
        parts = {
            "structures": torch.tensor(float(energy.numel())),
            "loss": self.losses(batch, energy, forces).sum(),
            "energy": energy.abs().sum(),
        }
        if forces is not None:
            parts |= {
                "components": torch.tensor(float(forces.numel())),
                "forces": forces.abs().sum(),
            }
        for name, value in parts.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value.detach())

    def validation_errors(self) -> dict[str, float]:
        """Means over the validation set, of all processes."""
        values = torch.tensor(list(self.sums.values()), dtype=torch.float64, device=self.device)
        reduced = self.trainer.strategy.reduce(values, reduce_op="sum")
        sums = dict(zip(self.sums, torch.as_tensor(reduced).tolist(), strict=True))
        result = {
            "validation_loss": sums["loss"] / sums["structures"],
            "validation_energy_mae": sums["energy"] / sums["structures"],
        }
        if "forces" in sums:
            result["validation_forces_mae"] = sums["forces"] / sums["components"]
        return result


class _Judge(Callback):
    """Keep the best weights, lower the learning rate on a plateau, end the run when it stands.

    Comes before the averaging of weights in the list of callbacks: at the end of a validation the
    averaged ones are still in place.
    """

    def __init__(self, path: Path):
        self.path = path
        self.best, self.stale, self.rate = math.inf, 0, 1.0

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        assert isinstance(module, PotentialModule)
        module.rate = self.rate
        self._end(trainer, module)

    def _end(self, trainer: pl.Trainer, module: PotentialModule) -> None:
        if module.config.patience and self.stale >= module.config.patience:
            trainer.should_stop = True

    def on_validation_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        assert isinstance(module, PotentialModule)
        errors = module.validation_errors()
        if errors["validation_loss"] < self.best:
            self.best, self.stale = errors["validation_loss"], 0
            module.model.provenance |= {"step": trainer.global_step, "metrics": errors}
            if trainer.is_global_zero:
                module.model.save(self.path)
        else:
            self.stale += 1
            plateau = module.config.schedule == "plateau"
            if plateau and self.stale % module.config.plateau_patience == 0:
                self.rate = module.rate = 0.5 * self.rate
        module.log_dict(errors | {"learning_rate": trainer.optimizers[0].param_groups[0]["lr"]})
        self._end(trainer, module)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "stale": self.stale, "rate": self.rate}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.stale = state_dict["best"], state_dict["stale"]
        self.rate = state_dict["rate"]


class _SaveAfterValidation(Callback):
    """The state of the run with what the validation decided, and the trained weights back."""

    def __init__(self, path: Path):
        self.path = path

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        trainer.save_checkpoint(self.path, weights_only=False)


def _check_continues(out: Path, model: Potential) -> None:
    """Refuse a folder that holds a run of another architecture."""
    if not (out / LAST).is_file() or not (out / "model.safetensors").is_file():
        return
    here, there = model.config, Potential.from_pretrained(out / "model.safetensors").config
    if here != there:
        raise InputError(
            f"{out}: holds a run of {there}, this is {here}; use the same settings to continue "
            "it, or another folder"
        )


def fit_potential(
    model: Potential,
    structures: Any,
    out: str | os.PathLike[str],
    config: PotentialTrainingConfig | None = None,
    *,
    test: Any = (),
    **changes: Any,
) -> Potential:
    """Train a potential, or continue the run in ``out``.

    A run that was stopped, also by ``kill -9``, continues from its last validation and ends with
    the weights of an uninterrupted one. References and scale of a new model are fitted to the
    training structures.

    Args:
        model: the potential to train; in a run that continues, its weights are replaced.
        structures: ``Data`` or ASE ``Atoms`` with energies (eV) and, all or none, forces (eV/Å).
        out: folder of the run: ``model.safetensors`` (the best weights), ``last.ckpt``,
            ``split.json``, ``logs/`` (CSV and TensorBoard).
        config: settings; keyword arguments replace its fields.
        test: more structures for the test errors, which go to ``provenance["test"]``.

    Returns:
        the potential with the best (averaged) weights.
    """
    config = replace(config or PotentialTrainingConfig(), **changes)
    out = Path(out)
    data = labelled(structures, model.elements)
    further = labelled(test, model.elements, "test structure") if len(test) else []
    out.mkdir(parents=True, exist_ok=True)
    _check_continues(out, model)
    chosen = split(
        data,
        num_validation=config.num_validation,
        num_test=config.num_test,
        seed=config.seed,
        path=out / "split.json",
        group_by=config.group_by,
    )
    parts = {name: [data[i] for i in part] for name, part in chosen.items()}
    if not model.references.any():
        model.fit_statistics(parts["train"])
    methods = sorted({str((d.get("info") or {}).get("method", "not stated")) for d in data})
    model.provenance = {
        "training": asdict(config),
        "method": ", ".join(methods),
        "num_training": len(parts["train"]),
    } | provenance()
    _train(PotentialModule(model.train(), config), parts, out)
    trained = Potential.from_pretrained(out / "model.safetensors")
    held_out = parts["test"] + further
    if held_out:
        forces = held_out[0].get("forces") is not None
        found = predict(trained, held_out, forces=forces)
        trained.provenance["test"] = errors(found, held_out)
        trained.save(out / "model.safetensors")
    return trained


def _train(module: PotentialModule, parts: dict[str, list[Data]], out: Path) -> None:
    config, last = module.config, out / LAST
    sampler = BatchSampler(len(parts["train"]), config.batch_size, config.steps, config.seed)
    chunks = [
        part.tolist() for part in torch.arange(len(parts["validation"])).split(config.batch_size)
    ]
    callbacks: list[Callback] = [_Judge(out / "model.safetensors")]
    if config.ema_decay:
        callbacks.append(EMAWeightAveraging(decay=config.ema_decay))
    callbacks.append(_SaveAfterValidation(last))
    trainer = make_trainer(
        config,
        out,
        callbacks,
        val_check_interval=min(config.validation_interval, config.steps),
        inference_mode=False,  # forces are derivatives, also in a validation
    )
    trainer.fit(
        module,
        DataLoader(Molecules(parts["train"]), sampler=sampler, batch_size=None),
        DataLoader(Molecules(parts["validation"]), sampler=chunks, batch_size=None),
        weights_only=True,
        ckpt_path=last if last.is_file() else None,
    )
