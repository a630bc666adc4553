"""Tables of what is asked of a generator: properties, formulas, fingerprints, hydrogens, fragments;
beside published figures of others, which were not measured here."""

from __future__ import annotations

from functools import partial
from typing import Any

from markdown_tables import commits_of, markdown, source

#: Models that may have these tables.
MODELS = ("qm9-targets", "qm9", "druglike")
#: Mean absolute errors on conditional QM9, all at second hand: EDM (Hoogeboom et al., ICML 2022),
#: EEGSDE (Bao et al., ICLR 2023), JODO (Huang et al., arXiv:2305.12347), NExT-Mol (Liu et al.,
#: ICLR 2025); the floor is the error of their common judge on held-out molecules.
ORDER = ("mu", "alpha", "Cv", "homo", "lumo", "gap")
PUBLISHED = {
    "EDM": (1.123, 2.78, 1.065, 371, 601, 671),
    "EEGSDE": (0.777, 2.50, 0.941, 302, 447, 487),
    "JODO": (0.628, 1.42, 0.581, 226, 256, 335),
    "NExT-Mol": (0.507, 1.16, 0.512, 205, 235, 297),
    "floor of their judge": (0.043, 0.09, 0.040, 39, 36, 65),
}
#: cG-SchNet (Gebauer et al., Nat. Commun. 13, 973, 2022), C7H10O2 at −0.1 eV in 100,000 samples.
CG_SCHNET = {"samples": 100_000, "different": 3_349, "relaxed": 2_719}
#: Shares of QM9's test molecules with RMSD of hydrogens below 0.05, 0.1 and 0.5 Å, from Quetzal's
#: paper.
HYDROGENS = {
    "Quetzal": (0.90, 0.94, 0.99),
    "Open Babel + Hydride": (0.13, 0.43, 0.79),
    "Symphony": (0.24, 0.35, 0.44),
}


def _end(kind: str, name: str, record: dict[str, Any]) -> str:
    """Of every caption: how long it was trained, the note and the source."""
    step = record.get("training", {}).get("step")
    trained = f"{step:,} training steps. " if step else ""
    note = f"{record['note']}. " if record.get("note") else ""
    rows = {title: row for title, row in record["rows"].items() if "commit" in row}
    where = source(f"{kind}_{name}", record)
    return f"{trained}{note}{where}{commits_of(rows, record['commit'])}"


def _figure(value: float | None) -> str:
    """With three digits, or two behind the point."""
    return "" if value is None else f"{value:,.0f}" if value >= 20 else f"{value:.3g}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"


def conditional(name: str, record: dict[str, Any]) -> str:
    units = {key: one["unit"] for key, one in record["quantities"].items()}
    names = [key for key in ORDER if key in units]
    rows, hits = [], []
    for title, row in record["rows"].items():
        cells = [row.get(key, {}) for key in names]
        rows.append([title, *(_figure(cell.get("mae")) for cell in cells)])
        known = [cell["known_to_judge"] for cell in cells if cell]
        without = [_figure(cell.get("mae_unknown")) for cell in cells]
        share = f"*without those that the judge was trained on ({_percent(max(known))} % at most)*"
        rows.append([share, *without])
        seconds = [cell["seconds_a_molecule"] for cell in cells if cell.get("seconds_a_molecule")]
        valid = min(cell["valid"] for cell in cells if cell)
        time = _figure(max(seconds)) if seconds else ""
        shares = [_percent(cell.get("hits")) for cell in cells]
        hits.append([title, *shares, _percent(valid), time])
    for kind, title in (
        ("judge", "*floor: our judge on held-out molecules*"),
        ("ranker", "*the ranking model on held-out molecules*"),
        ("shuffled", "*held-out molecules against targets of others*"),
    ):
        rows.append([title, *(_figure(record["floor"][key][kind]) for key in names)])
    for title, values in PUBLISHED.items():
        figures = dict(zip(ORDER, values, strict=True))
        rows.append([f"*quoted: {title}*", *(_figure(figures[key]) for key in names)])
    header = [f"{key} ({units[key]})" for key in names]
    limits = [f"{key} ± {record['quantities'][key]['tolerance']:g} {units[key]}" for key in names]
    note = (
        f"Mean absolute errors by our judge, {record['num']:,} targets a property, each with the "
        "number of heavy atoms of the molecule that it is of; below it the share (%) within a "
        "tolerance of the target. *Quoted*: at second hand, of other judges. "
        f"{_end('conditional', name, _flat(record))}"
    )
    second = ["hits (%)", *limits, "valid, least (%)", "seconds a molecule, most"]
    return "\n\n".join([markdown(["", *header], rows), markdown(second, hits), note])


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    """The record with its rows of ways and properties in one."""
    rows = {
        f"{key}, {way}": row for way, found in record["rows"].items() for key, row in found.items()
    }
    return record | {"rows": rows}


