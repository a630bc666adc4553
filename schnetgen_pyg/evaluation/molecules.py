"""What became of each structure, as a table with a row of every one."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence
from typing import Any

import ase

from schnetgen_pyg.chem.elements import hill_formula
from schnetgen_pyg.evaluation.evaluation import Evaluation
from schnetgen_pyg.evaluation.judges import JUDGES, Record
from schnetgen_pyg.storage.atomic import replacing


def _judged(record: Record) -> dict[str, Any]:
    """What the judges say, one column for each of their entries."""
    return {
        f"{name}: {key}": " ".join(map(str, value)) if isinstance(value, (list, tuple)) else value
        for name in JUDGES
        for key, value in (record.get(name) or {}).items()
    }


def _known_from(record: Record, references: dict[str, set[str]]) -> str:
    """The first reference set that holds the molecule, ``new`` or, where that makes no sense,
    nothing."""
    if record["failure"] or not references:
        return ""
    return next((name for name, known in references.items() if record["smiles"] in known), "new")


def rows(structures: Sequence[ase.Atoms], evaluation: Evaluation) -> Iterator[dict[str, Any]]:
    """A row of every structure: ``structure`` (its number in the file) and ``sample`` (in the run
    that made it), formula, SMILES, ``valid`` or why not (``failure``), ``known_from`` (the first
    reference set that holds it, or ``new``), energy and log-probability where they are known, and
    what each judge says."""
    references = {
        name: {record["smiles"] for record in records if not record["failure"]}
        for name, records in evaluation.references.items()
    }
    for number, (atoms, record) in enumerate(zip(structures, evaluation.records, strict=True)):
        energy = getattr(atoms.calc, "results", {}).get("energy", "")
        yield {
            "structure": number,
            "sample": atoms.info.get("sample", ""),
            "formula": hill_formula(atoms.numbers),
            "smiles": record.get("stereo_smiles", ""),
            "valid": not record["failure"],
            "failure": record["failure"],
            "known_from": _known_from(record, references),
            "energy (eV)": energy,
            "log_prob (nats)": atoms.info.get("log_prob", ""),
            **_judged(record),
        }


def write_molecules(
    path: str | os.PathLike[str],
    samples: Sequence[Sequence[ase.Atoms]],
    evaluations: Sequence[Evaluation],
) -> None:
    """Write `rows` of one or several files (``file``, counted from 0) as CSV, atomically."""
    found = [
        ({"file": number} if len(samples) > 1 else {}) | row
        for number, pair in enumerate(zip(samples, evaluations, strict=True))
        for row in rows(*pair)
    ]
    text = io.StringIO()
    table = csv.DictWriter(text, list(dict.fromkeys(key for row in found for key in row)))
    table.writeheader()
    table.writerows(found)
    with replacing(path) as temporary:
        temporary.write_text(text.getvalue())
