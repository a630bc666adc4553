"""Molecular dynamics of structures with a potential, into a file."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from schnetgen_pyg.data.digest import digest
from schnetgen_pyg.dynamics.config import DynamicsConfig
from schnetgen_pyg.dynamics.engine import Engine
from schnetgen_pyg.dynamics.records import Records
from schnetgen_pyg.dynamics.start import Start, starts
from schnetgen_pyg.dynamics.statistics import summarised
from schnetgen_pyg.dynamics.watch import Distances
from schnetgen_pyg.errors import require
from schnetgen_pyg.potentials.ensemble import Ensemble
from schnetgen_pyg.potentials.model import Potential
from schnetgen_pyg.storage.models import weights_digest

#: Steps between two states that are kept, or those between two frames if they are more.
KEEP = 100


@dataclass(frozen=True)
class Result:
    """What a run gave.

    Attributes:
        summary: of each structure (``structures``) its ``steps``, mean ``temperature_K`` with
            ``temperature_error_K``, and ``drift_meV_per_atom_ps`` of what is conserved; which were
            ``stopped``, at which step and why; configuration and versions.
        new: whether it was computed now; else it was there.
    """

    summary: dict[str, Any]
    new: bool

    @property
    def stopped(self) -> list[str]:
        """Which structures were stopped, where and why."""
        return [
            f"{one['name']} was stopped at step {one['step']} ({one['time_fs'] / 1000:g} ps): "
            f"{one['cause']}"
            for one in self.summary["stopped"]
        ]


def run_dynamics(
    potential: Potential | Ensemble,
    structures: Any,
    path: str | os.PathLike[str],
    config: DynamicsConfig | None = None,
    *,
    batch: int = 64,
    progress: Callable[..., Any] | None = None,
    overwrite: bool = False,
    **changes: Any,
) -> Result:
    """Move structures, and write their trajectories to one file as they come.

    With ``beads`` each structure is a ring polymer that i-PI moves, one structure after the other.
    Else ``batch`` structures at a time are moved by torch-sim; where that is one, and for npt, ASE
    does it. A run that was killed continues where it was, with the same numbers to the last bit.

    Args:
        potential: used where it is, in its precision.
        structures: ``Data`` or ASE ``Atoms``; velocities that they have are taken.
        path: ``.extxyz``, ``.xyz``, ``.traj`` or ``.db``. Frames have energies (eV), forces (eV/Å)
            and momenta, and in ``info`` ``structure``, ``step``, ``time_fs``, ``temperature_K`` and
            ``bead``. Beside it are ``NAME.log.csv`` and ``NAME.summary.json``.
        config: how they are moved; keyword arguments replace its fields.
        batch: structures at a time.
        progress: such as ``tqdm``.
        overwrite: whether results of other settings may be replaced.

    Raises:
        InputError: naming the structure that the potential or the ensemble is not for; for results
            of other settings; if a package is not installed.
    """
    require(batch >= 1, "batch", batch, "at least 1")
    config = replace(config or DynamicsConfig(), **changes)
    potential.eval()
    data, given = starts(potential, structures, config)
    alone = batch == 1 or config.beads > 1 or config.ensemble == "npt"
    size = 1 if alone else batch
    groups = [given[start : start + size] for start in range(0, len(given), size)]
    settings = asdict(config) | {
        "batch": size,
        "structures": f"{digest(data)}-{_momenta_digest(given)}",
        "potential": weights_digest(potential.state_dict()),
    }
    steps = settings.pop("steps")
    records = Records(Path(path), settings, steps, overwrite)
    if records.finished:
        return Result(json.loads(records.summary.read_text()), False)
    run = _Run(potential, config, groups, records)
    moved: Any = run.moved()
    if progress:
        moved = progress(moved, total=len(groups) * steps, initial=run.done, desc="steps")
    for _ in moved:
        pass
    summary = summarised(records.rows(), given, config, run.stopped)
    records.finish(summary)
    return Result(summary, True)


def _momenta_digest(given: Sequence[Start]) -> str:
    found = hashlib.sha256()
    for one in given:
        found.update(one.atoms.get_momenta().tobytes() + one.atoms.get_masses().tobytes())
    return found.hexdigest()


class _Run:
    """Moves one group of structures after the other.

    Attributes:
        stopped: structures that must not go on.
        done: steps of all groups that an earlier run has left.
    """

    def __init__(
        self,
        potential: Potential | Ensemble,
        config: DynamicsConfig,
        groups: Sequence[Sequence[Start]],
        records: Records,
    ):
        self._potential, self._config = potential, config
        self._groups, self._records = groups, records
        self._group = records.known.get("group", 0)
        self._step = records.known.get("step", 0)
        self.stopped: list[dict[str, Any]] = records.known.get("stopped", [])
        self.done = self._group * config.steps + self._step

    def moved(self) -> Iterator[int]:
        """Steps, as they are done."""
        for group in self._groups[self._group :]:
            yield from self._moved(group)
            self._group, self._step = self._group + 1, 0
            self._records.state = {}
            self._keep(None)

    def _moved(self, group: Sequence[Start]) -> Iterator[int]:
        config, engine = self._config, self._engine(group)
        distances = {one.index: Distances(one) for one in group}
        names = {one.index: one.name for one in group}
        if self._records.state:
            engine.restore(self._records.state)
        else:
            self._records.write(engine.moments(), 0, 0.0)
        between = config.every * math.ceil(KEEP / config.every)
        for step in range(self._step + 1, config.steps + 1):
            faults, moments = engine.step(), {}
            if step % config.every == 0 or step == config.steps:
                moments = engine.moments()
                for index, moment in moments.items():
                    told = filter(None, map(distances[index].fault, moment.beads))
                    if why := next(told, None):
                        faults.setdefault(index, why)
            if faults:
                self._stop(faults, names, step)
                engine.drop(set(faults))
            left = {index: moment for index, moment in moments.items() if index not in faults}
            if left:
                self._records.write(left, step, step * config.timestep)
            self._step = step
            yield step
            if len(faults) == len(distances):
                return
            distances = {k: one for k, one in distances.items() if k not in faults}
            if faults or (step % between == 0 and step < config.steps):
                self._keep(engine)

    def _engine(self, group: Sequence[Start]) -> Engine:
        if self._config.beads > 1:
            from schnetgen_pyg.dynamics.ring_polymer import RingPolymerEngine

            return RingPolymerEngine(self._potential, group[0], self._config)
        if len(group) == 1:
            from schnetgen_pyg.dynamics.single import SingleEngine

            return SingleEngine(self._potential, group[0], self._config)
        from schnetgen_pyg.dynamics.many import ManyEngine

        return ManyEngine(self._potential, group, self._config)

    def _stop(self, faults: dict[int, str], names: dict[int, str], step: int) -> None:
        for index, cause in sorted(faults.items()):
            told = {"structure": index, "name": names[index], "step": step}
            self.stopped.append(told | {"time_fs": step * self._config.timestep, "cause": cause})

    def _keep(self, engine: Engine | None) -> None:
        state = engine.state() if engine else {}
        self._records.keep(state, group=self._group, step=self._step, stopped=self.stopped)
