"""Rank structures by energy and relax them, in parallel and so that nothing is lost."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ase
from torch_geometric.data import Data

from schnetgen_pyg.chem.electrons import CHARGE
from schnetgen_pyg.chem.elements import hill_formula
from schnetgen_pyg.data.datasets import load
from schnetgen_pyg.data.digest import digest
from schnetgen_pyg.data.origin import named
from schnetgen_pyg.errors import InputError, require
from schnetgen_pyg.evaluation.judging import perceive_all
from schnetgen_pyg.parallel import Failure, each_in_processes, in_processes, job_count
from schnetgen_pyg.relaxation.calculators import XTB, check, energies, prepared
from schnetgen_pyg.relaxation.comparison import not_judged
from schnetgen_pyg.relaxation.single import RelaxConfig, relax_one
from schnetgen_pyg.relaxation.store import Store
from schnetgen_pyg.storage.atomic import replacing
from schnetgen_pyg.storage.provenance import versions
from schnetgen_pyg.storage.settings import as_json

if TYPE_CHECKING:
    import pandas


#: Structures whose energies are one task.
CHUNK = 16


#: Seconds that a task may take for anything but its steps.
SPARE = 120.0


#: Columns of the table, in this order.
COLUMNS = (
    *("structure", "status", "predicted_energy", "energy_before", "energy_after", "released"),
    *("largest_force", "rmsd", "rmsd_heavy", "bonds_mean", "bonds_max", "angles_mean"),
    *("angles_max", "torsions_mean", "torsions_max", "changed", "failure_before"),
    *("failure_after", "smiles_before", "smiles_after", "steps", "seconds", "error"),
)

#: Units of what is printed.
UNITS = {"predicted_energy": "eV", "released": "kcal/mol"}
UNITS |= dict.fromkeys(("rmsd", "rmsd_heavy", "bonds_mean"), "Å")
UNITS |= dict.fromkeys(("angles_mean", "torsions_mean"), "°")


#: Packages whose versions decide what is found; some are optional.
PACKAGES = ("schnetgen_pyg", "ase", "rdkit", "tblite", "pyscf", "geometric")


@dataclass(frozen=True)
class Relaxation:
    """What became of the structures.

    Attributes:
        config: how they were relaxed.
        records: `schnetgen_pyg.relaxation.single.relax_one` of each, with ``structure`` (its number
            in the input) and where they were ranked ``predicted_energy`` (eV), by which they are
            sorted.
        before, after: the structures, in the same order; the last sound geometry where one did not
            converge, and an energy where there is one.
        unranked: number and reason of the structures without a predicted energy.
    """

    config: RelaxConfig
    records: list[dict[str, Any]]
    before: list[ase.Atoms]
    after: list[ase.Atoms]
    unranked: dict[int, str] = field(default_factory=dict)

    def statistics(self) -> dict[str, dict[str, float]]:
        """Mean, median and number of the main figures over the structures that converged."""
        done = [record for record in self.records if record["status"] == "converged"]
        names = ("rmsd", "rmsd_heavy", "released", "bonds_mean", "angles_mean", "torsions_mean")
        result = {}
        for name in names:
            values = [record[name] for record in done if record.get(name) is not None]
            if values:
                result[name] = {
                    "mean": statistics.fmean(values),
                    "median": statistics.median(values),
                    "number": len(values),
                }
        return result

    def figures(self) -> dict[str, Any]:
        """Everything as plain values, for JSON."""
        done = [record for record in self.records if record["status"] == "converged"]
        return {
            "config": asdict(self.config),
            "structures": len(self.records),
            "statuses": dict(Counter(record["status"] for record in self.records).most_common()),
            "constitution_kept": sum(not record["changed"] for record in done),
            "statistics": self.statistics(),
            "records": self.records,
            "unranked": {str(number): why for number, why in self.unranked.items()},
            "versions": versions(*PACKAGES),
        }

    def to_pandas(self) -> pandas.DataFrame:
        """One row per structure. Energies in eV, ``released`` in kcal/mol, lengths in Å, angles in
        degrees."""
        import pandas as pd

        found = {name for record in self.records for name in record}
        columns = [name for name in COLUMNS if name in found]
        frame = pd.DataFrame(self.records, columns=columns)
        return frame.set_index("structure") if columns else frame

    def summary(self) -> str:
        """The table, the main figures and what went wrong, as text."""
        figures = self.figures()
        shown = ["status", "predicted_energy", "released", "rmsd", "rmsd_heavy", "changed"]
        frame = self.to_pandas()
        frame = frame[[name for name in (*shown, "smiles_after") if name in frame]]
        frame = frame.rename(columns={name: f"{name} ({unit})" for name, unit in UNITS.items()})
        lines = [frame.to_string(float_format="{:.3f}".format)] if len(frame) else []
        statuses = ", ".join(f"{count} {name}" for name, count in figures["statuses"].items())
        lines.append(f"{self.config.method}: {statuses or 'no structures'}")
        for name, values in figures["statistics"].items():
            unit = UNITS[name]
            mean, median = values["mean"], values["median"]
            lines.append(f"{name}: {mean:.3f} {unit} mean, {median:.3f} {unit} median")
        if figures["statistics"]:
            number = figures["statuses"]["converged"]
            lines.append(f"constitution kept: {figures['constitution_kept']} of {number}")
        lines += [
            f"structure {record['structure']}: {record['status']}, {record['error']}"
            for record in self.records
            if record["status"] != "converged"
        ]
        lines += [f"structure {n}: no predicted energy, {w}" for n, w in self.unranked.items()]
        lines.append(f"({', '.join(f'{k} {v}' for k, v in figures['versions'].items())})")
        return "\n".join(lines)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the table as CSV, or all figures as JSON, by the suffix; atomically."""
        table = Path(path).suffix.lower() == ".csv"
        text = self.to_pandas().to_csv() if table else json.dumps(self.figures(), indent=2) + "\n"
        with replacing(path) as temporary:
            temporary.write_text(text)


