"""Training of models of 2-D graphs on tables of molecules, from a trained encoder or from
scratch."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Subset
from torch_geometric.data import Data

from schnetgen_pyg.data.labelled_graphs import LabelledGraphs
from schnetgen_pyg.data.means import Mean
from schnetgen_pyg.data.molecule_splits import split_molecules
from schnetgen_pyg.data.splits import PARTS
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.graph_models.measures import errors, measure_of
from schnetgen_pyg.graph_models.model import GraphModel, GraphModelConfig
from schnetgen_pyg.representations.boltzmann_gnn import BoltzmannGNN, BoltzmannGNNConfig
from schnetgen_pyg.storage.atomic import replacing
from schnetgen_pyg.storage.provenance import provenance
from schnetgen_pyg.storage.settings import require_same_settings
from schnetgen_pyg.training.checkpoints import MODEL, SPLIT
from schnetgen_pyg.training.config import GraphTrainingConfig, RunConfig
from schnetgen_pyg.training.fine_tuning import begin
from schnetgen_pyg.training.module import RunModule, Terms
from schnetgen_pyg.training.trainer import check_continues, make_trainer, run


class GraphModule(RunModule):
    """Of numbers the squared error over the variance in the training, of classes the cross-entropy;
    the sum over the columns of the means over the molecules that have a label."""

    def __init__(self, model: GraphModel, config: RunConfig):
        super().__init__(model, config)
        self.measures = [measure_of(target) for target in model.targets]

    def terms(self, batch: Data, *seed: int) -> Terms:
        """Of the labels that the batch has."""
        found = self.model(batch.x, batch.edge_index, batch.edge_attr, batch.batch)
        loss, logged = {}, {}
        for place, (target, measure) in enumerate(
            zip(self.model.targets, self.measures, strict=True)
        ):
            told, label = found[:, place], batch.y[:, place]
            mean = measure.loss(told, label, batch)
            loss[target.name] = Mean(mean.total / self.model.std[place] ** 2, mean.number)
            logged[f"{target.name}_{measure.measure}"] = measure.measured(told, label)
        return Terms(loss, logged)


def fit_graph(
    data: LabelledGraphs,
    out: str | os.PathLike[str],
    config: GraphTrainingConfig | None = None,
    *,
    encoder: BoltzmannGNNConfig | None = None,
    init: str | os.PathLike[str] | None = None,
    parts: Mapping[str, Sequence[int]] | None = None,
    **changes: Any,
) -> GraphModel:
    """Train a model of 2-D graphs, or continue the run in ``out``.

    A run that was stopped, also by ``kill -9``, continues from its last checkpoint and ends with
    the weights of an uninterrupted one.

    Args:
        data: molecules and labels (`schnetgen_pyg.data.labelled_graphs.read_labelled`).
        out: folder of the run: ``model.safetensors`` (the weights of the best validation),
            ``last.ckpt``, ``split.json``, ``logs/`` (CSV and TensorBoard).
        config: settings; keyword arguments replace its fields.
        encoder: architecture of a new encoder.
        init: a trained encoder to start from, by the name of a bundled one or its file; all of its
            weights are trained further, the read-out is new.
        parts: a split of your own: numbers of the molecules in ``train``, ``validation`` and
            ``test``.

    Returns:
        the model with the weights of the best validation; the test errors are in
        ``provenance["test"]``.

    Raises:
        InputError: if the data, the settings or the run in ``out`` do not go together.
    """
    config = replace(config or GraphTrainingConfig(), **changes)
    out = Path(out)
    model = _new_model(data, config.seed, encoder, init)
    chosen = _split(data, config, parts, out / SPLIT)
    model.fit_statistics(data.labels[chosen["train"]], data.graphs.num_atoms[chosen["train"]])
    out.mkdir(parents=True, exist_ok=True)
    check_continues(out, model, config)
    run_config = config.run(len(chosen["train"]))
    trainer = make_trainer(run_config, out, keep="best")
    _keep_split(data, config, parts, chosen, out / SPLIT)
    parent = begin(model.encoder, out, init)
    model.provenance = {"training": asdict(config), "num_training": len(chosen["train"])}
    model.provenance |= parent | provenance()
    train, validation = (Subset(data.graphs, chosen[name]) for name in PARTS[:2])
    run(trainer, GraphModule(model, run_config), train, validation, 256)
    trained = GraphModel.from_pretrained(out / MODEL)
    if chosen["test"]:
        trained.provenance["test"] = _errors(trained, data, chosen["test"])
        trained.save(out / MODEL)
    return trained


def _new_model(
    data: LabelledGraphs,
    seed: int,
    encoder: BoltzmannGNNConfig | None,
    init: str | os.PathLike[str] | None,
) -> GraphModel:
    """With the weights of a seed, and the architecture of the encoder that it starts from."""
    if init is not None:
        if encoder is not None:
            raise InputError("give encoder or init, whose architecture comes with its weights")
        encoder = BoltzmannGNN.from_pretrained(init).config
    encoder = encoder or BoltzmannGNNConfig()
    known = encoder.elements
    settings = {one.name: getattr(encoder, one.name) for one in fields(encoder)}
    settings["elements"] = (*known, *(z for z in data.graphs.elements() if z not in known))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return GraphModel(GraphModelConfig(**settings, targets=data.targets))


def _asked(data: LabelledGraphs, config: GraphTrainingConfig, own: bool) -> dict[str, Any]:
    """What decides a split."""
    said: dict[str, Any] = {"num_molecules": len(data), "data": data.digest()}
    if own:
        return said | {"split": "given"}
    shares = {"validation_share": config.validation, "test_share": config.test}
    said |= {"split": config.split, **shares}
    return said | ({"seed": config.seed} if config.split == "random" else {})


def _split(
    data: LabelledGraphs,
    config: GraphTrainingConfig,
    parts: Mapping[str, Sequence[int]] | None,
    path: Path,
) -> dict[str, list[int]]:
    """Numbers of the molecules in each part: those of the run that continues, where there is one.

    Raises:
        InputError: if that is of other data or another split.
    """
    asked = _asked(data, config, parts is not None)
    if path.is_file():
        try:
            saved = json.loads(path.read_text())
            found = {name: saved.pop(name) for name in PARTS}
        except (ValueError, KeyError, AttributeError) as error:
            raise InputError(f"{path}: damaged; remove it to draw the split anew") from error
        require_same_settings(path, saved, asked, "the folder")
        if parts is not None and found != _given(parts, len(data)):
            raise InputError(f"{path}: holds another split; use the same one or another folder")
        return found
    if parts is not None:
        return _given(parts, len(data))
    return split_molecules(data.smiles, config.split, config.validation, config.test, config.seed)


def _given(parts: Mapping[str, Sequence[int]], number: int) -> dict[str, list[int]]:
    found = {name: sorted(parts.get(name, ())) for name in PARTS}
    together = [place for part in found.values() for place in part]
    unlike = sorted(parts.keys() - {*PARTS})
    if unlike or len({*together}) < len(together) or not {*together} <= {*range(number)}:
        raise InputError(
            f"parts must be {', '.join(PARTS)} with different numbers of the {number} molecules"
        )
    if not (found["train"] and found["validation"]):
        raise InputError("parts must have molecules for train and validation")
    return found


def _keep_split(
    data: LabelledGraphs,
    config: GraphTrainingConfig,
    parts: Mapping[str, Sequence[int]] | None,
    chosen: Mapping[str, Sequence[int]],
    path: Path,
) -> None:
    if not path.is_file():
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(_asked(data, config, parts is not None) | {**chosen}))


def _errors(model: GraphModel, data: LabelledGraphs, chosen: Sequence[int]) -> dict[str, float]:
    """Of the molecules with these numbers."""
    found: Tensor = model.predict_graphs(Subset(data.graphs, chosen))
    told: dict[str, float] = {"num_molecules": len(chosen)}
    for place, target in enumerate(model.targets):
        told |= errors(target, found[:, place], data.labels[chosen, place])
    return told
