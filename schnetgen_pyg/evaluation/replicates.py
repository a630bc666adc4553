"""Mean and standard deviation over several samples of the same model."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from schnetgen_pyg.errors import require
from schnetgen_pyg.evaluation.evaluation import PACKAGES, Evaluation
from schnetgen_pyg.evaluation.tables import UNITS, table
from schnetgen_pyg.storage.atomic import replacing
from schnetgen_pyg.storage.provenance import versions

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Replicates:
    """Evaluations of several samples against the same references
    (`schnetgen_pyg.evaluation.evaluation.evaluate_each`).

    Attributes:
        evaluations: at least two.
        names: of the samples, such as their files.
    """

    evaluations: Sequence[Evaluation]
    names: Sequence[str]

    def __post_init__(self) -> None:
        require(len(self.evaluations) >= 2, "samples", len(self.evaluations), "at least 2")

    def rows(self) -> dict[str, list[float]]:
        """The generated column of every sample's table, where it is numbers; a failure that did
        not occur counts 0."""
        columns = [table(e.figures())["generated"] for e in self.evaluations]
        names = list(dict.fromkeys(row for column in columns for row in column.index))
        result: dict[str, list[float]] = {}
        for name in sorted(names, key=lambda name: name.startswith("failed: ")):
            absent: Any = 0 if name.startswith("failed: ") else ""
            values = [column.get(name, absent) for column in columns]
            if "" not in values:
                result[name] = [float(value) for value in values]
        return result

    def figures(self) -> dict[str, Any]:
        """Mean, (sample) standard deviation and values of every row, and all figures, for JSON."""
        return {
            "samples": list(self.names),
            "summary": {
                name: {
                    "mean": statistics.fmean(values),
                    "deviation": statistics.stdev(values),
                    "values": values,
                }
                for name, values in self.rows().items()
            },
            "evaluations": [evaluation.figures() for evaluation in self.evaluations],
            "versions": versions(*PACKAGES),
        }

    def to_pandas(self) -> pandas.DataFrame:
        """Mean and standard deviation, and beside them the references."""
        import pandas as pd

        frame = table(self.evaluations[0].figures())
        rows = self.rows()
        columns: dict[str, list[Any]] = {
            "mean": [round(statistics.fmean(values), 4) for values in rows.values()],
            "±": [round(statistics.stdev(values), 4) for values in rows.values()],
        }
        for name in frame.columns:
            if name != "generated":
                columns[str(name)] = [frame[name].get(row, "") for row in rows]
        return pd.DataFrame(columns, index=list(rows), dtype=object)

    def summary(self) -> str:
        """The table as text, with the notes of every sample."""
        used = ", ".join(f"{k} {v}" for k, v in versions(*PACKAGES).items())
        said = {name: e.notes() for name, e in zip(self.names, self.evaluations, strict=True)}
        notes = dict.fromkeys(
            note if all(note in others for others in said.values()) else f"{name}: {note}"
            for name, some in said.items()
            for note in some
        )
        head = f"{len(self.names)} samples"
        return "\n".join([head, self.to_pandas().to_string(), UNITS, *notes, f"({used})"])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `figures` as JSON, atomically."""
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(self.figures(), indent=2) + "\n")
