"""Figures of an evaluation as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from schnetgen_pyg.evaluation.distributions import QUANTITIES

if TYPE_CHECKING:
    import pandas


#: Stands below every table.
UNITS = "(rows without a unit are numbers of structures, or of different ones)"


def _percent(share: float) -> float:
    return round(100 * share, 2)


def judge_rows(figures: dict[str, Any]) -> dict[str, Any]:
    """What each judge says of a set of structures."""
    return {
        label: round(value, 2) if isinstance(value, float) else value
        for rows in figures["judges"].values()
        for label, value in rows.items()
    }


def _column(figures: dict[str, Any]) -> dict[str, Any]:
    """Rows that every set of structures has."""
    column: dict[str, Any] = {"structures": figures["n"], "valid": figures["valid"]}
    column |= judge_rows(figures)
    column |= {f"unique ({key})": count for key, count in figures["unique"].items()}
    column["unique, of the valid (smiles, %)"] = _percent(figures["uniqueness"])
    return column


def distance_rows(distances: dict[str, Any] | None, prefix: str = "") -> dict[str, Any]:
    """How far a set of structures is from the reference; nothing if it was not compared."""
    if distances is None:
        return {}
    rows = {
        f"{prefix}distance of {name} ({unit})": round(distances[name]["mean"], 4)
        for name, unit in QUANTITIES.items()
        if distances[name]["mean"] is not None
    }
    for name in ("environments", "rings"):
        rows[f"{prefix}variation of {name} (%)"] = _percent(distances[name])
    return rows


def table(figures: dict[str, Any]) -> pandas.DataFrame:
    """One column per set of structures, from `Evaluation.figures`."""
    import pandas as pd

    sets = {"generated": figures} | figures.get("references", {})
    distances = figures.get("distances", {})
    columns = {name: _column(values) for name, values in sets.items()}
    made = columns["generated"]
    if "seen" in figures:
        made |= {f"seen in training ({k})": n for k, n in figures["seen"]["found"].items()}
        made["seen in training, out of (smiles)"] = figures["seen"]["different"]["smiles"]
    for reference, matches in figures.get("matches", {}).items():
        made |= {f"{reference} found ({k})": n for k, n in matches.items()}
    made |= {f"new ({k})": n for k, n in figures.get("new", {}).items()}
    if "novelty" in figures:
        made["novel, of the unique (smiles, %)"] = _percent(figures["novelty"])
    for name, column in columns.items():
        column |= distance_rows(distances.get(name))
    made |= distance_rows(distances.get("valid"), "of the valid: ")
    for name, values in sets.items():
        columns[name] |= {f"failed: {k}": n for k, n in values["failures"].items()}
    rows = list(dict.fromkeys(row for column in columns.values() for row in column))
    return pd.DataFrame(
        {name: [column.get(row, "") for row in rows] for name, column in columns.items()},
        index=rows,
        dtype=object,
    )
