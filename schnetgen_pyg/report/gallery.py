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

from schnetgen_pyg.evaluation.evaluation import Evaluation
from schnetgen_pyg.evaluation.judges import JUDGES, Record
from schnetgen_pyg.report.pictures import drawing_tools
from schnetgen_pyg.report.ranking import log_prob_of

#: Size of a drawing in pixels.
WIDTH, HEIGHT = 180, 135

#: Colour of the bonds of a fragment.
GIVEN = (0.04, 0.61, 0.71)


def drawing(mol: Chem.Mol, given: Sequence[int] = ()) -> str:
    """RDKit's 2-D drawing as SVG, bonds between the atoms that were ``given`` in another colour;
    strokes of one colour are one path, for a fifth of the size."""
    drawer = drawing_tools().rdMolDraw2D.MolDraw2DSVG(WIDTH, HEIGHT, -1, -1, True)
    options: Any = drawer.drawOptions()
    options.clearBackground, options.padding = False, 0.08
    options.fixedBondLength = 26
    options.prepareMolsBeforeDrawing = False
    options.continuousHighlight, options.circleAtoms = False, False
    own = [
        bond.GetIdx()
        for bond in mol.GetBonds()
        if {bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()} <= {*given}
    ]
    colors = dict.fromkeys(own, GIVEN)
    drawer.DrawMolecule(
        mol,
        highlightAtoms=[],
        highlightBonds=own,
        highlightAtomColors={},
        highlightBondColors=colors,
    )
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


def _flat(mol: Chem.Mol, valid: bool) -> Chem.Mol:
    """What is drawn: a valid molecule's constitution, or the heavy atoms' bonds of a broken one."""
    flat = Chem.RemoveHs(mol) if valid else Chem.RemoveHs(mol, sanitize=False)
    flat.RemoveAllConformers()
    if valid:
        Chem.RemoveStereochemistry(flat)
        flat = drawing_tools().rdMolDraw2D.PrepareMolForDrawing(flat, kekulize=True)
    else:
        flat.UpdatePropertyCache(strict=False)
    rdDepictor.Compute2DCoords(flat)
    return flat


def verdicts(record: Record) -> dict[str, str]:
    """What the judges say of a structure, where they were asked."""
    found = {}
    for name, judge in JUDGES.items():
        entry = record.get(name)
        if entry is not None and "unfinished" in entry:
            found[judge.title] = "did not finish"
        elif entry is not None and judge.verdict is not None:
            found[judge.title] = judge.verdict(entry)
    return found


def _bonds(mol: Chem.Mol) -> list[int]:
    """First atom, second atom and order of every bond, one after the other."""
    return [
        value
        for bond in mol.GetBonds()
        for value in (
            bond.GetBeginAtomIdx(),
            bond.GetEndAtomIdx(),
            int(bond.GetBondTypeAsDouble()),
        )
    ]


def _given(atoms: ase.Atoms) -> int:
    """How many of its first atoms were given: those of a fragment."""
    value = atoms.info.get("given", 0)
    return value if isinstance(value, int) and 0 <= value <= len(atoms) else 0


def _places(atoms: ase.Atoms, heavy: Sequence[int]) -> list[int]:
    """Numbers of heavy atoms where hydrogens are not counted."""
    place = (atoms.numbers != 1).cumsum() - 1
    return [int(place[k]) for k in heavy]


def molecule_rows(
    structures: Sequence[ase.Atoms], evaluation: Evaluation
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """One row per structure for the gallery, and the drawings, one for each constitution."""
    origins = evaluation.origins()
    counts = Counter(record.get("smiles", "") for record in evaluation.records)
    rows, drawings = [], {}
    for number, (atoms, record) in enumerate(zip(structures, evaluation.records, strict=True)):
        text, failure = record.get("smiles", ""), record["failure"]
        fixed = _given(atoms)
        drawn = f"#{number}" if fixed or not text else text
        mol = record.mol  # none, if the structure could not be perceived in bounded time
        if mol is not None:
            with rdBase.BlockLogs():
                if drawn not in drawings:
                    heavy = [k for k in range(fixed) if atoms.numbers[k] != 1]
                    flat = _flat(mol, not failure)
                    drawings[drawn] = drawing(flat, _places(atoms, heavy))
                if not failure:
                    Chem.Kekulize(mol, clearAromaticFlags=True)
        row: dict[str, Any] = {
            "number": atoms.info.get("sample", number),
            "status": origins[number],
            "failure": failure,
            "smiles": text,
            "count": counts[text] if text else 1,
            "drawing": drawn,
            "verdicts": verdicts(record),
            "z": " ".join(chemical_symbols[n] for n in atoms.numbers),
            "pos": [round(1000 * x) for x in atoms.positions.ravel().tolist()],
            "bonds": [] if mol is None else _bonds(mol),
        }
        if fixed:
            row["given"] = fixed
        log_prob = log_prob_of(atoms)
        if log_prob is not None:
            row["log_prob"] = round(log_prob, 3)
        rows.append(row)
    return rows, drawings
