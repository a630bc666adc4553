"""PoseBusters: plausibility of molecules by themselves (Buttenschoen et al., Chem. Sci. 2024).

The tests of its configuration ``mol``, on structures that are valid as
`schnetgen_pyg.chem.perception` says. Needs the extra ``posebusters``.
"""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

import ase
from rdkit import rdBase

from schnetgen_pyg.chem.perception import perceive
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.evaluation.judges.records import Record
from schnetgen_pyg.parallel import Failure, each_in_processes

#: Structures whose tests are one task.
CHUNK = 50


#: Seconds that a task may take, or an energy test.
TIMEOUT = 120.0


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


def _tests(structures: Sequence[ase.Atoms], energy: bool = False) -> list[dict[str, bool]]:
    tester = _posebusters(energy)
    with rdBase.BlockLogs():
        table = tester.bust([perceive(atoms).mol for atoms in structures])
    return [{str(test): bool(value) for test, value in row.items()} for _, row in table.iterrows()]


def _energy(structures: Sequence[ase.Atoms]) -> list[bool]:
    return [all(tests.values()) for tests in _tests(structures, energy=True)]


def posebusters(
    structures: Sequence[ase.Atoms],
    records: Sequence[Record],
    *,
    jobs: int,
    energy_tests: int = 0,
    energy_seconds: float = 600.0,
    seed: int = 0,
    progress: Callable[..., Any] | None = None,
) -> None:
    """Add to the record of every valid structure ``posebusters``: which tests it passed. A
    structure that hangs or kills PoseBusters passes none.

    The energy test compares with fifty conformers (UFF) and takes about half a second.

    Args:
        structures, records: as `schnetgen_pyg.evaluation.judges.judge` has them.
        jobs: processes.
        energy_tests: so many valid structures, chosen at random, also undergo the energy test
            (``energy`` in the record).
        energy_seconds: no energy test is begun after this time.
        seed: of that choice.
        progress: such as ``tqdm.tqdm``.

    Raises:
        InputError: if PoseBusters is not installed.
    """
    if importlib.util.find_spec("posebusters") is None:
        raise InputError('PoseBusters is not installed; pip install "schnetgen_pyg[posebusters]"')
    valid = [k for k, record in enumerate(records) if not record["failure"]]
    subset = random.Random(seed).sample(valid, min(energy_tests, len(valid)))
    bar = progress(total=len(valid) + len(subset), desc="PoseBusters") if progress else None

    def run(function: Any, chosen: list[int], **limits: Any) -> Iterator[tuple[Record, Any]]:
        items = [structures[k] for k in chosen]
        for place, result in each_in_processes(function, items, jobs=jobs, **limits):
            yield records[chosen[place]], result
            if bar is not None:
                bar.update(1)

    for record, result in run(_tests, valid, size=CHUNK, timeout=TIMEOUT):
        record["posebusters"] = {} if isinstance(result, Failure) else result
    for record, result in run(_energy, subset, size=1, timeout=TIMEOUT, seconds=energy_seconds):
        record["energy"] = not isinstance(result, Failure) and result
    if bar is not None:
        bar.close()
