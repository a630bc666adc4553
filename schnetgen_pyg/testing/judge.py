"""The contract of a judge of structures."""

from __future__ import annotations

import json
from typing import Any

import ase
import numpy as np
from ase.build import molecule

from schnetgen_pyg.chem.bonds import connectivity
from schnetgen_pyg.chem.perception import perceive
from schnetgen_pyg.evaluation.judges.base import Entry, Judge, Record
from schnetgen_pyg.evaluation.judges.rdkit import RDKIT


def _structures() -> dict[str, ase.Atoms]:
    """Ordinary ones, and the odd ones that a generator makes, by what they are."""
    torn = molecule("CH4")
    torn.positions[1] += 5
    return {
        "methane": molecule("CH4"),
        "benzene": molecule("C6H6"),
        "acetic acid": molecule("CH3COOH"),
        "silane": molecule("SiH4"),
        "a torn molecule": torn,
        "a single atom": ase.Atoms("C"),
        "two hydrogens": molecule("H2"),
        "atoms on top of each other": ase.Atoms("C2H2", np.zeros((4, 3))),
        "atoms far apart": ase.Atoms("CO", [[0, 0, 0], [1e4, 0, 0]]),
    }


def check_judge(judge: Judge) -> None:
    """Check a judge of your own: it says the same of the same structure twice and leaves it as it
    is, what it says is plain JSON, odd structures raise nothing, and its rows are numbers.

    Raises:
        AssertionError: saying what does not hold, of which structure.
        InputError: if what the judge needs is not installed.
    """
    judge.require_installed()
    word = judge.name.isascii() and not set(judge.name) & set(" \n\t") and judge.name
    assert word, f"a name is one ASCII word, got {judge.name!r}"
    records = []
    for what, atoms in _structures().items():
        entry = _asked(judge, what, atoms)
        record = Record(RDKIT.judge(atoms, perceive(atoms)) or {})
        record.keep(perceive(atoms).mol or connectivity(atoms))
        if entry is not None:
            assert "unfinished" not in entry, "'unfinished' is said of a judge, not by it"
            record[judge.name] = entry
            if judge.verdict is not None:
                verdict = judge.verdict(entry)
                assert isinstance(verdict, str), f"{what}: a verdict is text, got {verdict!r}"
            if judge.accepts is not None:
                accepted = judge.accepts(entry)
                assert isinstance(accepted, bool), f"{what}: accepts is a bool, got {accepted!r}"
        records.append(record)
    assert any(judge.name in record for record in records) or judge.name == RDKIT.name, (
        "says nothing of any structure"
    )
    lost = [Record(failure="timeout"), Record(records[0], **{judge.name: {"unfinished": "crash"}})]
    for some, of in (
        (records, "ordinary and odd structures"),
        ([*records, *lost], "structures that it did not finish"),
        (lost, "structures that it never finished"),
        ([], "no structures"),
    ):
        _check_rows(judge.rows(some), of)


def _asked(judge: Judge, what: str, atoms: ase.Atoms) -> Entry | None:
    """What the judge says of a structure, which is checked."""
    said = []
    for _ in range(2):
        given = atoms.copy()
        try:
            entry = judge.judge(given, perceive(atoms))
        except Exception as error:
            raise AssertionError(
                f"{what}: a judge raises nothing; this one {type(error).__name__}: {error}"
            ) from error
        assert given == atoms, f"{what}: the judge changed the structure"
        if entry is not None:
            _check_plain(entry, what)
        said.append(entry)
    assert said[0] == said[1], f"{what}: asked twice it says {said[0]} and {said[1]}"
    return said[0]


def _check_plain(entry: Any, what: str) -> None:
    assert isinstance(entry, dict), f"{what}: an entry is a dictionary, got {entry!r}"
    try:
        back = json.loads(json.dumps(entry, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise AssertionError(f"{what}: not plain JSON ({error}): {entry}") from error
    assert back == entry, f"{what}: not plain JSON, which makes {back} of {entry}"


def _check_rows(rows: dict[str, Any], of: str) -> None:
    for label, value in rows.items():
        assert isinstance(label, str), f"a label is text, got {label!r}"
        number = (
            isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value)
        )
        assert number, f"the row {label!r} of {of} must be a number, got {value!r}"
