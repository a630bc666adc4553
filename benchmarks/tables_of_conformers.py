"""The tables of conformers."""

from __future__ import annotations

from functools import partial
from typing import Any

from markdown_tables import markdown, source


def conformers(name: str, record: dict[str, Any]) -> str:
    """Coverage, matching, strain, time and stereochemistry of the methods."""
    columns: dict[str, tuple[str, str]] = {}
    for kind, letter in (("recall", "R"), ("precision", "P")):
        for threshold in record["thresholds"]:
            columns[f"cov_{kind}_{threshold:g}"] = (f"COV-{letter} at {threshold:g} Å", ".1%")
        columns[f"mat_{kind}"] = (f"MAT-{letter} (Å)", ".3f")
    columns["released_median"] = ("energy released, median (kcal/mol)", ".2f")
    columns["best_above_median"] = ("best above the reference's best, median (kcal/mol)", ".2f")
    columns["seconds_a_conformer"] = ("seconds a conformer, median", ".4f")
    rows = []
    for method, row in record["rows"].items():
        told = [_text(row.get(key), form) for key, (_, form) in columns.items()]
        asked = f"{row['as_asked'] / row['asked']:.2%}"
        rows.append([method, *told, f"{asked} ({len(row['failed'])} molecules not all)"])
    header = ["", *(title for title, _ in columns.values()), "made, with the stereochemistry asked"]
    amount = f"{record['num']} conformers of each" if record["num"] else "two for each reference"
    note = (
        f"{record['molecules']:,} molecules, {record['reference_conformers']:,} reference "
        f"conformers, {amount}; {len(record['left_out'])} molecules left out. Energies by "
        f"{record['method']}; times on one core, the methods in turn. "
        f"{source(f'conformers_{name}', record)}"
    )
    return markdown(header, rows) + "\n\n" + note


def _text(value: float | None, form: str) -> str:
    return "" if value is None else f"{value:{form}}"


#: By the name of its record, what makes the table.
TABLES = {f"conformers_{name}": partial(conformers, name) for name in ("qm9", "druglike")}
