"""Training of generators: the cross-entropies of all their decisions."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch_geometric.data import Data

from schnetgen_pyg.chem.molecules import to_rdkit
from schnetgen_pyg.chem.perception import perceive
from schnetgen_pyg.data.batches import seeded
from schnetgen_pyg.data.conversion import checked, to_ase
from schnetgen_pyg.data.means import Mean
from schnetgen_pyg.data.splits import split
from schnetgen_pyg.data.stored import taken
from schnetgen_pyg.generator.losses import loss_terms
from schnetgen_pyg.generator.model import SchNetGen
from schnetgen_pyg.generator.sampling.conformers import conformers
from schnetgen_pyg.generator.sampling.generate import sample
from schnetgen_pyg.generator.training_set import TrainingSet
from schnetgen_pyg.storage.provenance import provenance
from schnetgen_pyg.training.callbacks import metrics
from schnetgen_pyg.training.checkpoints import MODEL, SPLIT
from schnetgen_pyg.training.config import TrainingConfig
from schnetgen_pyg.training.ensembles import sampler_of
from schnetgen_pyg.training.fine_tuning import begin
from schnetgen_pyg.training.learnable import learnable
from schnetgen_pyg.training.module import RunModule, Terms
from schnetgen_pyg.training.optional import with_everything
from schnetgen_pyg.training.targets import (
    check_weights,
    labels_in,
    start_targets,
    target_terms,
    with_targets,
)
from schnetgen_pyg.training.trainer import check_continues, make_trainer, run

#: β of the condition ``latent`` at the first step.
FIRST_KL_WEIGHT = 1e-4


class GeneratorModule(RunModule):
    """The sum of `schnetgen_pyg.generator.losses.losses`: for the paper's model, its loss. With
    targets also the errors of what is predicted of the whole molecules, each divided by its
    variance, times its weight and `TrainingConfig.target_weight`.

    Args:
        model: the generator.
        config: of the run.
        data: of the training.
        variances: of the targets and their derivatives that have labels, in unit².
    """

    def __init__(
        self,
        model: SchNetGen,
        config: TrainingConfig,
        data: Sequence[Data] = (),
        variances: Mapping[str, float] | None = None,
    ):
        super().__init__(model, config)
        self.data = data
        known = variances or {}
        weights = {name: config.weights.get(name, 1.0) / known[name] for name in known}
        self.weights = {name: config.target_weight * weight for name, weight in weights.items()}

    def terms(self, batch: Data, *seed: int) -> Terms:
        logged: dict[str, Mean] = {}
        found = loss_terms(
            self.model,
            batch,
            seeded(self.config.seed, *seed),
            noise=self.config.position_noise,
            num_steps=self.config.partial_molecules,
            num_hydrogen_steps=self.config.hydrogen_steps,
            fragments=self.config.fragments,
            kl_weight=self.kl_weight(),
            logged=logged,
        )
        terms = Terms(found, {f"{name}_loss": mean for name, mean in found.items()} | logged)
        if not self.weights:
            return terms
        own = target_terms(self.model.predictor, batch, labels_in(batch), self.weights)
        loss = {f"target {name}": mean for name, mean in own.loss.items()}
        return Terms({**terms.loss, **loss}, {**terms.logged, **own.logged})

    def kl_weight(self) -> float:
        """β: half a cosine from `FIRST_KL_WEIGHT` to the configuration's in the first half of the
        training, as in DMCG (Zhu et al., TMLR 2022); in a validation always the last."""
        last = self.config.kl_weight
        done = min(1.0, 2 * self.global_step / self.config.steps) if self.model.training else 1.0
        return FIRST_KL_WEIGHT + (last - FIRST_KL_WEIGHT) * 0.5 * (1 - math.cos(math.pi * done))

    def on_validation_batch_end(
        self, outputs: Any, batch: Data, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        # Here, not at the end of the epoch: averaged weights have left by then; nor in the step,
        # whose operations may be of another precision than the sampler's.
        if batch_idx == 0 and self.config.num_samples:
            self.log("valid", self.share_valid(), prog_bar=True, batch_size=1, sync_dist=True)

    def share_valid(self) -> float:
        """Share of valid structures among freshly generated ones of the data's formulas, told what
        the conditions require of these; of a model that is given its molecules, the share of
        conformers that could be built."""
        model = copy.deepcopy(self.model).float()
        chosen = torch.randint(
            len(self.data),
            (self.config.num_samples,),
            generator=seeded(self.config.seed, self.global_step, 4),
        )
        if "parent" in model.decisions:
            mols = [to_rdkit(to_ase(self.data[number])) for number in chosen.tolist()]
            built = conformers(model, mols, 1, seed=self.global_step)
            return sum(map(len, built)) / self.config.num_samples
        alike: dict[tuple[int, ...], list[Data]] = {}
        for number in chosen.tolist():
            data = self.data[number]
            alike.setdefault(tuple(data.z.sort().values.tolist()), []).append(data)
        done = valid = 0
        for numbers, group in alike.items():
            targets = {name: torch.cat([data[name] for data in group]) for name in model.required}
            molecules = sample(
                model, numbers, len(group), seed=self.global_step, first=done, targets=targets
            )
            valid += sum(perceive(atoms).valid for atoms in molecules)
            done += len(group)
        return valid / self.config.num_samples


def _seen(model: SchNetGen, data: Sequence[Data], out: Path) -> TrainingSet:
    """What the model has seen after this training; a run that continues has its record already."""
    if (out / MODEL).is_file():
        kept = SchNetGen.from_pretrained(out / MODEL).training_set
        if kept is not None:
            return kept
    return TrainingSet.of(data).merged(model.training_set)


def fit(
    model: SchNetGen,
    structures: Any,
    out: str | os.PathLike[str],
    config: TrainingConfig | None = None,
    *,
    init: str | os.PathLike[str] | None = None,
    **changes: Any,
) -> SchNetGen:
    """Train a generator, or continue the run in ``out``.

    A run that was stopped, also by ``kill -9``, continues from its last checkpoint and ends with
    the weights of an uninterrupted one.

    Args:
        model: the generator to train; in a run that continues, its weights are replaced.
        structures: ``Data``, ASE ``Atoms`` or a PyG dataset; a `StoredStructures` stays on the
            disk. Of the labels of the model's targets any may be missing.
        out: folder of the run: ``model.safetensors``, ``last.ckpt`` and the ``previous.ckpt``
            before it, ``split.json`` (indices of the structures), ``logs/`` (CSV and TensorBoard).
        config: settings; keyword arguments replace its fields.
        init: a trained model to start from, by the name of a bundled one or its file. The
            architecture must be the same, but there may be further elements.

    Returns:
        the trained generator (with averaged weights, if they are averaged).

    Raises:
        InputError: if the data, the settings or the run in ``out`` do not go together.
    """
    config = replace(config or TrainingConfig(), **changes)
    out = Path(out)
    whole = checked(structures)
    data, beyond = learnable(model, whole, known=bool(init or model.provenance))
    data, labels, targets = with_targets(model, data, whole)
    check_weights(config.weights, targets)
    out.mkdir(parents=True, exist_ok=True)
    check_continues(out, model, config)
    parent = begin(model, out, init)
    trainer = make_trainer(config, out, keep="last")
    full = with_everything(data, whole) if config.group_by else data
    parts = split(
        full,
        num_validation=config.num_validation,
        seed=config.seed,
        path=out / SPLIT,
        group_by=config.group_by,
        min_atoms=2,
    )
    called = [data[k].index for k in parts["train"]] if config.weight_by else None
    sampler = sampler_of(taken(full, parts["train"]), config, called)
    train, validation, both = (
        taken(data, numbers)
        for numbers in (parts["train"], parts["validation"], parts["train"] + parts["validation"])
    )
    known = taken(labels, parts["train"]) if targets else []
    scales, numbers = start_targets(model, known, targets, init is not None)
    if trainer.is_global_zero:  # which writes the files
        model.training_set = _seen(model, both, out)
    model.provenance = {"training": asdict(config), "num_training": len(train)} | beyond
    model.provenance |= numbers | parent | provenance()
    module = GeneratorModule(model, config, train, scales)
    run(trainer, module, train, validation, sampler=sampler)
    trained = SchNetGen.from_pretrained(out / MODEL)
    if trainer.is_global_zero and metrics(trainer):
        trained.provenance["metrics"] = metrics(trainer)
        trained.save(out / MODEL)
    return trained
