"""Tables of potentials: errors, minima, dynamics and speed."""

from __future__ import annotations

from typing import Any

from markdown_tables import commits_of, markdown, source


def potential(record: dict[str, Any]) -> str:
    """A bundled one: its errors, minima and dynamics."""
    test, minima, dynamics = (
        record["trained"]["test"],
        record["optimisation"],
        record["dynamics"],
    )
    rows = [
        ["mean error of energies (meV)", f"{test['energy_mae_mev']:.0f}"],
        ["mean error of forces (meV/Å)", f"{test['forces_mae_mev_per_angstrom']:.0f}"],
        [
            "distance of minima from those of GFN2-xTB (Å, median)",
            f"{minima['median_rmsd_angstrom']:.3f}",
        ],
        [
            "their energy above those (meV, median)",
            f"{minima['median_energy_above_minimum_mev']:.0f}",
        ],
        [
            "drift of the energy in dynamics (meV per atom and ps)",
            f"{dynamics['drift_mev_per_atom_per_ps']:.2f}",
        ],
    ]
    representation = record["checkpoint"].split("-")[1]
    note = (
        f"{test['num_structures']:.0f} configurations of isomers that it was not trained on, "
        f"{minima['num']} of them optimised; {record['trained']['step']:,} steps. "
        f"{source(f'potential_{representation}', record)}"
    )
    return markdown([f"`{record['checkpoint']}`", ""], rows) + "\n\n" + note


def potentials_rmd17(record: dict[str, Any]) -> str:
    rows = [
        [
            molecule,
            f"`{name}`",
            f"{row['parameters'] / 1e3:,.0f}",
            f"{row['seconds'] / 60 if row['seconds'] else row['minutes']:.1f}",
            f"{row['steps']:,}",
            f"{row['test']['energy_mae_mev']:.1f}",
            f"{row['test']['forces_mae_mev_per_angstrom']:.1f}",
        ]
        for molecule, rows in record["rows"].items()
        for name, row in rows.items()
    ]
    header = [
        "rMD17",
        "",
        "parameters (thousands)",
        "minutes",
        "steps",
        "energy (meV)",
        "forces (meV/Å)",
    ]
    remarks = {row["note"] for rows in record["rows"].values() for row in rows.values()}
    note = (
        "Mean absolute errors of 1,000 other frames after training on 950 (and 50 for validation) "
        "with the published hyperparameters, each for about the same short time: it says what "
        "one gets for that time, not what a model can do. "
        f"{''.join(f'Machine: {remark}. ' for remark in sorted(remarks - {''}))}"
        f"{source('potentials_rmd17', record)}"
    )
    return markdown(header, rows) + "\n\n" + note


def potentials_qm9(record: dict[str, Any]) -> str:
    names = list(dict.fromkeys(name for rows in record["rows"].values() for name in rows))
    rows = []
    for size, found in record["rows"].items():
        errors = [found[n]["test"]["energy_mae_mev"] if n in found else None for n in names]
        rows.append([f"{int(size):,}", *("" if e is None else f"{e:,.0f}" for e in errors)])
    minutes = sorted(
        {row["minutes"] for found in record["rows"].values() for row in found.values()}
    )
    note = (
        "Mean absolute error of U0 in meV on 3,000 other molecules, after "
        f"{' or '.join(f'{m:g}' for m in minutes)} minutes on one CPU core each; SchNet trained to "
        "the end on 25,000 has 43 (Schütt's thesis, figure 6). "
        f"{source('potentials_qm9', record)}"
    )
    return markdown(["training molecules", *(f"`{n}`" for n in names)], rows) + "\n\n" + note


