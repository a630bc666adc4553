"""Tables of crystals: formation energies, what embeddings know of the periodic table, metals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from markdown_tables import markdown, source

#: Where groups are looked for.
SPACES = ("two components", "all dimensions")


def crystals(record: dict[str, Any]) -> str:
    """All parts that were measured."""
    parts = dict(record["parts"])
    blocks = []
    if cells := parts.pop("perov_5", None):
        blocks += [_formation(cells), _groups(cells)]
    if parts:
        blocks.append(_metals(parts))
    note = record["note"] and f"{record['note'].rstrip('.')}. "
    return "\n\n".join([*blocks, note + source("crystals", record)])


def _formation(cells: dict[str, Any]) -> str:
    rows = [
        [
            f"`{name}`",
            f"{row['structures']:,}",
            f"{row['steps']:,}",
            _minutes(row),
            f"{row['test']['heat_ref_mae (eV)']:.3f}",
            f"{row['guess_mae']:.3f}",
        ]
        for name, row in cells.items()
    ]
    header = [
        *("perovskites", "learned", "steps", "minutes"),
        *("mean error of the formation energy (eV)", "that of the mean"),
    ]
    note = "Whether the energy is of a cell of five atoms or of an atom the source does not say."
    return f"{markdown(header, rows)}\n\n{note}"


def _groups(cells: dict[str, Any]) -> str:
    rows = [
        [
            f"`{name}`, {kind}",
            *(
                f"{one['accuracy']:.0%} ({one['shuffled_mean']:.0%} ± {one['shuffled_std']:.0%}, "
                f"p = {one['p_value']:.1g})"
                for one in (row["groups"][kind][space] for space in SPACES)
            ),
        ]
        for name, row in cells.items()
        for kind in row["groups"]
    ]
    header = ["elements with one of their own group nearest (shuffled)"]
    return markdown([*header, *SPACES], rows)


def _metals(parts: dict[str, Any]) -> str:
    rows = [
        [
            symbol + ("\\*" if row["split_test_part"] else ""),
            f"`{name}`",
            f"{row['structures']:,}",
            f"{row['steps']:,}",
            _minutes(row),
            f"{row['test']['energy_mae_mev_per_atom']:.1f}",
            f"{row['test']['forces_mae_mev_per_angstrom']:.0f}",
            f"{row['stress_diagonal_mae_gpa']:.2f}",
        ]
        for symbol, found in parts.items()
        for name, row in found.items()
    ]
    header = ["mlearn", "", "learned", "steps", "minutes", "energy (meV per atom)"]
    header += ["forces (meV/Å)", "diagonal of the stress (GPa)"]
    note = "\\* no training part: three quarters of the test part are learned, the others tested."
    return f"{markdown(header, rows)}\n\n{note}"


def _minutes(row: dict[str, Any]) -> str:
    seconds = row["training_seconds"]
    return f"{seconds / 60:.0f}" if seconds else ""


TABLES: dict[str, Callable[[dict[str, Any]], str]] = {"crystals": crystals}