def _rank(
    store: Store, chosen: Sequence[int], method: str, jobs: int, progress: Any
) -> dict[int, Any]:
    """Predicted energy of the chosen structures, or why there is none; computed where it is not
    stored."""
    known = store.energies()
    missing = [k for k in chosen if k not in known]
    items = [store.structures[k] for k in missing]
    results: Any = each_in_processes(
        partial(energies, method=method), items, size=CHUNK, jobs=jobs, timeout=SPARE * CHUNK
    )
    if progress:
        results = progress(results, total=len(items), desc=f"energies, {method}")
    for place, result in results:
        store.write_energy(missing[place], _energy(result))
    known = store.energies()
    return {k: known[k] for k in chosen}


def _cores() -> int:
    """That may be used: so many as ``OMP_NUM_THREADS`` says, or there are."""
    said = os.environ.get("OMP_NUM_THREADS", "")
    return int(said) if said.isdigit() else os.cpu_count() or 1


def _energy(result: Any) -> float | str:
    if isinstance(result, Failure):
        return "took too long" if result.reason == "timeout" else "its process died"
    return result


def _relax(
    store: Store,
    chosen: Sequence[int],
    config: RelaxConfig,
    jobs: int,
    seconds: float,
    progress: Any,
) -> None:
    done = store.results()
    missing = [k for k in chosen if k not in done]
    end = time.monotonic() + seconds
    cheap = config.method in XTB or config.method.startswith(("potential:", "orca"))
    results: Any = in_processes(
        partial(relax_one, config=config),
        takewhile(lambda _: time.monotonic() < end, (store.structures[k] for k in missing)),
        jobs=jobs,
        timeout=config.max_seconds + SPARE,
        threads=1 if cheap else max(1, _cores() // jobs),
    )
    if progress:
        results = progress(results, total=len(missing), desc=f"relaxation, {config.method}")
    for place, result in results:
        k = missing[place]
        if isinstance(result, Failure):
            record = {"status": result.reason, "error": _energy(result)}
            store.write(k, record, store.structures[k].positions, config.method)
        else:
            record, positions = result
            store.write(k, record, positions, config.method)


def relax(
    structures: Any,
    config: RelaxConfig | None = None,
    *,
    top: int | None = None,
    rank: str | None = None,
    valid_only: bool = False,
    seconds: float = float("inf"),
    jobs: int | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: Callable[..., Any] | None = None,
    **changes: Any,
) -> Relaxation:
    """Relax structures, those of lowest predicted energy first.

    Structures go to processes of their own: one whose calculator fails, that explodes, does not
    converge, hangs or kills its process is recorded as such, and nothing else is lost. Within
    ``with joblib.parallel_config("dask"):`` (or another backend of joblib) the work goes there.

    Args:
        structures: ASE ``Atoms`` or ``Data`` in Å, or a file. A cell stays as it is, and charge
            and spin count (`schnetgen_pyg.data.electrons`).
        config: `RelaxConfig`; keyword arguments such as ``method="gfn2-xtb"`` replace its fields.
        top: only so many, of lowest predicted energy.
        rank: method that predicts it; by default ``config.method`` where that is cheap, else
            ``gfn2-xtb``; without ``top`` and ``rank`` nothing is predicted.
        valid_only: leave out what is not valid (`schnetgen_pyg.chem.perception`).
        seconds: after this time no relaxation is begun; those left are not in the result.
        jobs: structures at a time; by default one per core.
        out: ASE database (``.db``) that takes each result as it comes; a call that was killed
            continues there. Its rows are the structures that converged.
        progress: such as ``tqdm.tqdm``.

    Raises:
        InputError: if the method cannot be computed here, or not for a structure as it is (cell,
            charge, spin), or ``out`` holds something else.
    """
    config, jobs = replace(config or RelaxConfig(), **changes), job_count(jobs)
    if isinstance(structures, (str, os.PathLike)):
        structures = load(structures)
    rank = _ranked_by(rank, top, config)
    data, atoms = prepared(structures, *{config.method, rank or config.method})
    _comparable(data, atoms, config, rank, valid_only)
    if out is not None and Path(out).suffix != ".db":
        raise InputError(f"{out}: results go to an ASE database; choose a name that ends in .db")
    wanted = as_json({"structures": digest(data), "config": asdict(config), "rank": rank})
    with contextlib.ExitStack() as stack:
        if out is None:
            out = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "relaxed.db"
        store = Store(Path(out), atoms, wanted)
        chosen: list[int] = list(range(len(atoms)))
        if valid_only:
            found = perceive_all(atoms, jobs=jobs, progress=progress)
            chosen = [k for k in chosen if not found[k]["failure"]]
        predicted = _rank(store, chosen, rank, jobs, progress) if rank else {}
        unranked = {k: e for k, e in predicted.items() if isinstance(e, str)}
        if rank:
            chosen = sorted((k for k in chosen if k not in unranked), key=predicted.__getitem__)
        chosen = chosen[:top]
        _relax(store, chosen, config, jobs, seconds, progress)
        return _result(store, chosen, config, predicted, unranked)


def _ranked_by(rank: str | None, top: int | None, config: RelaxConfig) -> str | None:
    """The method that ranks the structures, if any; it and that of the relaxation can be computed
    here."""
    require(top is None or top >= 1, "top", top, "at least 1, or none for all")
    if rank is None and top is not None:
        cheap = config.method in XTB or config.method.startswith("potential:")
        rank = config.method if cheap else "gfn2-xtb"
    for method in filter(None, (config.method, rank)):
        check(method)
    return rank


def _comparable(
    data: Sequence[Data],
    structures: Sequence[ase.Atoms],
    config: RelaxConfig,
    rank: str | None,
    valid_only: bool,
) -> None:
    """Whether energies rank the structures, it is known what a valid one is, and the optimiser can
    move all of them."""
    names = {hill_formula(a.numbers) + f" charge {a.info.get(CHARGE, 0):+d}" for a in structures}
    formulas = sorted(name.removesuffix(" charge +0") for name in names) if rank else []
    if len(formulas) > 1:
        raise InputError(
            f"energies rank isomers, and these have different formulas: {', '.join(formulas[:5])}"
            f"{', …' if len(formulas) > 5 else ''}; rank each formula by itself"
        )
    for number, (single, atoms) in enumerate(zip(data, structures, strict=True)):
        where = named(single, f"structure {number}")
        if config.optimizer == "geometric" and atoms.pbc.any():
            raise InputError(
                f"{where}: is periodic, and optimizer geometric knows no cell; take bfgs"
            )
        if valid_only and (why := not_judged(atoms)):
            raise InputError(
                f"{where}: valid_only knows neutral closed-shell molecules, and this is "
                f"none ({why}); leave valid_only out"
            )


def _result(
    store: Store,
    chosen: Sequence[int],
    config: RelaxConfig,
    predicted: dict[int, Any],
    unranked: dict[int, str],
) -> Relaxation:
    found = store.results()
    chosen = [k for k in chosen if k in found]
    records = []
    for k in chosen:
        energy = {"predicted_energy": predicted[k]} if k in predicted else {}
        records.append({"structure": k, **energy, **found[k][0]})
    before = [store.structures[k] for k in chosen]
    return Relaxation(config, records, before, [found[k][1] for k in chosen], unranked)