def potentials_speed(record: dict[str, Any]) -> str:
    peers = ("torch-geometric", "graph-pes", "schnetpack")
    rows = []
    for name, cases in record["rows"].items():
        for case, row in cases.items():
            ours, found = row["ours"], [row.get(peer) for peer in peers]
            keys = ("forces_seconds", "tabulated_seconds", "recorded_seconds")
            ways = [key for key in keys if key in ours]
            rows.append(
                [f"`{name}`", *case.split(" x ")]
                + [" / ".join(f"{1000 * ours[key]:,.1f}" for key in ways)]
                + [f"{1000 * ours['step_seconds']:,.1f}", f"{ours['step_mib']:,.0f}"]
                + [
                    " / ".join(f"{peer['forces_seconds'] / ours[key]:.1f}" for key in ways)
                    + f", {peer['step_seconds'] / ours['step_seconds']:.1f}"
                    if peer
                    else ""
                    for peer in found
                ]
            )
    every = [row for cases in record["rows"].values() for row in cases.values()]
    alone = sorted({row["commit"] for row in every if not set(peers) & set(row)})
    earlier = f"Rows without peers are of another day (commit {', '.join(alone)}). "
    once = ", ".join(
        f"{name} {case}"
        for name, cases in record["rows"].items()
        for case, row in cases.items()
        if row["commit"] not in alone and row.get("repeats", 1) == 1
    )
    single = f"Of one turn only: {once}. " if once else ""
    header = ["", "atoms", "molecules", "forces (ms)", "training step (ms)", "its memory (MiB)"]
    note = (
        "One thread, published hyperparameters, medians over several turns of ours and the "
        f"peers'. {single}Forces: computed / with tabulated radial functions / recorded, where "
        "there are such. Of the peers: how many times longer a force "
        "call takes, against each, and a training step. The peers are given the neighbours; "
        "ours finds them in every call, but in recorded ones only where atoms have moved, and here "
        f"they do not. {earlier}{record['note'] and record['note'] + '. '}"
        f"{source('potentials_speed', record)}"
    )
    return markdown([*header, *peers], rows) + "\n\n" + note


#: The seed's mean errors of PaiNN in kcal/mol, on atomisation energies at the level of each set's
#: own (Amosova, Volokhov, Parakhin, Lempert, Akostelov, Voevodin, presentation): azoxy compounds,
#: explosives, neuromodulators and neurotransmitters, saccharides.
AMOSOVA = {"QM9": (27.61, 20.8, 13.43, 7.61), "PC9": (2.86, 3.03, 0.40, 0.29)}


def transfer(record: dict[str, Any]) -> str:
    """Committees on groups of substances that they have not seen."""
    groups = list(next(iter(record["rows"].values()))["groups"])
    rows = []
    for row in record["rows"].values():
        cells = [row["groups"][group] for group in groups]
        known = [f"{c['mae']:.2f} ± {c['standard_error']:.2f}" if "mae" in c else "" for c in cells]
        warned = [f"{c['spearman']:.2f}" for c in cells if "spearman" in c]
        spread = [f"{c['spread']:.2f}" for c in cells if "spread" in c]
        asked = row["asked"]
        own = f"{row['own']['mae']:.2f}" if "mae" in row["own"] else ""
        mean = f"{row['mean']:.2f}"
        rows.append([asked["set"], f"`{asked['network']}`", own, *known, mean])
        rows[-1] += [" / ".join(spread), " / ".join(warned)]
    for name, values in AMOSOVA.items():
        mean = f"{sum(values) / len(values):.2f}"
        figures = [f"{value:.2f}" for value in values]
        rows.append([f"*quoted: {name}*", "PaiNN", "", *figures, mean, "", ""])
    first = next(iter(record["rows"].values()))
    asked, config = first["asked"], first["asked"]["config"]
    counts = ", ".join(
        f"{group} {first['groups'][group]['molecules']}"
        + (f" ({left} left out)" if (left := first["groups"][group]["left_out"]) else "")
        for group in groups
    )
    note = (
        f"Mean absolute errors in kcal/mol ± their standard errors, GFN2-xTB energies. "
        f"{asked['num']:,} molecules to learn from in every set, {config['steps']:,} steps of "
        f"{config['batch_size']}, committees of {asked['members']}; molecules of the first row: "
        f"{counts}. The quoted ones are of other levels of theory and of sets as large as they are."
        f" {record['note']}{'. ' if record['note'] else ''}{source('transfer', record)}"
        f"{commits_of(record['rows'], record['commit'])}"
    )
    header = ["learned from", "", "held-out molecules of it", *groups, "mean of the groups"]
    header += ["spread of the committee", "rank correlation of spread and error"]
    return markdown(header, rows) + "\n\n" + note
