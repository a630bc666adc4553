"""A run as one HTML file that opens offline: figures, distributions, molecules, one being built.

Everything the page shows is in its JSON (`page_data`); the template turns that into pictures in the
browser, with 3Dmol.js and plotly.js from ``assets/``.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ase
import ase.db
import numpy as np
import pandas as pd
import torch
from ase.data import chemical_symbols
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from torch_geometric.data import Data

from schnetgen_pyg.chem.bonds import bond_pairs, connectivity
from schnetgen_pyg.chem.elements import hill_formula
from schnetgen_pyg.data.conversion import from_ase, to_ase
from schnetgen_pyg.evaluation.distributions import QUANTITIES, Distributions
from schnetgen_pyg.evaluation.evaluation import Evaluation
from schnetgen_pyg.evaluation.judges import Record
from schnetgen_pyg.evaluation.tables import distance_rows
from schnetgen_pyg.generator.model import SchNetGen
from schnetgen_pyg.generator.orders import ORDERS, reorder
from schnetgen_pyg.generator.sampling.likelihood import trace
from schnetgen_pyg.report.gallery import molecule_rows
from schnetgen_pyg.report.ranking import ranking
from schnetgen_pyg.report.tables import is_finite, judge_table, not_finite, rows_of, summary_rows
from schnetgen_pyg.report.targets import target_plots
from schnetgen_pyg.storage.atomic import replacing

ASSETS = Path(__file__).parent / "assets"


#: How many kinds of a quantity are shown, and the width of their bins.
PLOTS = {"bonds": (6, 0.01), "angles": (3, 1.0), "torsions": (1, 3.0)}


#: Distances beyond (Å) are not shown in the animation.
SHOWN_DISTANCE = 8.0


#: Most points of a loss curve.
MAX_POINTS = 1_000


def _curves(quantity: str, kind: str, sets: Mapping[str, Distributions]) -> dict[str, Any]:
    """Densities of one kind in each set, over the same bins."""
    values = {k: d.values[quantity][kind] for k, d in sets.items() if kind in d.values[quantity]}
    width = PLOTS[quantity][1]
    both = np.concatenate(list(values.values()))
    low = width * np.floor(np.quantile(both, 0.001) / width - 2)
    bins = int((np.quantile(both, 0.999) - low) / width) + 4
    densities = {
        name: np.histogram(v, bins, (low, low + bins * width))[0] / (v.size * width)
        for name, v in values.items()
    }
    symbols = kind.split("-")
    return {
        "quantity": quantity,
        "kind": "–".join(symbols[::-1] if symbols[0] == "H" else symbols),
        "unit": QUANTITIES[quantity],
        "start": round(float(low), 3),
        "width": width,
        "density": {name: [float(f"{x:.4g}") for x in d] for name, d in densities.items()},
    }


def _most_frequent(quantity: str, sets: Mapping[str, Distributions]) -> list[str]:
    """The kinds to show; angles and torsions of the skeleton before those of hydrogens."""
    totals: Counter[str] = Counter()
    for one in sets.values():
        totals.update({kind: v.size for kind, v in one.values[quantity].items()})
    later = {kind: quantity != "bonds" and "H" in kind.split("-") for kind in totals}
    return sorted(totals, key=lambda kind: (later[kind], -totals[kind]))[: PLOTS[quantity][0]]


def distribution_plots(evaluation: Evaluation) -> dict[str, Any] | None:
    """Densities of the most frequent kinds of each quantity and rings of each size per molecule, of
    the valid generated structures and of the reference sets; with how far all are from the last
    reference set. Nothing if no structure is valid."""
    measured = evaluation.distributions
    if "valid" not in measured:
        return None
    sets = {"generated": measured["valid"]} | {k: measured[k] for k in evaluation.references}
    apart = {
        name: evaluation.distances[key]
        for name, key in zip(sets, ["valid", *evaluation.references], strict=True)
        if key in evaluation.distances
    }
    plots = []
    for quantity in PLOTS:
        for kind in _most_frequent(quantity, sets):
            far = {k: d[quantity]["types"].get(kind) for k, d in apart.items()}
            digits = 4 if QUANTITIES[quantity] == "Å" else 2
            far = {k: round(v, digits) for k, v in far.items() if v is not None}
            plots.append(_curves(quantity, kind, sets) | {"distances": far})
    sizes = sorted({min(size, 9) for one in sets.values() for size in one.rings})
    per_molecule = {
        name: [
            round(sum(c for s, c in one.rings.items() if min(s, 9) == size) / one.structures, 4)
            for size in sizes
        ]
        for name, one in sets.items()
        if one.structures
    }
    return {
        "sets": list(sets),
        "reference": [*sets][-1] if apart else "",
        "plots": plots,
        "rings": {"sizes": sizes, "per_molecule": per_molecule},
        "distances": {
            "sets": list(apart),
            "rows": rows_of([distance_rows(one) for one in apart.values()], ".3g"),
        },
    }


def loss_curves(log: pd.DataFrame) -> dict[str, dict[str, list[Any]]]:
    """The curves of a training log, thinned by means over equal numbers of steps."""
    curves: dict[str, dict[str, list[Any]]] = {}
    for name in log:
        values = log[name].replace([np.inf, -np.inf], np.nan).dropna()
        if str(name).startswith(("lr", "learning")) or values.empty:
            continue
        group = np.arange(len(values)) // (1 + len(values) // MAX_POINTS)
        thin = values.groupby(group).mean()
        steps = values.index.to_series().groupby(group).last()
        curves[str(name)] = {
            "x": [int(x) for x in steps],
            "y": [float(f"{y:.5g}") for y in thin],
        }
    return curves


def construction(model: SchNetGen, atoms: ase.Atoms) -> dict[str, Any]:
    """One molecule being built: after every step its positions, and what each placed atom said
    about its distance to the new one (the paper's figure 1).

    A generated molecule is built in its own order; any other, and one that was grown on a fragment,
    in an order that the model was made for.
    """
    data = from_ase(atoms)
    if "sample" not in atoms.info or "given" in atoms.info:
        one = Data(
            z=data.z,
            pos=data.pos,
            batch=torch.zeros_like(data.z),
            ptr=torch.tensor([0, data.z.numel()]),
        )
        order = ORDERS[model.config.order]
        one = reorder(one, order(one, torch.Generator().manual_seed(0)))
        data = Data(z=one.z, pos=one.pos)
    shown = int(SHOWN_DISTANCE / model.distance.bins.spacing)
    steps = []
    for record in trace(model, data):
        table = record.distance_log_prob[0, :, :shown].exp()
        step: dict[str, Any] = {"p": (1e4 * table).round().int().tolist()}
        if record.focus is not None and record.focus_log_prob is not None:
            step["focus"] = int(record.focus[0])
            step["focus_p"] = [round(p, 3) for p in record.focus_log_prob[0].exp().tolist()]
        steps.append(step)
    placed = to_ase(data)
    return {
        "z": [chemical_symbols[n] for n in data.z.tolist()],
        "pos": [[round(x, 3) for x in row] for row in data.pos.tolist()],
        "bonds": bond_pairs(connectivity(placed)).tolist(),
        "spacing": model.distance.bins.spacing,
        "steps": steps,
    }


def page_data(
    structures: Sequence[ase.Atoms],
    evaluation: Evaluation,
    *,
    title: str = "Generated molecules",
    log: pd.DataFrame | None = None,
    model: SchNetGen | None = None,
    relaxed: Mapping[int, Mapping[str, Any]] | None = None,
    notes: Mapping[str, str] | None = None,
    max_molecules: int = 1_000,
) -> dict[str, Any]:
    """All that the page shows, as JSON can hold it.

    Args:
        structures: the generated ones.
        evaluation: of them.
        log: of the training, from `schnetgen_pyg.report.pictures.training_log`.
        model: shows one molecule being built.
        relaxed: by the number of the structure: ``energy`` (eV), ``rmsd`` and ``rmsd_heavy`` (Å),
            and ``pos`` [num_atoms, 3] in Å, on top of the structure.
        notes: name and value of what else the page's head says.
        max_molecules: structures in the gallery; the figures are of all.
    """
    relaxed = relaxed or {}
    shown = replace(evaluation, records=evaluation.records[:max_molecules])
    rows, drawings = molecule_rows(structures[:max_molecules], shown)
    _add_relaxed(rows, relaxed)
    isomers = {hill_formula(atoms.numbers) for atoms in structures[:100]} == {"C7H10O2"}
    figures = evaluation.figures()
    return {
        "title": title,
        "notes": dict(notes or {}),
        "versions": figures["versions"],
        "total": len(structures),
        "summary": summary_rows(figures, relaxed, isomers) if structures else [],
        "remarks": evaluation.notes() + not_finite(structures, relaxed, log) if structures else [],
        "judges": judge_table(figures) if structures else None,
        "paper": isomers,
        "failures": figures["failures"],
        "valid": figures["valid"],
        "loss": loss_curves(log) if log is not None else {},
        "distributions": distribution_plots(evaluation),
        "relaxed": f"{len(relaxed):,} structures were relaxed." if relaxed else "",
        "targets": target_plots(structures),
        "grown": any("given" in row for row in rows),
        "molecules": rows,
        "ranked": any("log_prob" in row for row in rows),
        "drawings": drawings,
        "construction": _one_construction(model, structures, evaluation.records, rows),
    }


def _add_relaxed(rows: list[dict[str, Any]], relaxed: Mapping[int, Mapping[str, Any]]) -> None:
    """What relaxation made of the structures, beside them in thousandths of an Å."""
    for place, row in enumerate(rows):
        result = dict(relaxed.get(place, {}))
        if "pos" in result:
            row["relaxed"] = [round(1000 * x) for x in np.ravel(result.pop("pos")).tolist()]
        row |= {key: round(float(value), 4) for key, value in result.items() if is_finite(value)}


def _one_construction(
    model: SchNetGen | None,
    structures: Sequence[ase.Atoms],
    records: Sequence[Record],
    rows: Sequence[Mapping[str, Any]],
) -> dict[str, Any] | None:
    """The best valid molecule in the gallery (`ranking`) being built, new ones first."""
    order, words = ranking(structures[: len(rows)], records[: len(rows)])
    if model is None or not order:
        return None
    best = next((k for k in order if rows[k]["status"] == "new"), order[0])
    names = {key: rows[best][key] for key in ("smiles", "number")}
    return construction(model, structures[best]) | names | {"chosen": f"new ones first, {words}"}


def write_page(path: str | os.PathLike[str], data: Mapping[str, Any]) -> None:
    """Write the HTML file, atomically."""
    environment = Environment(
        loader=FileSystemLoader(ASSETS), autoescape=True, undefined=StrictUndefined
    )
    # Inside a script element nothing is escaped, and only these could end it.
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    text = re.sub(r"<(?=/|!|script)", r"\\u003c", text, flags=re.IGNORECASE)
    scripts = {
        name.split(".")[0].replace("-", "_").lower(): (ASSETS / name).read_text(encoding="utf-8")
        for name in ("3Dmol-min.js", "plotly-basic.min.js", "report.js")
    }
    html = environment.get_template("report.html").render(
        data=data,
        json=text,
        viewer_script=scripts["3dmol_min"],
        plot_script=scripts["plotly_basic"],
        page_script=scripts["report"],
        licenses="\n".join(p.read_text() for p in sorted(ASSETS.glob("*-LICENSE.txt"))),
    )
    with replacing(path) as temporary:
        temporary.write_text(html, encoding="utf-8")
