"""Figures of sets of records: what is valid, different, and known from elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from schnetgen_pyg.chem.identity import IDENTITIES
from schnetgen_pyg.evaluation.judges import JUDGES, Record
from schnetgen_pyg.evaluation.judges.rdkit import RDKIT
from schnetgen_pyg.evaluation.seen import Seen


def of_set(records: Sequence[Record]) -> dict[str, Any]:
    """Figures of one set of structures by itself."""
    failures = Counter(record["failure"] for record in records if record["failure"])
    valid = sum(not record["failure"] for record in records)
    unique = {name: len(_different(records, name)) for name in IDENTITIES}
    return {
        "n": len(records),
        "valid": valid,
        "failures": dict(failures.most_common()),
        "unique": unique,
        "uniqueness": unique["smiles"] / max(valid, 1),
        "judges": {
            name: judge.rows(records)
            for name, judge in JUDGES.items()
            if name == RDKIT.name or any(name in record for record in records)
        },
    }


def of_known(
    records: Sequence[Record], references: Mapping[str, Sequence[Record]], seen: Seen | None
) -> dict[str, Any]:
    """What of the structures was seen by their generator, is in reference sets, or new.

    What was seen, or is in an earlier set, is not counted as a find of a later one: only ``train``
    says how many of all its molecules were made.
    """
    if seen is None and not references:
        return {}
    made = {name: _different(records, name) for name in IDENTITIES}
    known: dict[str, set[str]] = {name: set() for name in IDENTITIES}
    result: dict[str, Any] = {"matches": {}, "hits": {}, "references": {}}
    if seen is not None:
        both = {
            name: made[name].union(*(_different(r, name) for r in references.values()))
            for name in IDENTITIES
        }
        known = {name: seen.holds(name, both[name]) for name in IDENTITIES}
        result["seen"] = {
            "generator": seen.name,
            "different": {name: seen.count(name) for name in IDENTITIES},
            "found": {name: len(made[name] & known[name]) for name in IDENTITIES},
            "hits": {name: _hits(records, name, known[name]) for name in IDENTITIES},
        }
    trained = known["smiles"] if seen is not None else None
    for reference, theirs in references.items():
        own = {name: _different(theirs, name) for name in IDENTITIES}
        if reference == "train":
            trained = own["smiles"] if trained is None else trained
        else:
            own = {name: own[name] - known[name] for name in IDENTITIES}
        result["matches"][reference] = {k: len(made[k] & own[k]) for k in IDENTITIES}
        result["hits"][reference] = {k: _hits(records, k, own[k]) for k in IDENTITIES}
        counts = {k: len(own[k]) for k in IDENTITIES}
        result["references"][reference] = of_set(theirs) | {"own": counts}
        known = {name: known[name] | own[name] for name in IDENTITIES}
    result["new"] = {name: len(made[name] - known[name]) for name in IDENTITIES}
    if trained is not None:
        result["novelty"] = len(made["smiles"] - trained) / max(len(made["smiles"]), 1)
    return result


def _different(records: Sequence[Record], name: str) -> set[str]:
    return {record[name] for record in records if name in record}


def _hits(records: Sequence[Record], name: str, among: set[str]) -> int:
    return sum(record.get(name) in among for record in records)


def origins(
    records: Sequence[Record], references: Mapping[str, Sequence[Record]], seen: Seen | None
) -> list[str]:
    """Where the molecule of each structure is known from: ``seen`` by the generator, the first
    reference set that holds it, ``new``, or ``valid`` where nothing is known; the failure of a
    structure that is none."""
    found = _different(records, "smiles")
    places = {} if seen is None else {"seen": seen.holds("smiles", found)}
    places |= {name: _different(theirs, "smiles") for name, theirs in references.items()}
    otherwise = "new" if places else "valid"
    return [
        record["failure"]
        or next((name for name, texts in places.items() if record["smiles"] in texts), otherwise)
        for record in records
    ]


def notes(figures: Mapping[str, Any], records: Sequence[Record]) -> list[str]:
    """Sentences below a table: what novelty is against, and which structures are judged
    otherwise or not at all."""
    lines = [_novelty(figures)]
    charged = sum("charge" in record for record in records)
    if charged:
        lines.append(
            f"charged structures: {charged:,}, judged with their charge; EDM and Open Babel, whose "
            "tables are of neutral molecules, do not judge them"
        )
    open_shell = sum("spin_multiplicity" in record for record in records)
    if open_shell:
        lines.append(
            f"structures that state unpaired electrons: {open_shell:,}, which count as radicals; "
            "EDM and Open Babel do not judge them"
        )
    absent = [judge.title for judge in JUDGES.values() if not judge.installed]
    if absent:
        extras = {judge.extra for judge in JUDGES.values() if not judge.installed and judge.extra}
        source = f'; pip install "schnetgen_pyg[{",".join(sorted(extras))}]"' if extras else ""
        lines.append(f"judges that are not installed: {'; '.join(absent)}{source}")
    return lines


def _novelty(figures: Mapping[str, Any]) -> str:
    if "novelty" not in figures:
        return (
            "novelty is not judged, as nothing says what the generator was trained on; name it "
            "(model=, --checkpoint) or its training structures (train=, --train)"
        )
    share = f"{100 * figures['novelty']:.1f} % of {figures['unique']['smiles']:,}"
    if "seen" in figures:
        seen = figures["seen"]
        known = f"{seen['different']['smiles']:,} that {seen['generator']} was trained on"
    else:
        known = f"{figures['references']['train']['unique']['smiles']:,} of train"
    return f"novelty: {share} different valid molecules are not among the {known}"
