"""Tables of molecular dynamics: quantum nuclei, drift, speed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from markdown_tables import markdown, source


def dynamics(record: dict[str, Any]) -> str:
    """Of a system: spread of the bonds with and without beads, temperature, drift."""
    rows = []
    for name, row in record["rows"].items():
        for beads, found in row["beads"].items():
            rows.append(
                [
                    f"`{name}`",
                    beads,
                    f"{found['bond']:.4f} ± {found['bond_error']:.4f}",
                    f"{found['spread']:.4f} ± {found['spread_error']:.4f}",
                    f"{found['temperature_K']:.1f} ± {found['temperature_error_K']:.1f}",
                    f"{row['drift_mev_per_atom_per_ps']:.3f}",
                ]
            )
    header = ["", "beads", "bond (Å)", "spread of a bond (Å)", "T (K)", "NVE drift (meV/atom/ps)"]
    amounts = record["amounts"]
    length, every = amounts["steps"] * 0.5e-3, amounts["every"]
    note = (
        f"{record['system']} at 300 K, {length:,.0f} ps in steps of 0.5 fs, a frame every {every} "
        f"steps; errors from ten blocks; drift over {amounts['drift_steps'] * 0.5e-3:,.0f} ps. "
        f"{source('dynamics_' + record['system'], record)}"
    )
    return markdown(header, rows) + "\n\n" + note


def dynamics_speed(record: dict[str, Any]) -> str:
    """Atoms × steps a second."""
    peers = ("torch-geometric", "graph-pes", "schnetpack")
    rows = []
    for name, cases in record["rows"].items():
        for case, row in cases.items():
            own = row["ours"]
            best = max((row[p]["atom_steps_per_second"] for p in peers if p in row), default=None)
            fast = max(own["atom_steps_per_second"], own["tabulated_per_second"])
            known = [row[p]["atom_steps_per_second"] if p in row else None for p in peers]
            figures = [own["atom_steps_per_second"], own["tabulated_per_second"], *known]
            told = ["" if value is None else f"{value:,.0f}" for value in figures]
            ratio = "" if best is None else f"{fast / best:.1f}"
            rows.append([f"`{name}`", case.replace(" x ", " × "), *told, ratio])
    header = ["", "atoms × molecules", "here", "here, tabulated", *peers, "against the best"]
    note = f"Atoms × steps a second, one core. {source('dynamics_speed', record)}"
    return markdown(header, rows) + "\n\n" + note


#: By the name of their records.
TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "dynamics_c20": dynamics,
    "dynamics_malonaldehyde": dynamics,
    "dynamics_ethanol": dynamics,
    "dynamics_c7h10o2": dynamics,
    "dynamics_speed": dynamics_speed,
}
