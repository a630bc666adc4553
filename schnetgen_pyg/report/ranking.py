"""Which structures come first in files and pictures, and in words by what."""

from __future__ import annotations

import math
from collections.abc import Sequence

import ase

from schnetgen_pyg.evaluation.judges import JUDGES, Record

#: What `ranking` orders by.
BY_LOG_PROB = "most probable first (log_prob)"
BY_JUDGES = "those that most judges accept first, as no log_prob is known"


def log_prob_of(atoms: ase.Atoms) -> float | None:
    """What a structure states as ``log_prob`` (nats), if it is a finite number."""
    try:
        value = float(atoms.info.get("log_prob", math.nan))
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def num_accepting(record: Record) -> int:
    """How many judges beside RDKit, which accepts what is valid, accept a structure."""
    entries = [(judge, record.get(name)) for name, judge in JUDGES.items()]
    return sum(
        judge.accepts(entry)
        for judge, entry in entries
        if judge.accepts is not None and entry is not None and "unfinished" not in entry
    )


def ranking(structures: Sequence[ase.Atoms], records: Sequence[Record]) -> tuple[list[int], str]:
    """Numbers of the valid structures, the best first, and what that means.

    The most probable ones by ``log_prob`` where any of them states it, those without it last; else
    those that most judges accept. What is alike stays in the order that it has.
    """
    valid = [number for number, record in enumerate(records) if not record["failure"]]
    known = {number: log_prob_of(structures[number]) for number in valid}
    if any(value is not None for value in known.values()):
        least = -math.inf
        order = sorted(valid, key=lambda k: -(least if known[k] is None else known[k]))  # type: ignore[operator]
        without = sum(value is None for value in known.values())
        last = f", the {without:,} without one last" if without else ""
        return order, BY_LOG_PROB + last
    return sorted(valid, key=lambda k: -num_accepting(records[k])), BY_JUDGES
