"""Judges of structures by their name, one file each; users may register their own."""

from __future__ import annotations

from schnetgen_pyg.evaluation.judges.base import Entry, Judge, Record, finished
from schnetgen_pyg.evaluation.judges.edm import EDM
from schnetgen_pyg.evaluation.judges.openbabel import OPENBABEL
from schnetgen_pyg.evaluation.judges.posebusters import ENERGY, POSEBUSTERS
from schnetgen_pyg.evaluation.judges.rdkit import RDKIT
from schnetgen_pyg.registry import Registry

__all__ = ["JUDGES", "Entry", "Judge", "Record", "default_judges", "finished"]

#: All judges, in the order of tables.
JUDGES: Registry[Judge] = Registry(
    "judge", {judge.name: judge for judge in (RDKIT, EDM, OPENBABEL, POSEBUSTERS, ENERGY)}
)


def default_judges() -> tuple[str, ...]:
    """Names of the judges that are cheap and installed."""
    return tuple(name for name, judge in JUDGES.items() if judge.cheap and judge.installed)
