"""Structures as the rows and drawings of a gallery."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import ase
from ase.data import chemical_symbols
from rdkit import Chem, rdBase
from rdkit.Chem import rdDepictor

from schnetgen_pyg.chem.bonds import connectivity
from schnetgen_pyg.chem.perception import perceive
from schnetgen_pyg.evaluation.evaluation import Evaluation
from schnetgen_pyg.evaluation.judges.records import Record
from schnetgen_pyg.report.pictures import drawing_tools

#: Size of a drawing in pixels.
WIDTH, HEIGHT = 180, 135


def drawing(mol: Chem.Mol) -> str:
    """RDKit's 2-D drawing as SVG; strokes of one colour are one path, for a fifth of the size."""
    drawer = drawing_tools().rdMolDraw2D.MolDraw2DSVG(WIDTH, HEIGHT, -1, -1, True)
    options: Any = drawer.drawOptions()
    options.clearBackground, options.padding = False, 0.08
    options.fixedBondLength = 26
    options.prepareMolsBeforeDrawing = False
    drawer.DrawMolecule(mol)
    drawer.FinishDrawing()
    text = drawer.GetDrawingText()
    strokes: dict[str, list[str]] = defaultdict(list)
    rest = []
    for line, color in re.findall(r"<path [^>]*?d='([^']*)'[^>]*?stroke:(#\w+)", text):
        strokes[color].append(line.replace(" L ", "L").replace("M ", "M"))
    for attributes, label in re.findall(r"<text ([^>]*)>([^<]*)</text>", text):
        place = re.findall(r"[xy]='[^']*'", attributes)
        size = re.findall(r"font-size:(\d+)", attributes)[0]
        color = re.findall(r"fill:(#\w+)", attributes)[0]
        rest.append(f"<text {' '.join(place)} font-size='{size}' fill='{color}'>{label}</text>")
    paths = [f"<path stroke='{color}' d='{''.join(d)}'/>" for color, d in strokes.items()]
    return f"<svg viewBox='0 0 {WIDTH} {HEIGHT}'>{''.join(paths + rest)}</svg>"


def _flat(atoms: ase.Atoms, mol: Chem.Mol | None) -> Chem.Mol:
    """What is drawn: a valid molecule's constitution, or the heavy atoms' bonds of a broken one."""
    flat = Chem.RemoveHs(mol) if mol else Chem.RemoveHs(connectivity(atoms), sanitize=False)
    flat.RemoveAllConformers()
    if mol:
        Chem.RemoveStereochemistry(flat)
        flat = drawing_tools().rdMolDraw2D.PrepareMolForDrawing(flat, kekulize=True)
    else:
        flat.UpdatePropertyCache(strict=False)
    rdDepictor.Compute2DCoords(flat)
    return flat


def verdicts(record: Record) -> dict[str, str]:
    """What other conventions say of a structure, where they were asked."""
    found = {}
    if "stable_atoms" in record:
        found["EDM"] = f"{record['stable_atoms']} of {record['num_atoms']} atoms stable"
    if "openbabel" in record:
        found["Open Babel"] = record["openbabel"] or "valid"
    if "posebusters" in record:
        tests = record["posebusters"] | ({"energy": record["energy"]} if "energy" in record else {})
        failed = [name.replace("_", " ") for name, passed in tests.items() if not passed]
        passed = f"passes {len(tests)} tests" if tests else "did not finish"
        found["PoseBusters"] = f"fails {', '.join(failed)}" if failed else passed
    return found


def molecule_rows(
    structures: Sequence[ase.Atoms], evaluation: Evaluation
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """One row per structure for the gallery, and the drawings, one for each constitution."""
    known = {
        name: {r["smiles"] for r in records if "smiles" in r}
        for name, records in evaluation.references.items()
    }
    counts = Counter(record.get("smiles", "") for record in evaluation.records)
    rows, drawings = [], {}
    for number, (atoms, record) in enumerate(zip(structures, evaluation.records, strict=True)):
        text = record.get("smiles", "")
        # A structure that could not be judged in bounded time must not be judged again here.
        judged = record["failure"] not in ("timeout", "crash")
        mol = perceive(atoms).mol if text else None
        drawn = text or f"#{number}"
        with rdBase.BlockLogs():
            if drawn not in drawings and judged:
                drawings[drawn] = drawing(_flat(atoms, mol))
            bonded = mol or (connectivity(atoms) if judged else Chem.Mol())
            if mol:
                bonded = Chem.Mol(mol)
                Chem.Kekulize(bonded, clearAromaticFlags=True)
        row: dict[str, Any] = {
            "number": atoms.info.get("sample", number),
            "status": record["failure"] or next((k for k, v in known.items() if text in v), "new"),
            "failure": record["failure"],
            "smiles": text,
            "count": counts[text] if text else 1,
            "drawing": drawn,
            "verdicts": verdicts(record),
            "z": " ".join(chemical_symbols[n] for n in atoms.numbers),
            "pos": [round(1000 * x) for x in atoms.positions.ravel().tolist()],
            "bonds": [
                value
                for bond in bonded.GetBonds()
                for value in (
                    bond.GetBeginAtomIdx(),
                    bond.GetEndAtomIdx(),
                    int(bond.GetBondTypeAsDouble()),
                )
            ],
        }
        if "log_prob" in atoms.info:
            row["log_prob"] = round(float(atoms.info["log_prob"]), 3)
        if not known and not record["failure"]:
            row["status"] = "valid"
        rows.append(row)
    return rows, drawings
