"""Training of potentials on what they predict: energies and forces, or any other targets."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch_geometric.data import Data

from schnetgen_pyg.data.origin import named
from schnetgen_pyg.data.splits import split
from schnetgen_pyg.data.stored import StoredStructures, taken
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.potentials.model import Potential
from schnetgen_pyg.storage.provenance import provenance
from schnetgen_pyg.targets.labels import errors, labelled, trained_targets
from schnetgen_pyg.targets.prediction import predict
from schnetgen_pyg.training.checkpoints import MODEL, SPLIT
from schnetgen_pyg.training.config import PotentialTrainingConfig
from schnetgen_pyg.training.fine_tuning import begin
from schnetgen_pyg.training.module import RunModule, Terms
from schnetgen_pyg.training.stored import numbered
from schnetgen_pyg.training.targets import check_weights, start_heads, target_terms, variances
from schnetgen_pyg.training.trainer import check_continues, make_trainer, run


class PotentialModule(RunModule):
    """Squared errors of the targets, that of the energy times
    `PotentialTrainingConfig.energy_weight`, those of others times their weight over their variance.

    Args:
        model: the potential.
        config: of the run.
        variances: of the targets that have one, in unit² (`Target.variance`).
    """

    def __init__(
        self,
        model: Potential,
        config: PotentialTrainingConfig,
        variances: Mapping[str, float] | None = None,
    ):
        super().__init__(model, config)
        known = variances or {}
        self.weights = {n: config.weights.get(n, 1.0) / known.get(n, 1.0) for n in model.targets}
        self.weights["energy"] = config.energy_weight

    def terms(self, batch: Data, *seed: int) -> Terms:
        """Of the labels that the batch has."""
        names = [target.name for target in trained_targets(batch, self.model.targets)]
        return target_terms(self.model, batch, {n: batch[n] for n in names}, self.weights)


def fit_potential(
    model: Potential,
    structures: Any,
    out: str | os.PathLike[str],
    config: PotentialTrainingConfig | None = None,
    *,
    test: Any = (),
    init: str | os.PathLike[str] | None = None,
    **changes: Any,
) -> Potential:
    """Train a potential, or continue the run in ``out``.

    A run that was stopped, also by ``kill -9``, continues from its last checkpoint and ends with
    the weights of an uninterrupted one. References and scale of a new model are fitted to the
    training structures.

    Args:
        model: the potential to train; in a run that continues, its weights are replaced.
        structures: ``Data`` or ASE ``Atoms`` with the labels of the model's targets: energies (eV)
            and, all or none, forces (eV/Å); others by the name and in the unit of the target, or
            in one that ``info["units"]`` states. Of several targets some may be missing.
        out: folder of the run: ``model.safetensors`` (the best weights), ``last.ckpt``,
            ``split.json``, ``logs/`` (CSV and TensorBoard).
        config: settings; keyword arguments replace its fields.
        test: more structures for the test errors, which go to ``provenance["test"]``.
        init: a trained potential to start from, by the name of a bundled one or its file. The
            representation must be the same, but there may be further elements and other targets:
            read-outs of these start anew. References of the others are brought to the new labels,
            whose zero may be another one.

    Returns:
        the potential with the best (averaged) weights.

    Raises:
        InputError: if the data, the settings or the run in ``out`` do not go together.
    """
    config = replace(config or PotentialTrainingConfig(), **changes)
    out = Path(out)
    targets = model.targets
    if "energy" in config.weights:
        raise InputError("weights: that of the energy is energy_weight; forces have 1")
    check_weights(config.weights, targets)
    data = labelled(structures, model.elements, targets)
    further = labelled(test, model.elements, targets, "test structure") if len(test) else []
    _check_cells(model, data, "structure")
    _check_cells(model, further, "test structure")
    out.mkdir(parents=True, exist_ok=True)
    check_continues(out, model, config)
    trainer = make_trainer(config, out, keep="best")
    chosen = split(
        data,
        num_validation=config.num_validation,
        num_test=config.num_test,
        seed=config.seed,
        path=out / SPLIT,
        group_by=config.group_by,
    )
    parts = {name: taken(data, part) for name, part in chosen.items()}
    parent = begin(model, out, init)
    fitted = parts["train"]
    if isinstance(fitted, StoredStructures):  # which is read several times
        fitted = fitted.only("z", "pos", "cell", "forces", *targets)
    start_heads(model, fitted, init is not None)
    model.provenance = {
        "training": asdict(config),
        "method": _methods(data),
        "num_training": len(parts["train"]),
    }
    model.provenance |= parent | provenance()
    names = ["z", "pos", "cell", *(target.name for target in trained_targets(data[0], targets))]
    train, validation = (_with(names, data, chosen[part]) for part in ("train", "validation"))
    others = {name: target for name, target in targets.items() if name != "energy"}
    module = PotentialModule(model, config, variances(others, fitted, model.elements))
    run(trainer, module, train, validation, config.batch_size)
    trained = Potential.from_pretrained(out / MODEL)
    held_out = [*parts["test"], *further]
    if held_out:
        trained.provenance["test"] = errors(predict(trained, held_out), held_out, targets)
        if trainer.is_global_zero:
            trained.save(out / MODEL)
    return trained


def _methods(structures: Sequence[Data]) -> str:
    """By which the labels were computed, as the structures say."""
    if isinstance(structures, StoredStructures):
        structures = structures.only("info")
    told = {str((data.get("info") or {}).get("method", "not stated")) for data in structures}
    return ", ".join(sorted(told))


def _with(names: list[str], structures: Sequence[Data], numbers: list[int]) -> Sequence[Data]:
    """Those with these numbers, with these attributes alone, where they have them, and the number
    as ``index``."""
    if isinstance(structures, StoredStructures):
        return numbered(structures, *names)[numbers]
    return [
        Data(**{k: structures[i][k] for k in names if structures[i].get(k) is not None}, index=i)
        for i in numbers
    ]


def _check_cells(model: Potential, structures: Sequence[Data], where: str) -> None:
    """Refuse periodic structures where the network sees all pairs of atoms, or a target is for
    molecules.

    Raises:
        InputError: naming the first of them.
    """
    if isinstance(structures, StoredStructures):
        structures = structures.only("cell")
    for number, data in enumerate(structures):
        if data.get("cell") is None or not bool(data.cell.any()):
            continue
        model.require_no_cell(data.cell, f"{named(data, f'{where} {number}')}: ")
