"""Tables of models that make molecules of any composition, beside published figures of others."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from common import RESULTS
from markdown_tables import commits_of, markdown, source
from perception import OURS, OWN

#: Models that have these tables, and their row in the table of perception.
MODELS = {"qm9": "qm9", "druglike": "druglike"}

#: Columns of the table of quality: key, title.
COLUMNS = {
    "edm_atoms": "EDM: atoms stable",
    "edm_stable": "EDM: molecules stable",
    "edm_valid": "EDM: valid",
    "edm_valid_unique": "EDM: valid and unique",
    "valid": "strict: valid",
    "valid_unique": "strict: valid and unique",
    "novel": "novel, of these",
    "valid_unique_novel": "valid, unique and novel",
    "own_bonds": "own bonds: a molecule",
    "own_bonds_perceived": "own bonds: the same as perceived",
    "openbabel": "Open Babel: valid",
    "posebusters": "PoseBusters: passed",
    "posebusters_all_tests": "PoseBusters: and the energy test",
}
#: Published figures of 10,000 structures, in percent, as their papers have them or, *at second
#: hand*, as others quote them. They were not measured here.
QUOTED: dict[str, dict[str, dict[str, float]]] = {
    "qm9": {
        "G-SchNet": {"edm_atoms": 95.7, "edm_stable": 68.1, "edm_valid": 85.5},
        "Quetzal": {
            "edm_atoms": 98.3,
            "edm_stable": 87.6,
            "edm_valid": 94.7,
            "edm_valid_unique": 90.1,
        },
        "EDM, at second hand": {"edm_atoms": 98.7, "edm_stable": 82.0, "edm_valid": 91.9},
        "GeoLDM, at second hand": {"edm_atoms": 98.9, "edm_stable": 89.4, "edm_valid": 93.8},
        "Rapidash, at second hand": {"edm_atoms": 99.4, "edm_stable": 92.9, "edm_valid": 98.1},
        "JODO, at second hand": {"valid_unique_novel": 78.0},
        "SemlaFlow, by the bonds that it emits, at second hand": {
            "edm_atoms": 99.9,
            "edm_stable": 99.7,
            "edm_valid": 99.4,
        },
    },
    "druglike": {
        "ConfSeq, GEOM, at second hand": {"own_bonds": 99.9, "posebusters_all_tests": 83.0},
        "Tabasco, GEOM, at second hand": {"posebusters_all_tests": 92.0},
    },
}
#: Strain of others: median energy released (kcal/mol) when relaxed.
QUOTED_STRAIN = {"druglike": {"Megalodon, GEOM, GFN2-xTB": {"released_median": 3.2}}}


def quality(name: str, record: dict[str, Any]) -> str:
    rows = []
    for title, row in record["rows"].items():
        rows.append([title, *(_mean(row, key) for key in COLUMNS)])
    rows.append(["*held-out molecules*", *(_percent(record["real"].get(k)) for k in COLUMNS)])
    for title, figures in QUOTED.get(name, {}).items():
        rows.append([f"*quoted: {title}*", *(_percent(figures.get(key)) for key in COLUMNS)])
    shown = _filled(["", *COLUMNS.values()], rows)
    note = (
        f"{record['structures']:,} structures of any composition for each seed, {_seeds(record)}in "
        f"percent. {_slow(record)}*What the network knows*: no rules of valence, no restarts, no "
        f"revision. {_ceiling(name)}*Quoted*: not measured here; from the papers or, at "
        f"second hand, from others that quote them. {_training(record)}{_note(record)}"
        f"{source(f'quality_{name}', record)}{commits_of(record['rows'], record['commit'])}"
    )
    return f"{markdown(*shown)}\n\n{note}"


def _seeds(record: dict[str, Any]) -> str:
    number = len(record["seeds"])
    return f"mean ± standard deviation over {number} seeds or one, " if number > 1 else ""


def _slow(record: dict[str, Any]) -> str:
    told = ""
    if record["judged"] < record["structures"]:
        told = f"Open Babel and PoseBusters: the first {record['judged']:,} of a sample. "
    if record["energies"]:
        told += f"PoseBusters' energy test: up to {record['energies']:,} of the valid ones. "
    return told


def _mean(row: dict[str, Any], key: str) -> str:
    if key not in row["summary"]:
        return ""
    mean, deviation = row["summary"][key]
    several = sum(key in run for run in row["runs"]) > 1
    return f"{mean:.1f} ± {deviation:.1f}" if several else f"{mean:.1f}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _filled(header: list[str], rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """Without the columns that nothing is known of."""
    kept = [0, *(k for k in range(1, len(header)) if any(row[k] for row in rows))]
    return [header[k] for k in kept], [[row[k] for k in kept] for row in rows]


def _ceiling(name: str) -> str:
    """The most that perception from positions can find, where that was measured."""
    path = RESULTS / "perception.json"
    rows = json.loads(path.read_text())["rows"] if path.is_file() else {}
    row = rows.get(MODELS.get(name, ""))
    if row is None:
        return ""
    figures = row["readings"][OURS]
    share = figures["kinds"].get(OWN, 0) / figures["molecules"]
    return f"{share:.2%} of {figures['molecules']:,} real molecules get their own SMILES back. "


def _training(record: dict[str, Any]) -> str:
    step = record["training"].get("step")
    return f"{step:,} training steps. " if step else ""


def _note(record: dict[str, Any]) -> str:
    return f"{record['note']}. " if record.get("note") else ""


#: Rows of the table of strain: key, title, format.
STRAIN = {
    "released_median": ("energy released, median (kcal/mol)", ".2f"),
    "released": ("mean (kcal/mol)", ".2f"),
    "released_90%": ("nine tenths release less than (kcal/mol)", ".1f"),
    "rmsd": ("RMSD all atoms (Å)", ".3f"),
    "rmsd_heavy": ("RMSD heavy atoms (Å)", ".3f"),
    "twisted": ("a torsion turns by more than 20°", ".0%"),
    "rmsd_not_twisted": ("RMSD all atoms of the others (Å)", ".3f"),
    "changed": ("constitution changed", ",d"),
    "structures": ("valid and converged", ",d"),
    "structures_relaxed": ("structures", ",d"),
}


def strain(name: str, record: dict[str, Any]) -> str:
    columns = dict(record["rows"])
    if name == "qm9":
        columns["*quoted: G-SchNet*"] = record["peer"]
    columns |= {f"*quoted: {k}*": v for k, v in QUOTED_STRAIN.get(name, {}).items()}
    rows = [
        [
            title,
            *("" if part.get(key) is None else f"{part[key]:{form}}" for part in columns.values()),
        ]
        for key, (title, form) in STRAIN.items()
    ]
    polish = record.get("polish")
    note = (
        f"Relaxed with {record['method']}; the first structures of a seed, the same ones with and "
        "without refinement. "
        + (f"Polished by `{polish['name']}`, {polish['steps']} force calls. " if polish else "")
        + f"{_note(record)}"
        f"{source(f'strain_{name}', record)}{commits_of(record['rows'], record['commit'])}"
    )
    return f"{markdown(['', *columns], rows)}\n\n{note}"


#: Distances of geometries, with their unit.
GEOMETRIES = {"bonds": "lengths of bonds (Å)", "angles": "angles (°)", "torsions": "torsions (°)"}
#: Functional groups that the table names: those whose shares are farthest from the held-out one.
NAMED = 12


def distributions(name: str, record: dict[str, Any]) -> str:
    found = record["row"]["distances"]
    rows = [
        [key, *(f"{100 * one[key]:.1f} %" for one in found.values())]
        for key, value in found["generated"].items()
        if isinstance(value, float)
    ]
    for key, title in GEOMETRIES.items():
        means = [one[key]["mean"] for one in found.values()]
        rows.append([title, *("" if mean is None else f"{mean:.4f}" for mean in means)])
        for kind in record["row"]["kinds"][key]:
            of_kind = [one[key]["types"].get(kind) for one in found.values()]
            shown = ["none there" if value is None else f"{value:.4f}" for value in of_kind]
            rows.append([f"*of {kind}*", *shown])
    parts = [markdown(["distance from held-out molecules", *found], rows)]
    parts += [_composition(record["row"])] * bool(record["row"]["composition"])
    parts.append(_groups(record["row"]["groups"]))
    counts = " and ".join(f"{n:,} of {key}" for key, n in record["molecules"].items())
    parts.append(
        f"{record['structures']:,} structures, {counts}. In percent: total variation; in Å and "
        "degrees: Wasserstein distance of each kind of elements, in the mean over what held-out "
        "molecules have, and of the most frequent kinds. Training molecules are the floor: what "
        f"two samples of the same data differ by. {_note(record)}"
        f"{source(f'distributions_{name}', record)}"
    )
    return "\n\n".join(parts)


def _composition(row: dict[str, Any]) -> str:
    """Of p(Z) and the histogram."""
    ways = row["composition"]
    titles = {
        "variation": ("formulas, total variation", "{:.3f}"),
        "jensen_shannon": ("formulas, Jensen–Shannon divergence (nats)", "{:.3f}"),
        "sizes": ("sizes, total variation", "{:.3f}"),
        "elements": ("elements, total variation", "{:.3f}"),
        "impossible": ("held-out molecules whose formula it cannot make", "{:.2%}"),
        "mean_log_prob": ("mean log-likelihood of those that it can (nats)", "{:.3f}"),
        "mean_log_prob_common": ("of those that both can", "{:.3f}"),
    }
    rows = [
        [title, *("" if way[key] is None else form.format(way[key]) for way in ways.values())]
        for key, (title, form) in titles.items()
    ]
    return markdown(["formulas, against held-out molecules", *ways], rows)


def _groups(groups: dict[str, dict[str, float]]) -> str:
    generated, *_, reference = groups.values()
    names = {*generated, *reference}
    names = sorted(names, key=lambda k: -abs(generated.get(k, 0) - reference.get(k, 0)))[:NAMED]
    rows = [
        [name.replace("_", " "), *(f"{100 * one.get(name, 0):.1f}" for one in groups.values())]
        for name in names
    ]
    return markdown(["molecules with a functional group (%), the most different", *groups], rows)


def throughput(name: str, record: dict[str, Any]) -> str:
    rows = [
        [
            title,
            f"{row['molecules_per_second']:,.3g}",
            f"{1e3 / (row['atoms'] * row['molecules_per_second']):.3g}",
        ]
        for title, row in record["rows"].items()
    ]
    stored = any(row.get("stored") for row in record["rows"].values())
    theirs = "Its figures are those of the table of generation. " if stored else ""
    atoms = next(iter(record["rows"].values()))["atoms"]
    note = (
        f"{record['molecules']:,} molecules of any composition, {atoms:.1f} atoms in the mean; the "
        f"peer's, of random weights, are taken to have as many. {theirs}*Memory kept*: the C "
        "library gives nothing back to the kernel. "
        f"{_note(record)}{source(f'throughput_{name}', record)}"
        f"{commits_of(record['rows'], record['commit'])}"
    )
    return markdown([name, "molecules per second", "placing an atom (ms)"], rows) + "\n\n" + note


def sizes(record: dict[str, Any]) -> str:
    rows = [
        [
            title,
            f"{1000 * row['seconds_per_placed_atom']:.2f}",
            f"{row['kib_per_placed_atom']:,.0f}",
            f"{row['peak_mib']:,.0f}",
        ]
        for title, row in record["rows"].items()
    ]
    header = ["", "time of a placed atom (ms)", "its memory (KiB)", "peak of the process (MiB)"]
    note = (
        f"{record['molecules']} chains CnH2n+2 with up to two oxygens at once, one thread, preset "
        f"`focus` without training, default settings without restarts. {_note(record)}"
        f"{source('sizes', record)}{commits_of(record['rows'], record['commit'])}"
    )
    return markdown(header, rows) + "\n\n" + note


def learning_curve(record: dict[str, Any]) -> str:
    rows = []
    for size, row in record["rows"].items():
        seconds = row["training_seconds"]
        minutes = "stopped and continued" if seconds is None else f"{seconds / 60:,.0f}"
        stable = row["edm"].get("EDM: stable molecules (%)")
        shares = [f"{row[key]:.1%}" for key in ("valid", "unique", "novel")]
        edm = "" if stable is None else f"{stable:.1f}%"
        rows.append([f"{int(size):,}", f"{row['steps']:,}", minutes, *shares, edm])
    header = ["training molecules", "steps", "minutes", "valid", "unique, of the valid"]
    header += ["novel, of the unique", "EDM: molecules stable"]
    note = (
        f"Preset `{record['preset']}` from nothing on {record['threads']} CPU threads, "
        f"{record['structures']:,} structures of any composition. {_note(record)}"
        f"{source('learning_curve', record)}{commits_of(record['rows'], record['commit'])}"
    )
    return markdown(header, rows) + "\n\n" + note


#: By the name of its record, what makes the table.
TABLES = {"sizes": sizes, "learning_curve": learning_curve} | {
    f"{kind.__name__}_{name}": partial(kind, name)
    for name in MODELS
    for kind in (quality, strain, distributions, throughput)
}
