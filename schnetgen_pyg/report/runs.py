"""What a run's folder holds, and the report of it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase
import yaml
from ase.build import minimize_rotation_and_translation

from schnetgen_pyg.chem.elements import hill_formula
from schnetgen_pyg.data.datasets import load
from schnetgen_pyg.errors import InputError, require
from schnetgen_pyg.evaluation.evaluation import Evaluation, evaluate
from schnetgen_pyg.evaluation.seen import told_by
from schnetgen_pyg.evaluation.structures import judgeable
from schnetgen_pyg.generator.model import SchNetGen
from schnetgen_pyg.relaxation.store import stored
from schnetgen_pyg.report.page import page_data, write_page
from schnetgen_pyg.report.pictures import training_log


@dataclass(frozen=True)
class Sources:
    """What a run's folder holds, or a structure file alone.

    Attributes:
        structures: the generated structures' file.
        training: folder with the training's ``logs``, ``config.yaml`` and ``model.safetensors``.
        relaxed: ASE database of ``schnetgen relax``.
    """

    structures: Path | None = None
    training: Path | None = None
    relaxed: Path | None = None

    @classmethod
    def find(cls, run: Path) -> Sources:
        """Look where ``schnetgen train``, ``generate``, ``evaluate`` and ``relax`` write.

        Raises:
            InputError: if there is nothing, or more than one file of structures.
        """
        if run.is_file():
            return cls(run)
        if not run.is_dir():
            raise InputError(f"{run}: no such folder or file")
        files = [
            file
            for file in sorted(run.iterdir())
            if file.name.endswith((".extxyz", ".xyz", ".db", ".extxyz.gz", ".xyz.gz"))
            and ".partial" not in file.name
            and not file.name.startswith("relaxed")
        ]
        if len(files) > 1:
            files = [file for file in files if file.name.startswith("generated")] or files
        if len(files) > 1:
            raise InputError(
                f"{run}: holds several structure files, {', '.join(f.name for f in files)}; name "
                "one of them instead of the folder"
            )
        logs = sorted({log.parents[2] for log in run.glob("**/logs/version_*/metrics.csv")})
        if not files and not logs:
            raise InputError(
                f"{run}: holds neither structures (.extxyz, .xyz, .db) nor the logs of a training"
            )
        relaxed = run / "relaxed.db"
        return cls(
            files[0] if files else None,
            logs[0] if logs else None,
            relaxed if relaxed.is_file() else None,
        )

    def training_data(self) -> list[str]:
        """What the training was given, as its configuration says."""
        file = self.training / "config.yaml" if self.training else None
        if file is None or not file.is_file():
            return []
        settings = yaml.safe_load(file.read_text()) or {}
        return [str(source) for source in settings.get("data") or []]

    def checkpoint(self) -> Path | None:
        """The trained model."""
        file = self.training / "model.safetensors" if self.training else None
        return file if file is not None and file.is_file() else None


def read_relaxed(
    path: str | os.PathLike[str], structures: Sequence[ase.Atoms]
) -> dict[int, dict[str, Any]]:
    """Results of ``schnetgen relax`` by the number of the structure, as `page_data` takes them.

    Raises:
        InputError: if the database is of other structures.
    """
    found = {}
    for number, record, atoms in stored(path):
        if record["status"] != "converged":
            continue
        if number >= len(structures) or (structures[number].numbers != atoms.numbers).any():
            raise InputError(
                f"{path}: holds no relaxation of structure {number} here; report on the file "
                "that was relaxed, or move the database away"
            )
        minimize_rotation_and_translation(structures[number], atoms)
        found[number] = {
            "energy": record.get("energy_after"),
            "rmsd": record.get("rmsd"),
            "rmsd_heavy": record.get("rmsd_heavy"),
            "pos": atoms.positions,
        }
    return found


def report(
    run: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    train: Sequence[str] = (),
    test: Sequence[str] = (),
    checkpoint: str | None = None,
    default_checkpoint: str = "qm9",
    title: str | None = None,
    max_molecules: int = 1_000,
    judges: Sequence[str] | None = None,
    jobs: int | None = None,
    progress: Callable[..., Any] | None = None,
) -> Path:
    """Write the page of a run, and return where it is.

    Args:
        run: folder that the commands wrote to, or a structure file.
        out: by default ``report.html`` in the folder, or beside the file with its name.
        train, test: files or names of the reference sets; without, those of the training, if it
            is that of the structures' generator.
        checkpoint: generator that made the structures, by whose record novelty is judged, and that
            shows one being built; without, the one that they name, the run's own or, to show one,
            ``default_checkpoint``.
        title: of the page.
        max_molecules: most structures in the gallery.
        judges, jobs, progress: as in `evaluate`.

    Raises:
        InputError: if nothing is found there, or it cannot be read.
    """
    run = Path(run)
    require(max_molecules >= 1, "num", max_molecules, "at least 1")
    sources = Sources.find(run)
    structures = judgeable(sources.structures) if sources.structures else []
    notes: dict[str, str] = {}
    evaluation, model = Evaluation([]), None
    if structures:
        notes["structures from"] = str(sources.structures)
        made_here = _made_here(structures, sources)
        own = sources.checkpoint() if made_here else None
        if sources.training and not made_here:
            other = "the training shown is not of their generator but that in"
            notes[other] = str(sources.training)
        named = {"train": train, "test": test}
        references: dict[str, Any] = {name: load(*files) for name, files in named.items() if files}
        if not references and made_here:
            references = _training_references(sources, notes)
        evaluation = evaluate(
            structures,
            model=checkpoint or own,
            **references,
            judges=judges,
            jobs=jobs,
            progress=progress,
        )
        otherwise = own or _named_by(structures) or default_checkpoint
        model = _builder(structures, checkpoint, otherwise, notes)
    relaxed = read_relaxed(sources.relaxed, structures) if sources.relaxed else {}
    data = page_data(
        structures,
        evaluation,
        title=title or f"SchNetGen: {_name(structures, run)}",
        log=training_log(sources.training) if sources.training else None,
        model=model,
        relaxed=relaxed,
        notes=notes,
        max_molecules=max_molecules,
    )
    beside = run.with_suffix(".html") if run.is_file() else run / "report.html"
    path = Path(out) if out is not None else beside
    write_page(path, data)
    return path


def _builder(
    structures: Sequence[ase.Atoms],
    checkpoint: str | None,
    otherwise: str | Path,
    notes: dict[str, str],
) -> SchNetGen | None:
    """The generator that shows a molecule being built, if it knows the elements or was named."""
    name = checkpoint or otherwise
    model = SchNetGen.from_pretrained(name)
    elements = {int(n) for atoms in structures for n in atoms.numbers}
    if checkpoint is None and not elements <= set(model.config.elements):
        return None
    notes["atom by atom with"] = str(name)
    return model


def _made_here(structures: Sequence[ase.Atoms], sources: Sources) -> bool:
    """Whether the run's own training made the generator of its structures, or nothing is said of
    that."""
    told = {digest for _, digest in told_by(structures)}
    own = sources.checkpoint()
    if not told or own is None:
        return not told
    record = SchNetGen.from_pretrained(own).training_set
    return record is not None and record.digest in told


def _named_by(structures: Sequence[ase.Atoms]) -> str | None:
    """The one generator that the structures name, if it can be read and has seen the same."""
    told = list(told_by(structures))
    if len(told) != 1:
        return None
    ((name, digest),) = told
    try:
        record = SchNetGen.from_pretrained(name).training_set
    except InputError:
        return None
    return name if record is not None and record.digest == digest else None


def _training_references(sources: Sources, notes: dict[str, str]) -> dict[str, Any]:
    """What the run was trained on, or in ``notes`` why that cannot be read."""
    if not sources.training_data():
        return {}
    try:
        return {"train": load(*sources.training_data())}
    except InputError as error:
        notes["without the training structures:"] = str(error)
        return {}


def _name(structures: Sequence[ase.Atoms], run: Path) -> str:
    formulas = Counter(hill_formula(atoms.numbers) for atoms in structures)
    if not formulas:
        return f"training in {run.name}"
    few = [formula for formula, _ in formulas.most_common(3)]
    count = f"{len(structures):,} structures"
    return f"{count} of {', '.join(few)}{', …' if len(formulas) > 3 else ''}"