def unseen_formula(name: str, record: dict[str, Any]) -> str:
    rows = []
    for title, row in record["rows"].items():
        strain = row.get("strain", {})
        for num, counts in row["counts"].items():
            seconds = row["generation"]["seconds"][num]
            rows.append(
                [
                    title,
                    f"{int(num):,}",
                    f"{counts['valid']:,}",
                    f"{counts['different']:,}",
                    f"{counts['different_stereoisomers']:,}",
                    _percent(strain.get("kept")),
                    "" if seconds is None else f"{seconds / 60:,.0f}",
                ]
            )
    kept = _percent(CG_SCHNET["relaxed"] / CG_SCHNET["different"])
    quoted = [f"{CG_SCHNET['samples']:,}", "", f"{CG_SCHNET['different']:,}", "", kept, ""]
    rows.append(["*quoted: cG-SchNet, −0.1 eV per atom*", *quoted])
    relaxed = [row["strain"] for row in record["rows"].values() if "strain" in row]
    sample = max((one["structures"] for one in relaxed), default=0)
    header = ["", "samples", "valid", "different isomers", "with stereochemistry"]
    header += ["kept when relaxed (%)", "minutes"]
    note = (
        f"{record['formula']}, of which the training had none. Different: by SMILES without "
        f"stereochemistry. Kept: the constitution of {sample} different ones relaxed with "
        f"{record['method']}; cG-SchNet's own relaxation is another. "
        f"{_end('unseen_formula', name, record)}"
    )
    return f"{markdown(header, rows)}\n\n{note}"


def fingerprints(name: str, record: dict[str, Any]) -> str:
    columns = {
        "mean": ("mean", ".3f"),
        "median": ("median", ".3f"),
        "above_half": ("above 0.5", ".1%"),
        "the_same": ("the same fingerprint", ".1%"),
        "best_mean": ("best for each, mean", ".3f"),
        "best_the_same": ("best: the same", ".1%"),
        "valid": ("valid", ".1%"),
        "seconds_a_molecule": ("seconds a molecule", ".2g"),
    }
    rows = [
        [
            title,
            *(
                f"{row[k]:{form}}" if row.get(k) is not None else ""
                for k, (_, form) in columns.items()
            ),
        ]
        for title, row in record["rows"].items()
    ]
    note = (
        f"Tanimoto's similarity of Morgan fingerprints (radius 2, 1,024 bits) to the molecule that "
        f"was asked for: {record['targets']:,} held-out ones, {record['each']} molecules for each. "
        f"{_end('fingerprints', name, record)}"
    )
    return f"{markdown(['similarity', *(title for title, _ in columns.values())], rows)}\n\n{note}"


def hydrogens(name: str, record: dict[str, Any]) -> str:
    limits = ("0.05", "0.1", "0.5")
    rows = []
    for title, row in record["rows"].items():
        shares = [
            _percent(row[kind][f"below_{limit}"])
            for kind in ("rmsd", "rotamers_forgiven")
            for limit in limits
        ]
        energy = row.get("energy", {})
        rows.append(
            [
                title,
                *shares,
                _percent(row["rmsd"]["numbers_right"]),
                f"{energy['median']:.2f}" if "median" in energy else "",
                f"{energy['mean']:.2f}" if "mean" in energy else "",
                _figure(row["molecules_per_second"]),
            ]
        )
    for title, values in HYDROGENS.items() if name != "druglike" else ():
        rows.append([f"*quoted: {title}*", *map(_percent, values), *[""] * 7])
    header = ["", *(f"below {limit} Å (%)" for limit in limits)]
    header += [f"rotamers forgiven: {limit} Å" for limit in limits]
    header += ["numbers right (%)", "energy above, median (kcal/mol)", "mean", "molecules a second"]
    note = (
        f"{record['molecules']:,} held-out molecules without their hydrogens; RMSD of these, the "
        "heavy atoms where they were. A refused molecule, or one with other numbers of hydrogens, "
        f"is below no limit. Energies by {record['method']} of {record['energies']} molecules "
        f"above those with the real hydrogens. One thread. {_end('hydrogens', name, record)}"
    )
    return f"{markdown(header, rows)}\n\n{note}"


def completions(name: str, record: dict[str, Any]) -> str:
    keys = {"valid": "valid (%)", "unmoved": "fragment unmoved (%)"}
    keys |= {"orders_kept": "its bond orders, of the valid (%)"}
    keys |= {"unique": "different, of the valid (%)"}
    rows = []
    for title, row in record["rows"].items():
        found = [key for key in row if key.startswith("found_in_")]
        known = [f"{_percent(row[key])} in {int(key.removeprefix('found_in_')):,}" for key in found]
        frequency = [
            f"{_percent(one)} in {int(k):,}" for k, one in row.get("frequency", {}).items()
        ]
        rows.append(
            [
                title,
                f"{row['tasks']} × {row['draws']:,}",
                *(_percent(row[key]) for key in keys),
                ", ".join(known),
                ", ".join(frequency),
                _figure(row["seconds_a_molecule"]),
            ]
        )
    header = ["", "fragments × draws", *keys.values(), "known one found (%)"]
    header += ["by frequency in the training (%)", "seconds a molecule"]
    linkers = record["rows"].get("linkers", {})
    strains = [
        f"{words} {linkers[key]['released_median']:.1f}"
        for key, words in {"strain": "joined", "strain_real": "the real ones"}.items()
        if "released_median" in linkers.get(key, {})
    ]
    told = f"Energy released by {record['method']}, median kcal/mol: {', '.join(strains)}. "
    note = (
        "Scaffolds: Murcko's, of held-out molecules. *By frequency*: what drawing sets of side "
        "chains as often as training molecules have them would find. "
        f"{told if strains else ''}{_end('completions', name, record)}"
    )
    return f"{markdown(header, rows)}\n\n{note}"


#: By the name of its record, what makes the table.
TABLES = {
    f"{kind.__name__}_{name}": partial(kind, name)
    for kind in (conditional, unseen_formula, fingerprints, hydrogens, completions)
    for name in MODELS
}
