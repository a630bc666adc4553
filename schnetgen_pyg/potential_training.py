"""Training of potentials on energies and forces with Lightning: seeded, resumable, logged."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging
from torch import Tensor
from torch.utils.data import DataLoader
from torch_geometric.data import Data

from .batches import BatchSampler, Molecules, save_split, saved_split, seeded
from .calculator import predict
from .callbacks import LAST
from .potentials import Potential, Prediction
from .structures import InputError, as_data, require
from .training import make_trainer, provenance, require_choices


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


class LabelledMolecules(Molecules):
    """`Molecules` with energies, and forces and cells where the structures have them."""

    def __init__(self, structures: Sequence[Data]):
        super().__init__(structures)
        self.energy = torch.cat([d.energy.reshape(1).double() for d in structures])
        self.forces = self.cell = None
        if structures[0].get("forces") is not None:
            self.forces = torch.cat([d.forces for d in structures])
        if any(d.get("cell") is not None for d in structures):
            none = torch.zeros(1, 3, 3)
            self.cell = torch.cat([none if d.get("cell") is None else d.cell for d in structures])

    def __getitem__(self, molecules: Sequence[int]) -> Data:
        chosen = torch.as_tensor(molecules)
        data = super().__getitem__(molecules)
        data.energy = self.energy[chosen]
        if self.forces is not None:
            place = torch.arange(data.z.numel()) - data.ptr[data.batch]
            data.forces = self.forces[self.ptr[chosen][data.batch] + place]
        if self.cell is not None:
            data.cell = self.cell[chosen]
        return data


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


def _groups(structures: Sequence[Data], key: str | None) -> list[list[int]]:
    """Indices of the structures that stay together."""
    if key is None:
        return [[index] for index in range(len(structures))]
    groups: dict[Any, list[int]] = {}
    for index, data in enumerate(structures):
        info = data.get("info") or {}
        if key not in info:
            raise InputError(
                f"structure {index}: no {key!r} in its info (there: {sorted(info) or 'nothing'}); "
                "name another entry in group_by"
            )
        groups.setdefault(info[key], []).append(index)
    return list(groups.values())


def split_groups(
    structures: Sequence[Data], config: PotentialTrainingConfig, path: Path
) -> dict[str, list[int]]:
    """Indices of ``train``, ``validation`` and ``test`` structures; kept in ``path`` (JSON) once
    drawn.

    Whole groups are held out, as many as hold the wanted number of structures on average.

    Raises:
        InputError: if there are too few structures, or ``path`` is a split of other ones.
    """
    names = ("train", "validation", "test")
    if path.is_file():
        return dict(zip(names, saved_split(path, structures, *names), strict=True))
    groups = _groups(structures, config.group_by)
    mean = len(structures) / len(groups)
    num_test = math.ceil(config.num_test / mean)
    num_held_out = num_test + math.ceil(config.num_validation / mean)
    if num_held_out >= len(groups):
        raise InputError(
            f"cannot hold out {num_held_out} of {len(groups)} structures or groups of them; lower "
            "num_validation or num_test"
        )
    order = torch.randperm(len(groups), generator=seeded(config.seed, 0)).tolist()
    drawn = (order[num_held_out:], order[num_test:num_held_out], order[:num_test])
    parts = {
        name: sorted(index for place in part for index in groups[place])
        for name, part in zip(names, drawn, strict=True)
    }
    save_split(path, structures, config.seed, **parts)
    return parts


def labelled(structures: Any, elements: Sequence[int], where: str = "structure") -> list[Data]:
    """Structures of any kind, checked to have energies, and forces all or none.

    Raises:
        InputError: naming the structure, and what it lacks.
    """
    result = as_data(structures, where)
    if not result:
        raise InputError("the data hold no structure")
    forces = result[0].get("forces") is not None
    for index, data in enumerate(result):
        if data.get("energy") is None:
            raise InputError(
                f"{where} {index}: has no energy; label it (schnetgen label), or take a file with "
                "energies in eV"
            )
        if (data.get("forces") is not None) != forces:
            raise InputError(
                f"{where} {index}: {'no ' if forces else ''}forces, unlike {where} 0; "
                "train on structures that all have forces, or none"
            )
        unseen = sorted(set(data.z.tolist()) - set(elements))
        if unseen:
            raise InputError(
                f"{where} {index}: holds atomic numbers {unseen}, the model is for "
                f"{list(elements)}; build it with their union"
            )
        parts = [data.energy] + ([data.forces] if forces else [])
        if not all(torch.isfinite(part).all() for part in parts):
            raise InputError(f"{where} {index}: an energy or force is not finite; leave it out")
    return result


def errors(found: Sequence[Data], structures: Sequence[Data]) -> dict[str, float]:
    """Errors of what `predict` found for labelled structures: of the energy in meV, also per atom,
    and of the forces in meV/Å."""
    energy = torch.tensor(
        [float(a.energy - b.energy) for a, b in zip(found, structures, strict=True)]
    )
    atoms = torch.tensor([data.z.numel() for data in structures])
    result = {
        "num_structures": float(len(structures)),
        "energy_mae_mev": 1000 * float(energy.abs().mean()),
        "energy_mae_mev_per_atom": 1000 * float((energy.abs() / atoms).mean()),
    }
    if all(data.get("forces") is not None for data in structures):
        slope = torch.cat([a.forces - b.forces for a, b in zip(found, structures, strict=True)])
        result["forces_mae_mev_per_angstrom"] = 1000 * float(slope.abs().mean())
        result["forces_rmse_mev_per_angstrom"] = 1000 * float(slope.square().mean().sqrt())
    return result


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
    chosen = split_groups(data, config, out / "split.json")
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
        DataLoader(LabelledMolecules(parts["train"]), sampler=sampler, batch_size=None),
        DataLoader(LabelledMolecules(parts["validation"]), sampler=chunks, batch_size=None),
        weights_only=True,
        ckpt_path=last if last.is_file() else None,
    )
