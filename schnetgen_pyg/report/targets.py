"""What was asked of molecules beside what came out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ase
import numpy as np

from schnetgen_pyg.report.tables import is_finite

#: What follows the name of a property in a structure's ``info``: what was asked for, its unit, what
#: a property model predicts.
TARGET, UNIT, PREDICTED = "_target", "_unit", "_predicted"


def _number(value: Any) -> float | None:
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if is_finite(found) else None


def target_plots(structures: Sequence[ase.Atoms]) -> list[dict[str, Any]]:
    """Of every property that was asked for: the targets, and what is known of the molecules: a
    prediction (``gap_predicted``) or a value that was computed since (``gap``).

    Returns:
        one entry for each property and each source of values: ``name``, ``unit``, ``source``, the
        ``points`` as number of the structure, target and value, and their mean absolute ``error``.
        Where nothing is known, there are no points, and no error.
    """
    names = sorted(
        {
            key.removesuffix(TARGET)
            for atoms in structures
            for key, value in atoms.info.items()
            if key.endswith(TARGET) and _number(value) is not None
        }
    )
    plots = []
    for name in names:
        unit = next((str(a.info[name + UNIT]) for a in structures if name + UNIT in a.info), "")
        asked = [_number(atoms.info.get(name + TARGET)) for atoms in structures]
        known = 0
        for key, source in ((name + PREDICTED, "predicted"), (name, "computed")):
            points = [
                (number, target, value)
                for number, (atoms, target) in enumerate(zip(structures, asked, strict=True))
                if target is not None and (value := _number(atoms.info.get(key))) is not None
            ]
            if points:
                known += 1
                plots.append(_plot(name, unit, source, points))
        if not known:
            number = sum(target is not None for target in asked)
            plots.append(_plot(name, unit, "", []) | {"asked": number})
    return plots


def _plot(name: str, unit: str, source: str, points: Sequence[tuple[int, float, float]]) -> Any:
    table = np.array([point[1:] for point in points]).reshape(-1, 2)
    error = float(abs(table[:, 0] - table[:, 1]).mean()) if len(points) else None
    return {
        "name": name,
        "unit": unit,
        "source": source,
        "asked": len(points),
        "error": None if error is None else float(f"{error:.4g}"),
        "points": [[number, *(float(f"{x:.5g}") for x in pair)] for number, *pair in points],
    }
