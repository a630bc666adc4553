"""The table of perception: which real molecules come back, by this package and by RDKit alone."""

from __future__ import annotations

from typing import Any

from markdown_tables import commits_of, markdown, source
from perception import OPEN_SHELL, OTHER_FORMS, OURS, OWN

#: Kinds of outcomes in which the bonds are those of the SMILES, and all shells closed.
SAME_BONDS = (OWN, OPEN_SHELL, *OTHER_FORMS.values())


def perception(record: dict[str, Any]) -> str:
    rows = [
        [f"{row['title']}, {name}", *_shares(figures), *_milliseconds(figures)]
        for row in record["rows"].values()
        for name, figures in row["readings"].items()
    ]
    header = ["", "molecules", "own SMILES", "own bonds, closed shells", "valid"]
    header += ["with formal charges", "CPU ms, median", "CPU ms, worst"]
    sizes = {row["title"]: row["readings"][OURS]["molecules"] for row in record["rows"].values()}
    ions = sum(row["ions"] for row in record["rows"].values())
    unreadable = sum(row["unreadable"] for row in record["rows"].values())
    left_out = f"{unreadable:,} SMILES that RDKit cannot read are left out. " if unreadable else ""
    used = ", ".join(f"{name} {version}" for name, version in record["packages"].items())
    note = (
        f"From positions alone, of {ions:,} ions with their charge; SMILES without stereo. "
        f"{left_out}{used}. {source('perception', record)}"
        f"{commits_of(record['rows'], record['commit'])}"
    )
    return f"{markdown(header, rows)}\n\n{_failures(record, sizes)}\n\n{note}"


def _shares(figures: dict[str, Any]) -> list[str]:
    total, kinds = figures["molecules"], figures["kinds"]
    same = sum(kinds.get(kind, 0) for kind in SAME_BONDS)
    counts = kinds.get(OWN, 0), same, figures["valid"], figures["with_charges"]
    return [f"{total:,}", *(f"{count / total:.2%}" for count in counts)]


def _milliseconds(figures: dict[str, Any]) -> list[str]:
    return [f"{1000 * figures[f'{name}_seconds']:.1f}" for name in ("median", "worst")]


def _failures(record: dict[str, Any], sizes: dict[str, int]) -> str:
    """By kind, the molecules of each set that do not get their own SMILES back from us."""
    found = [row["readings"][OURS]["kinds"] for row in record["rows"].values()]
    kinds = [kind for kind in dict.fromkeys(k for one in found for k in one) if kind != OWN]
    rows = [[kind, *(one.get(kind, 0) for one in found)] for kind in sorted(kinds)]
    header = [f"not its own SMILES, {OURS}", *(f"{t}, of {n:,}" for t, n in sizes.items())]
    return markdown(header, rows)
