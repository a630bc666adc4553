"""PoseBusters: plausibility of molecules by themselves (Buttenschoen et al., Chem. Sci. 2024).

The tests of its configuration ``mol``, on structures that are valid as
`schnetgen_pyg.chem.perception` says. Needs the extra ``posebusters``.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

import ase
from rdkit import rdBase

from schnetgen_pyg.chem.perception import Perception
from schnetgen_pyg.evaluation.judges.base import (
    Entry,
    Judge,
    Record,
    finished,
)


@lru_cache(maxsize=2)
def _posebusters(energy: bool) -> Any:
    """PoseBusters' tests of a molecule by itself: the energy test alone, or all others."""
    import yaml
    from posebusters import PoseBusters
    from posebusters import posebusters as module

    path = Path(module.__file__).parent / "config" / "mol.yml"
    config = deepcopy(yaml.safe_load(path.read_text()))
    chosen: dict[str, Any] = {}
    for number, test in enumerate(config["modules"]):
        if test["function"] in ("loading", "energy_ratio"):
            # Loading is a matter of files; and the energy test is listed twice.
            chosen["loading" if test["function"] == "loading" else "energy"] = test
        else:
            chosen[f"other {number}"] = test
    chosen.pop("loading", None)
    test = chosen.pop("energy", None)
    config["modules"] = [test] if energy else list(chosen.values())
    return PoseBusters(config, max_workers=0)


def _tests(perception: Perception, energy: bool) -> Entry | None:
    if perception.mol is None:
        return None
    with rdBase.BlockLogs():
        table = _posebusters(energy).bust([perception.mol])
    return {str(test): bool(value) for test, value in table.iloc[0].items()}


def judge(_: ase.Atoms, perception: Perception) -> Entry | None:
    """Which tests a valid structure passed; some 20 ms."""
    return _tests(perception, energy=False)


def judge_energy(_: ase.Atoms, perception: Perception) -> Entry | None:
    """``energy``: whether a valid structure's is near those of fifty conformers (UFF); about a
    second."""
    tests = _tests(perception, energy=True)
    return None if tests is None else {"energy": all(tests.values())}


def rows(records: Sequence[Record]) -> dict[str, float]:
    """Shares of the valid structures that pass each test and all of them, and of all structures
    that pass all; what was not finished passes none."""
    entries = list(finished(records, POSEBUSTERS.name))
    valid = sum(not record["failure"] for record in records if POSEBUSTERS.name in record)
    if not valid:
        return {}
    passed = sum(all(entry.values()) for entry in entries)
    shares = {
        "PoseBusters: of all (%)": 100 * passed / len(records),
        "PoseBusters: of the valid (%)": 100 * passed / valid,
    }
    for name in dict.fromkeys(name for entry in entries for name in entry):
        share = sum(entry.get(name, False) for entry in entries) / valid
        shares[f"PoseBusters: {name.replace('_', ' ')} (%)"] = 100 * share
    return shares


def energy_rows(records: Sequence[Record]) -> dict[str, float]:
    """Share of the structures tested whose energy is plausible, and their number."""
    tested = [record[ENERGY.name] for record in records if ENERGY.name in record]
    if not tested:
        return {}
    passed = sum(entry["energy"] for entry in finished(records, ENERGY.name))
    return {
        "PoseBusters: energy, of a subset (%)": 100 * passed / len(tested),
        "PoseBusters: energies tested": len(tested),
    }


def verdict(entry: Entry) -> str:
    """The tests that failed, or how many were passed."""
    failed = [name.replace("_", " ") for name, passed in entry.items() if not passed]
    return f"fails {', '.join(failed)}" if failed else f"passes {len(entry)} tests"


POSEBUSTERS = Judge(
    name="posebusters",
    title="PoseBusters",
    judge=judge,
    rows=rows,
    verdict=verdict,
    accepts=lambda entry: all(entry.values()),
    about="Tests of plausible lengths, angles, planarity and clashes on structures that RDKit "
    "calls valid; each share is of these, “of all” counts the others as failed.",
    module="posebusters",
    extra="posebusters",
)

ENERGY = Judge(
    name="posebusters-energy",
    title="PoseBusters, energy",
    judge=judge_energy,
    rows=energy_rows,
    verdict=lambda entry: "plausible" if entry["energy"] else "too high",
    accepts=lambda entry: bool(entry["energy"]),
    about="Whether the energy is near those of fifty conformers (UFF), on some valid structures.",
    module="posebusters",
    extra="posebusters",
    cheap=False,
)
