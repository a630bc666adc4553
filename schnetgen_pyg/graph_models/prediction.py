"""Predictions for tables of molecules, by one model or several."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from schnetgen_pyg.data.csv_tables import FAILURE, Table
from schnetgen_pyg.data.graph_sets import GraphSet, graphs_of_smiles
from schnetgen_pyg.data.labelled_graphs import GraphTarget
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.graph_models.measures import errors
from schnetgen_pyg.graph_models.model import GraphModel, warn_of_unseen


@dataclass(frozen=True)
class TablePrediction:
    """A table with what was predicted.

    Attributes:
        columns: of the table, those of the predictions, and ``failure`` where there is one.
        rows: cells by the names of the columns, all rows of the table in their order.
        failures: lines whose SMILES cannot be read, and why.
        errors: against the labels that the table has.
    """

    columns: list[str]
    rows: list[dict[str, str]]
    failures: list[str]
    errors: dict[str, float]

    def write(self, path: Path) -> None:
        """As CSV."""
        with path.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, self.columns)
            table.writeheader()
            table.writerows(self.rows)


def predict_table(
    models: Sequence[GraphModel], table: Table, batch_size: int = 256
) -> TablePrediction:
    """Predictions for every row of a table.

    Of a column ``gap (eV)`` they are ``gap_predicted (eV)``; of several models the mean, and
    ``gap_std (eV)``, the standard deviation among them, of classes among their probabilities.

    Args:
        models: at least one, all for the same columns.
        table: of the molecules.
        batch_size: molecules at a time.

    Raises:
        InputError: if the models predict different columns, or the table has such a column already,
            or no molecule of it can be read.
    """
    targets = _shared_targets(models)
    several = len(models) > 1
    told = [one.called(what) for one in targets for what in ("predicted", "std")[: 1 + several]]
    taken = [name for name in (*told, FAILURE) if name in table.columns]
    if taken:
        raise InputError(f"{table.path}: has a column {taken[0]!r} already; rename it")
    made = graphs_of_smiles([row[table.smiles] for row in table.rows])
    bad = {row: why for row, why in enumerate(made) if isinstance(why, str)}
    failures = [f"line {table.lines[row]}: {why}" for row, why in bad.items()]
    good = [row for row in range(len(made)) if row not in bad]
    if not good:
        raise InputError(f"{table.path}: no molecule can be read; {failures[0]}")
    graphs = GraphSet([one for one in made if not isinstance(one, str)])
    known = set.intersection(*({*model.config.elements} for model in models))
    warn_of_unseen(graphs, known, [table.where(row) for row in good])
    found = torch.stack([model.predict_graphs(graphs, batch_size) for model in models])
    mean, std = found.mean(0), found.std(0, correction=0)
    rows = [row | ({FAILURE: bad[k]} if k in bad else {}) for k, row in enumerate(table.rows)]
    measured: dict[str, float] = {}
    for place, target in enumerate(targets):
        for number, row in enumerate(good):
            rows[row][target.called("predicted")] = f"{float(mean[number, place]):.6g}"
            if several:
                rows[row][target.called("std")] = f"{float(std[number, place]):.6g}"
        if target.name in table.columns:
            labels = torch.tensor(table.numbers(target.name)).double()[good]
            measured |= errors(target, mean[:, place], labels)
    columns = [*table.columns, *told, *([FAILURE] if bad else [])]
    return TablePrediction(columns, rows, failures, measured)


def _shared_targets(models: Sequence[GraphModel]) -> tuple[GraphTarget, ...]:
    if not models:
        raise InputError("models: give at least one")
    for model in models[1:]:
        if model.targets != models[0].targets:
            told = [", ".join(one.name for one in m.targets) for m in (models[0], model)]
            raise InputError(
                f"the models predict different columns ({' and '.join(told)}); a committee is of "
                "models for the same ones"
            )
    return models[0].targets
