"""How models are trained."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

from schnetgen_pyg.errors import InputError, require
from schnetgen_pyg.generator.presets import DEFAULT_PRESET, preset


@dataclass(frozen=True)
class RunConfig:
    """What every training run has.

    Attributes:
        steps: optimiser steps in all; a larger number continues a finished run.
        batch_size: structures per step, shared among the devices: their number changes nothing
            else.
        learning_rate: of Adam.
        schedule: of the learning rate: constant, cosine (to a hundredth at the last step) or
            plateau (halved when the validation loss stands).
        plateau_patience: validations without a better one before the rate is halved.
        patience: validations without a better one before the run ends; 0 for never.
        warmup: steps in which the learning rate rises from 0.
        ema_decay: decay of an exponential moving average of the weights; 0 for none.
        gradient_clip: largest norm of the gradient; 0 for no clipping.
        num_validation: structures held out of the data for the validation loss.
        validation_interval: steps between validations.
        checkpoint_interval: steps between checkpoints.
        seed: of the split, the batches, the weights and all that is drawn.
        accelerator: Lightning's name: auto, cpu, gpu, …
        devices: Lightning's number of devices, or auto.
        strategy: Lightning's name of how several devices share the work: auto, ddp, …
        precision: Lightning's name.
        weights: of targets in the loss, such as ``{"gap": 1.0, "mu": 0.1}``; by default 1. Their
            squared errors are divided by the variance in the training data of what the elements
            alone leave unexplained, so that units do not decide.
    """

    steps: int = 20_000
    batch_size: int = 20
    learning_rate: float = 1e-3
    schedule: Literal["constant", "cosine", "plateau"] = "constant"
    plateau_patience: int = 10
    patience: int = 0
    warmup: int = 0
    ema_decay: float = 0.0
    gradient_clip: float = 0.0
    num_validation: int = 100
    validation_interval: int = 1_000
    checkpoint_interval: int = 250
    seed: int = 0
    accelerator: str = "auto"
    devices: int | str = "auto"
    strategy: str = "auto"
    precision: Literal["32-true", "64-true", "16-mixed", "bf16-mixed"] = "32-true"
    weights: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        intervals = ("validation_interval", "checkpoint_interval")
        self._require_at_least(1, "steps", "batch_size", "plateau_patience", *intervals)
        self._require_at_least(0, "warmup", "patience", "gradient_clip", "num_validation", "seed")
        require(self.learning_rate > 0, "learning_rate", self.learning_rate, "positive")
        for name, weight in self.weights.items():
            require(0 < weight < math.inf, f"the weight of {name}", weight, "positive")
        require(0 <= self.ema_decay < 1, "ema_decay", self.ema_decay, "between 0 and 1")
        for name, kind in get_type_hints(type(self)).items():
            if kind is float:
                value = getattr(self, name)
                require(math.isfinite(value), name, value, "a finite number")
            if get_origin(kind) is Literal:
                names, value = get_args(kind), getattr(self, name)
                require(value in names, name, value, f"one of {', '.join(names)}")

    def _require_at_least(self, least: int, *names: str) -> None:
        expected = f"{least} or more" if least == 0 else f"at least {least}"
        for name in names:
            require(getattr(self, name) >= least, name, getattr(self, name), expected)


@dataclass(frozen=True)
class TrainingConfig(RunConfig):
    """How a generator is trained; the defaults are the paper's where it states them.

    All settings of a `RunConfig`, and:

    Attributes:
        position_noise: largest standard deviation in Å of the noise on placed positions.
        partial_molecules: random partial molecules of each molecule per step; 0 for all.
        hydrogen_steps: random partial molecules of each molecule per step to which a hydrogen is
            added, beside all to which something else is; 0 for all.
        fragments: share of the molecules that begin with a fragment of random atoms, often with
            their hydrogens: for models that complete fragments, join them or add hydrogens.
        target_weight: of the loss of all targets (`GeneratorConfig.targets`), beside the
            cross-entropies. Targets are read from the molecules as they are, without noise.
        num_samples: molecules generated at each validation (in single precision), for the share of
            valid ones.
        kl_weight: of the condition ``latent``'s KL divergence in the end, β; it rises from 1e-4 in
            the first half of the training. 1 is the evidence lower bound.
        group_by: entry of the structures' ``info``, such as ``smiles`` of ensembles of conformers:
            those that share it stay on one side of the split.
        weight_by: entry of ``info`` with the weights of the structures of a group, such as
            ``weight``, Boltzmann's: every pass sees each group once, as one of its structures,
            drawn by its weight. Without it every pass sees each structure once.
    """

    position_noise: float = 0.0
    partial_molecules: int = 0
    hydrogen_steps: int = 0
    fragments: float = 0.0
    target_weight: float = 1.0
    num_samples: int = 100
    kl_weight: float = 1.0
    group_by: str | None = None
    weight_by: str | None = None

    @classmethod
    def from_preset(cls, name: str = DEFAULT_PRESET, **changes: Any) -> TrainingConfig:
        """How the models of a preset are trained: ``SchNetGen.from_preset`` has their architecture.

        Args:
            name: one of `schnetgen_pyg.generator.presets.PRESETS`.
            changes: values that replace its own.

        Raises:
            InputError: for an unknown preset or a value that cannot be used.
        """
        names = [one.name for one in fields(cls)]
        return replace(cls(**preset(name, names)), **changes)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_at_least(0, "position_noise", "partial_molecules", "hydrogen_steps")
        self._require_at_least(0, "num_samples")
        weight = self.target_weight
        require(0 < weight < math.inf, "target_weight", weight, "positive")
        require(self.kl_weight > 0, "kl_weight", self.kl_weight, "positive")
        require(0 <= self.fragments <= 1, "fragments", self.fragments, "0 to 1")
        if self.weight_by and not self.group_by:
            raise InputError(
                f"weight_by {self.weight_by!r} weighs the structures of a group: say by group_by "
                "which entry of their info those of a group share, such as smiles"
            )


@dataclass(frozen=True)
class PotentialTrainingConfig(RunConfig):
    """How a potential is trained; the weights of its best validation are kept.

    All settings of a `RunConfig`, and:

    Attributes:
        energy_weight: ρ of the loss ρ(E − Ê)² + Σ_i‖F_i − F̂_i‖²/n in eV², eV²/Å² (Schütt et al.
            2017, equation 5).
        num_test: structures held out for the test errors.
        group_by: entry of the structures' ``info``, such as ``source`` of labelled files: those
            that share it stay on one side of the split.
    """

    steps: int = 100_000
    batch_size: int = 32
    learning_rate: float = 5e-4
    schedule: Literal["constant", "cosine", "plateau"] = "plateau"
    ema_decay: float = 0.999
    validation_interval: int = 500
    precision: Literal["32-true", "64-true", "bf16-mixed"] = "32-true"
    energy_weight: float = 0.01
    num_test: int = 0
    group_by: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_at_least(1, "num_validation")
        self._require_at_least(0, "num_test")
        require(self.energy_weight > 0, "energy_weight", self.energy_weight, "positive")


@dataclass(frozen=True)
class GraphTrainingConfig:
    """How a model of 2-D graphs is trained.

    By Adam with a short warmup and a cosine to the last step. It takes all its passes, and the
    weights of the best validation are kept.

    Attributes:
        epochs: passes over the training part.
        batch_size: molecules per step.
        learning_rate: of Adam.
        ema_decay: decay of an exponential moving average of the weights; 0 for none.
        gradient_clip: largest norm of the gradient; 0 for no clipping.
        split: by scaffold (molecules with one Bemis–Murcko scaffold are in one part, the largest
            groups in the training; as DeepChem's) or random.
        validation: share of the molecules held out to choose the weights.
        test: share held out for the test errors; 0 for none.
        seed: of a random split, the weights and the batches.
        accelerator: Lightning's name: auto, cpu, gpu, …
        precision: Lightning's name.
    """

    epochs: int = 100
    batch_size: int = 32
    learning_rate: float = 5e-4
    ema_decay: float = 0.99
    gradient_clip: float = 1.0
    split: Literal["scaffold", "random"] = "scaffold"
    validation: float = 0.1
    test: float = 0.1
    seed: int = 0
    accelerator: str = "auto"
    precision: Literal["32-true", "64-true", "bf16-mixed"] = "32-true"

    def __post_init__(self) -> None:
        require(self.epochs >= 1, "epochs", self.epochs, "at least 1")
        require(self.split in ("scaffold", "random"), "split", self.split, "scaffold or random")
        require(0 < self.validation < 1, "validation", self.validation, "between 0 and 1")
        require(0 <= self.test < 1, "test", self.test, "0 or more, and less than 1")
        held_out = self.validation + self.test
        require(held_out < 1, "validation + test", held_out, "less than 1")
        require(self.batch_size >= 1, "batch_size", self.batch_size, "at least 1")
        self.run(1)

    def run(self, num_training: int) -> RunConfig:
        """The run that this is, with so many molecules: a validation after every pass."""
        each = math.ceil(num_training / self.batch_size)
        names = ("batch_size", "learning_rate", "ema_decay", "gradient_clip", "seed")
        shared = {name: getattr(self, name) for name in (*names, "accelerator", "precision")}
        return RunConfig(
            **shared,
            steps=self.epochs * each,
            schedule="cosine",
            warmup=self.epochs * each // 20,
            validation_interval=each,
            checkpoint_interval=each * math.ceil(250 / each),
            devices=1,
        )
