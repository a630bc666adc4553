"""Tables of the page: figures beside the paper's, what the judges say, and what was left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ase
import numpy as np
import pandas as pd

from schnetgen_pyg.evaluation.judges import JUDGES
from schnetgen_pyg.evaluation.tables import judge_rows
from schnetgen_pyg.report.ranking import log_prob_of

#: What the paper reports for 10,000 structures of C7H10O2; RMSD (Å) of the 20 of lowest energy at
#: PBE/def2-SVP, valid ones.
PAPER = {
    "structures": "10,000",
    "scaffolds": "4,392",
    "train scaffolds": "266",
    "test scaffolds": "388 of 4,095",
    "rmsd": "0.36",
    "rmsd_heavy": "0.20",
}


#: Most values that are not finite and named one by one.
MAX_REMARKS = 10


def summary_rows(
    figures: Mapping[str, Any], relaxed: Mapping[int, Mapping[str, Any]], paper: bool
) -> list[dict[str, str]]:
    """The table beside the paper's figures, from `Evaluation.figures`."""
    n = figures["n"]
    matches, references = figures.get("matches", {}), figures.get("references", {})
    seen = figures.get("seen")
    rows: list[tuple[str, Any, str]] = [
        ("structures", f"{n:,}", "structures"),
        ("valid", f"{figures['valid']:,} ({100 * figures['valid'] / max(n, 1):.1f} %)", ""),
        ("different scaffolds, bond orders ignored", figures["unique"]["scaffold"], "scaffolds"),
    ]
    if seen:
        key = "" if "train" in matches else "train scaffolds"
        rows.append(("scaffolds seen in training found", _seen(seen, "scaffold"), key))
    rows += [
        (f"{name} scaffolds found", _share(m, references[name], "scaffold"), f"{name} scaffolds")
        for name, m in matches.items()
    ]
    rows.append(("different valid molecules (SMILES)", figures["unique"]["smiles"], ""))
    if seen:
        rows.append(("molecules seen in training found", _seen(seen, "smiles"), ""))
    rows += [
        (f"{name} molecules found", _share(m, references[name], "smiles"), "")
        for name, m in matches.items()
    ]
    if "new" in figures:
        where = "neither seen nor in a reference set" if seen else "in no reference set"
        rows.append((f"molecules {where}", figures["new"]["smiles"], ""))
    if "novelty" in figures:
        rows.append(("novel, of the different ones", f"{100 * figures['novelty']:.1f} %", ""))
    for key, label in (("rmsd", "all atoms"), ("rmsd_heavy", "heavy atoms")):
        values = [r[key] for r in relaxed.values() if is_finite(r.get(key))]
        if values:
            text = f"{np.mean(values):.2f} (mean of {len(values):,})"
            rows.append((f"RMSD after relaxation, {label} (Å)", text, key))
    return [
        {
            "label": label,
            "value": f"{value:,}" if isinstance(value, int) else value,
            "paper": PAPER.get(key, "") if paper else "",
        }
        for label, value, key in rows
    ]


def _seen(seen: Mapping[str, Any], identity: str) -> str:
    return f"{seen['found'][identity]:,} of {seen['different'][identity]:,}"


def _share(matches: Mapping[str, int], reference: Mapping[str, Any], identity: str) -> str:
    return f"{matches[identity]:,} of {reference['own'][identity]:,}"


def rows_of(columns: Sequence[Mapping[str, Any]], form: str) -> list[dict[str, Any]]:
    """Columns of figures as rows; what a column lacks is empty."""
    labels = dict.fromkeys(label for column in columns for label in column)
    texts = [
        {k: format(v, form if isinstance(v, float) else ",") for k, v in column.items()}
        for column in columns
    ]
    return [{"label": k, "values": [column.get(k, "") for column in texts]} for k in labels]


def judge_table(figures: Mapping[str, Any]) -> dict[str, Any]:
    """What each judge says of the structures and of the reference sets, what it accepts, and which
    were not asked."""
    sets = {"this run": dict(figures)} | figures.get("references", {})
    asked = {name: judge for name, judge in JUDGES.items() if name in figures["judges"]}
    others = [judge for judge in JUDGES.values() if judge.name not in asked]
    return {
        "sets": [f"{name} ({values['n']:,})" for name, values in sets.items()],
        "rows": rows_of([judge_rows(values) for values in sets.values()], ".2f"),
        "about": {judge.title: judge.about for judge in asked.values() if judge.about},
        "not asked": [judge.title for judge in others if judge.installed],
        "not installed": [judge.title for judge in others if not judge.installed],
    }


def is_finite(value: Any) -> bool:
    return value is not None and bool(np.isfinite(value))


def not_finite(
    structures: Sequence[ase.Atoms],
    relaxed: Mapping[int, Mapping[str, Any]],
    log: pd.DataFrame | None,
) -> list[str]:
    """Values that the page leaves out because they are no finite numbers."""
    found = [
        f"structure {number}: log_prob is {atoms.info['log_prob']}, which is left out"
        for number, atoms in enumerate(structures)
        if "log_prob" in atoms.info and log_prob_of(atoms) is None
    ]
    found += [
        f"structure {number}: {name} after relaxation is {value}, which is left out"
        for number, result in relaxed.items()
        for name, value in result.items()
        if name != "pos" and value is not None and not np.isfinite(value)
    ]
    for name in [] if log is None else log:
        assert log is not None
        count = int(np.isinf(log[name].dropna()).sum())
        found += [f"training: {name} is infinite at {count:,} steps, which are left out"] * bool(
            count
        )
    more = len(found) - MAX_REMARKS
    return found[:MAX_REMARKS] + [f"and {more:,} more such values"] * (more > 0)
