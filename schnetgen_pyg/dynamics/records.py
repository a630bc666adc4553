"""What a run leaves: frames and log as they come, and the state to go on from."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ase.io
import ase.units
import numpy as np
from ase.io.trajectory import TrajectoryWriter

from schnetgen_pyg.data.database_rows import write_database
from schnetgen_pyg.data.writers import write_extxyz
from schnetgen_pyg.dynamics.engine import Moment
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.storage.atomic import naming, replacing, require_writable
from schnetgen_pyg.storage.finished import finish, is_finished
from schnetgen_pyg.storage.resumable import ResumableFile

SUFFIXES = (".extxyz", ".xyz", ".traj", ".db")

#: Columns of the log.
COLUMNS = (
    *("structure", "step", "time_fs", "potential_eV", "kinetic_eV", "temperature_K"),
    *("conserved_eV", "volume_A3", "pressure_bar"),
)

#: What is said where the disk is full.
LEFT = "what was written before is kept, the same command continues"


class Records:
    """The files of one run.

    While it goes on, frames are in ``PATH.partial.extxyz`` and rows of the log in
    ``PATH.partial.csv``; ``PATH.partial.npz`` has the state, and how long both files were then.
    At the end there are ``path``, ``NAME.log.csv`` and ``NAME.summary.json``.

    Args:
        path: of the trajectory.
        settings: all that decides it but for its length.
        steps: its length.
        overwrite: whether results of other settings may be replaced.

    Attributes:
        finished: whether the results are there already.
        state: that an earlier run has left, and what it knows.

    Raises:
        InputError: for a suffix of no use, or results of other settings.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], steps: int, overwrite: bool):
        if path.suffix.lower() not in SUFFIXES:
            raise InputError(f"{path}: a trajectory is written as {', '.join(SUFFIXES)}")
        require_writable(path)
        self.log, self.summary = path.with_suffix(".log.csv"), path.with_suffix(".summary.json")
        self._made_of = {**settings, "steps": steps}
        for beside in (self.log, self.summary):
            is_finished(beside, self._made_of, overwrite)
        self.state: dict[str, np.ndarray] = {}
        self.known: dict[str, Any] = {}
        base = path.with_name(f"{path.name}.partial")
        self._state, self._rows = Path(f"{base}.npz"), Path(f"{base}.csv")
        self._file = ResumableFile(
            path, "extxyz", settings, self._go_back, result={"steps": steps}, overwrite=overwrite
        )
        self.finished = self._file.finished
        if self.finished:
            self._require_whole(path)
        if not self.finished and not self.known:
            self._clear()

    def _require_whole(self, path: Path) -> None:
        for beside in (self.log, self.summary):
            if not beside.is_file():
                raise InputError(
                    f"{beside}: is gone, and {path} beside it is finished; put it back, or make "
                    "both anew with --overwrite (overwrite=True)"
                )

    def _clear(self) -> None:
        self._state.unlink(missing_ok=True)
        with naming(self._rows):
            self._rows.write_text(",".join(COLUMNS) + "\n")
            self._file.partial.write_text("")

    def _go_back(self, partial: Path) -> int:
        """Cut both files to what they were when the state was kept."""
        if not (self._state.is_file() and self._rows.is_file()):
            return 0
        try:
            with np.load(self._state) as content:
                found = dict(content)
            known = json.loads(str(found.pop("known")))
        except (OSError, ValueError, KeyError) as error:
            raise InputError(
                f"{self._state}: damaged ({error}); remove it, and the run begins anew"
            ) from error
        for file, length in zip((partial, self._rows), known["lengths"], strict=True):
            if file.stat().st_size < length:
                raise InputError(
                    f"{file}: was cut since; remove {self._state.name}, and the run begins anew"
                )
            os.truncate(file, length)
        self.state, self.known = found, known
        return 1

    def write(self, moments: Mapping[int, Moment], step: int, time: float) -> None:
        """Frames and rows of the log; ``time`` in fs."""
        frames, rows = io.StringIO(), io.StringIO()
        lines = csv.writer(rows, lineterminator="\n")
        for index, moment in sorted(moments.items()):
            for frame in moment.beads:
                frame.info |= {"structure": index, "step": step, "time_fs": time}
                frame.info["temperature_K"] = moment.temperature
                write_extxyz(frames, [frame])
            energies = moment.potential, moment.kinetic, moment.temperature, moment.conserved
            lines.writerow([index, step, time, *energies, *_of_the_cell(moment)])
        for path, text in ((self._file.partial, frames), (self._rows, rows)):
            with naming(path, LEFT), path.open("a") as file:
                file.write(text.getvalue())

    def keep(self, state: Mapping[str, np.ndarray], **known: Any) -> None:
        """Keep the state, and what beside it is known."""
        known["lengths"] = [path.stat().st_size for path in (self._file.partial, self._rows)]
        with replacing(self._state) as temporary, temporary.open("wb") as file:
            values: dict[str, Any] = {**state, "known": np.array(json.dumps(known))}
            np.savez(file, **values)

    def rows(self) -> dict[int, dict[str, np.ndarray]]:
        """Columns of the log by structure; NaN where there is no number."""
        found: dict[int, list[list[float]]] = {}
        with self._rows.open() as file:
            next(file)
            for index, *values in csv.reader(file):
                numbers = [float(value) if value else math.nan for value in values]
                found.setdefault(int(index), []).append(numbers)
        return {
            index: dict(zip(COLUMNS[1:], np.array(rows).T, strict=True))
            for index, rows in found.items()
        }

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Put everything in its place."""
        with replacing(self.log) as temporary:
            temporary.write_bytes(self._rows.read_bytes())
        with replacing(self.summary) as temporary:
            temporary.write_text(json.dumps(summary, indent=2) + "\n")
        for beside in (self.log, self.summary):
            finish(beside, self._made_of)
        path = self._file.path
        if path.suffix.lower() in (".extxyz", ".xyz"):
            self._file.publish()
        else:
            with replacing(path) as temporary:
                _convert(self._file.partial, temporary, path.suffix.lower())
            self._file.close()
        self._state.unlink(missing_ok=True)
        self._rows.unlink()


def _of_the_cell(moment: Moment) -> tuple[float | None, float | None]:
    """Volume (Å³) and pressure (bar), with what the motion of the atoms adds."""
    first = moment.beads[0]
    if not first.pbc.all():
        return None, None
    volume = float(first.get_volume())
    stress = np.mean([frame.calc.results["stress"][:3] for frame in moment.beads])
    pressure = 2 * moment.kinetic / (3 * volume) - float(stress)
    return volume, pressure / ase.units.bar


def _convert(frames: Path, path: Path, suffix: str) -> None:
    """A trajectory in another format; one frame at a time is in memory."""
    each: Iterator[ase.Atoms] = ase.io.iread(frames, index=":", format="extxyz")
    if suffix == ".db":
        write_database(path, each)
        return
    with TrajectoryWriter(path, "w") as file:
        for frame in each:
            file.write(frame)
