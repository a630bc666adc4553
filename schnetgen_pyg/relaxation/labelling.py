"""Energies and forces of perturbed configurations, computed by quantum chemistry.

Configurations are taken from short Langevin trajectories with GFN2-xTB, one for each structure, and
labelled with GFN2-xTB or with density-functional theory; in the structure's cell, and with its
charge and spin.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import ase
import ase.units
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.md.langevin import Langevin

from schnetgen_pyg.data.digest import digest
from schnetgen_pyg.data.writers import file_format, write
from schnetgen_pyg.errors import InputError, require
from schnetgen_pyg.parallel import Failure, in_order, in_processes, job_count
from schnetgen_pyg.relaxation.calculators import XTB, calculator, check, prepared, reason
from schnetgen_pyg.storage.resumable import ResumableFile


@dataclass(frozen=True)
class LabelConfig:
    """What is computed for each structure.

    Attributes:
        method: ``gfn2-xtb``, ``gfn1-xtb`` or FUNCTIONAL/BASIS as PySCF names them, such as
            ``pbe/def2-svp`` (with density fitting; no cells).
        num_perturbed: configurations taken from the structure's trajectory; the structure itself
            comes before them.
        temperatures: of the thermostat in K; configuration k has the k-th, in turn.
        equilibration: length in fs of the trajectory before the first configuration.
        interval: length in fs between configurations.
        friction: of the thermostat in 1/fs.
        seed: of the trajectories.
    """

    method: str = "gfn2-xtb"
    num_perturbed: int = 4
    temperatures: tuple[float, ...] = (500.0,)
    equilibration: int = 50
    interval: int = 25
    friction: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        known = self.method in XTB or all(self.method.partition("/"))
        require(known, "method", repr(self.method), f"{', '.join(XTB)} or FUNCTIONAL/BASIS")
        for name in ("num_perturbed", "equilibration", "seed"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        require(self.interval >= 1, "interval", self.interval, "at least 1")
        require(self.friction > 0, "friction", self.friction, "positive")
        positive = bool(self.temperatures) and min(self.temperatures) > 0
        require(positive, "temperatures", self.temperatures, "positive")


def trajectory(atoms: ase.Atoms, config: LabelConfig, seed: Sequence[int]) -> Iterator[float]:
    """Move ``atoms`` by Langevin dynamics with their calculator in steps of 1 fs, stopping at each
    configuration to be labelled; yields its temperature in K."""
    rng = np.random.default_rng(list(seed))
    start = config.temperatures[0]
    width = np.sqrt(atoms.get_masses() * ase.units.kB * start)
    atoms.set_momenta(rng.normal(size=(len(atoms), 3)) * width[:, None])
    dynamics = Langevin(
        atoms,
        ase.units.fs,
        temperature_K=start,
        friction=config.friction / ase.units.fs,
        fixcm=False,
        rng=rng,
    )
    dynamics.run(config.equilibration)
    for number in range(config.num_perturbed):
        temperature = config.temperatures[number % len(config.temperatures)]
        dynamics.set_temperature(temperature_K=temperature)
        dynamics.run(config.interval)
        yield temperature


def label(atoms: ase.Atoms, config: LabelConfig, index: int = 0) -> list[dict[str, Any]]:
    """Label a structure and its perturbed configurations.

    Args:
        atoms: the structure; left as it is.
        config: what to compute.
        index: of the structure; with ``config.seed`` it fixes the trajectory.

    Returns:
        of each configuration ``positions`` (Å), ``energy`` (eV), ``forces`` (eV/Å) and
        ``temperature`` (K; 0 for the structure itself), as plain numbers.
    """
    moving = atoms.copy()
    moving.calc = judge = calculator(config.method, atoms=atoms)
    frames: list[dict[str, Any]] = []

    def add(temperature: float) -> None:
        if moving.calc is judge:
            energy, forces = moving.get_potential_energy(), moving.get_forces()
        else:
            energy, forces = judge.get_potential_energy(moving), judge.get_forces(moving)
        if not (np.isfinite(energy) and np.isfinite(forces).all()):
            raise RuntimeError("the energy or a force is not finite")
        positions = moving.positions - moving.positions.mean(0) + atoms.positions.mean(0)
        frames.append(
            {
                "temperature": temperature,
                "energy": float(energy),
                "positions": positions.round(8).tolist(),
                "forces": np.asarray(forces).round(8).tolist(),
            }
        )

    add(0.0)
    if config.num_perturbed:
        if config.method not in XTB:
            moving.calc = calculator("gfn2-xtb", atoms=atoms)
        for temperature in trajectory(moving, config, (config.seed, index)):
            add(temperature)
    return frames


def _record(task: tuple[int, ase.Atoms], config: LabelConfig) -> dict[str, Any]:
    index, atoms = task
    try:
        return {"source": index, "frames": label(atoms, config, index)}
    except InputError:
        raise
    except Exception as error:
        return {"source": index, "error": reason(error)}


def _lines(atoms: Sequence[ase.Atoms], config: LabelConfig, first: int, jobs: int) -> Iterator[str]:
    """Records of the structures from ``first`` on, in their order, as JSON."""
    tasks = list(enumerate(atoms))[first:]
    results = in_order(in_processes(partial(_record, config=config), tasks, jobs=jobs))
    for index, result in enumerate(results, first):
        died = {"source": index, "error": "its process died"}
        yield json.dumps(died if isinstance(result, Failure) else result) + "\n"


def _frames(record: dict[str, Any], atoms: ase.Atoms, method: str) -> Iterator[ase.Atoms]:
    for frame in record.get("frames", ()):
        info = atoms.info | {
            "source": record["source"],
            "temperature": frame["temperature"],
            "method": method,
        }
        labelled = ase.Atoms(
            atoms.numbers, frame["positions"], cell=atoms.cell, pbc=atoms.pbc, info=info
        )
        labelled.calc = SinglePointCalculator(
            labelled, energy=frame["energy"], forces=np.array(frame["forces"])
        )
        yield labelled


def _collect(
    path: Path, atoms: Sequence[ase.Atoms], method: str
) -> tuple[list[ase.Atoms], list[str]]:
    """Labelled structures of a file of records, and which failed and why."""
    failures: list[str] = []
    labelled: list[ase.Atoms] = []
    with path.open() as file:
        for line in file:
            record = json.loads(line)
            source = record["source"]
            if "error" in record:
                failures.append(f"structure {source}: {record['error']}")
            labelled += _frames(record, atoms[source], method)
    return labelled, failures


def label_file(
    structures: Any,
    path: str | os.PathLike[str],
    config: LabelConfig | None = None,
    *,
    jobs: int | None = None,
    progress: Callable[..., Any] | None = None,
    overwrite: bool = False,
    **changes: Any,
) -> list[str] | None:
    """Label structures into a file; a run that was killed keeps what it has and continues.

    Records go to ``PATH.partial.jsonl`` as they are finished, and to ``path`` at the end, with
    ``source`` (place of the structure in the input), ``temperature`` (K) and ``method`` beside
    energies (eV) and forces (eV/Å).

    Args:
        structures: ``Data`` or ASE ``Atoms``, whose cell, charge and spin count and are written.
        path: structure file; the format follows the suffix.
        config: what to compute; keyword arguments replace its fields.
        jobs: processes; by default one per core.
        progress: such as ``tqdm``.
        overwrite: whether what is there of other structures or settings may be replaced.

    Returns:
        which structures failed and why; they are not in the file. ``None`` where the file holds
        these labels already.

    Raises:
        InputError: if the file or the partial one is of other structures or settings, or naming the
            structure that the method cannot compute as it is (cell, charge, spin).
    """
    config, jobs = replace(config or LabelConfig(), **changes), job_count(jobs)
    path = Path(path)
    file_format(path)
    check(config.method)
    moved_by = {"gfn2-xtb"} if config.num_perturbed else set()
    data, atoms = prepared(structures, *{config.method} | moved_by)
    settings = {"structures": digest(data), "config": asdict(config)}
    file = ResumableFile(path, "jsonl", settings, overwrite=overwrite)
    if file.finished:
        return None
    lines: Any = _lines(atoms, config, file.done, jobs)
    if progress:
        lines = progress(
            lines, initial=file.done, total=len(atoms), desc=f"labels, {config.method}"
        )
    file.extend(lines)
    labelled, failures = _collect(file.partial, atoms, config.method)
    if not labelled:
        raise InputError(f"no structure could be labelled; the first: {failures[0]}")
    write(path, labelled)
    file.close()
    return failures
