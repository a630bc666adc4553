"""Which network, trained on which molecules, can be trusted on which substances?

    python benchmarks/make_transfer.py --data DATA --out runs/transfer
    python benchmarks/transfer.py --data runs/transfer

Energies of GFN2-xTB everywhere. Training sets are ``qm9``, ``qm7``, ``moses`` and mixtures, written
``qm9+moses``, with as many molecules as a single one. They are tested on the four groups of
substances, and on molecules of the sets themselves that were not learned from. Committees: each
network is trained ``--members`` times, with other seeds for its weights and batches; the error is
that of their mean, and their spread is asked whether it warns of it. Molecules with elements that a
training set lacks are left out, and counted.

A training that was stopped continues; one that ended is not done again. Writes ``transfer.json``
and the heat map ``transfer.png``.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import ase.units
import numpy as np
import torch
from common import benchmark_parser, digest_of, kept_row, save
from scipy.stats import spearmanr
from torch_geometric.data import Data
from trainings import add_training, annealed

from schnetgen_pyg import Potential, fit_potential
from schnetgen_pyg.data.digest import digest
from schnetgen_pyg.data.readers import read
from schnetgen_pyg.data.stored import elements_in
from schnetgen_pyg.potentials.ensemble import Ensemble
from schnetgen_pyg.storage.atomic import replacing
from schnetgen_pyg.targets.prediction import predict
from schnetgen_pyg.training.config import PotentialTrainingConfig

KCAL = ase.units.kcal / ase.units.mol
SETS = ("qm9", "qm7", "moses", "qm9+qm7", "qm9+moses", "qm7+moses", "qm9+qm7+moses")
GROUPS = ("azoxy", "nitro", "neuro", "sugars")
#: Settings of each network: narrower than published, for trainings on a CPU.
NETWORKS: dict[str, dict[str, Any]] = {
    "schnet": {"hidden_channels": 128, "num_filters": 128, "num_interactions": 4, "cutoff": 5.0},
    "painn": {"hidden_channels": 64, "num_interactions": 3, "cutoff": 5.0},
    "dimenetpp": {"hidden_channels": 64, "num_blocks": 3, "cutoff": 5.0},
    "equivariant_transformer": {"hidden_channels": 64, "num_layers": 4, "cutoff": 5.0},
    "allegro": {"num_layers": 2, "cutoff": 5.0},
}


def parts(folder: Path, name: str, num: int, test: int) -> tuple[list[Data], list[Data]]:
    """Molecules of a set to learn from and to test on; of a mixture equal shares of each."""
    sources = name.split("+")
    learned: list[Data] = []
    held: list[Data] = []
    for place, source in enumerate(sources):
        data = read(folder / f"{source}.extxyz.gz")
        share = num // len(sources) + (place < num % len(sources))
        if len(data) < num + test:
            raise SystemExit(f"{source}: has {len(data):,} molecules, not {num + test:,}")
        learned += data[:share]
        held += data[num : num + test]
    return learned, held


def training(options: argparse.Namespace, seed: int) -> PotentialTrainingConfig:
    """The same for all networks."""
    return annealed(options, num_validation=max(1, options.num // 20), seed=seed)


def judged(committee: Ensemble, data: list[Data]) -> dict[str, Any]:
    """Errors of a committee in kcal/mol, and whether its spread warns of them."""
    able = [one for one in data if set(one.z.tolist()) <= set(committee.elements)]
    row: dict[str, Any] = {"molecules": len(able), "left_out": len(data) - len(able)}
    if not able:
        return row
    told = predict(committee, able, forces=False)
    true = np.array([float(one.energy) for one in able]) / KCAL
    signed = np.array([float(one.energy) for one in told]) / KCAL - true
    spread = np.array([float(one.energy_variance) for one in told]) ** 0.5 / KCAL
    errors = np.abs(signed)
    row["mae"], row["median"] = float(errors.mean()), float(np.median(errors))
    row["standard_error"] = float(errors.std() / np.sqrt(len(errors)))
    row["mean_signed"], row["spread"] = float(signed.mean()), float(spread.mean())
    if len(committee.members) > 1 and len(able) > 2:
        row["spearman"] = float(spearmanr(spread, errors).statistic)
    return row


def trained(
    network: str, train: list[Data], seed: int, folder: Path, options: argparse.Namespace
) -> Potential:
    """One member of a committee: read where it is finished."""
    finished = folder / "finished.json"
    if not finished.is_file():
        torch.manual_seed(seed)
        model = Potential(network, sorted(elements_in(train)), ["energy"], **NETWORKS[network])
        start = time.perf_counter()
        fit_potential(model, train, folder, training(options, seed))
        seconds = round(time.perf_counter() - start, 1)
        with replacing(finished) as temporary:
            temporary.write_text(json.dumps({"seconds": seconds}))
    return Potential.from_pretrained(folder / "model.safetensors")


def row(name: str, network: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The committee of a network on a training set: errors on all groups."""
    train, held = parts(options.data, name, options.num, options.test)
    folders = [folder / f"seed{seed}" for seed in range(options.members)]
    members = [trained(network, train, seed, f, options) for seed, f in enumerate(folders)]
    committee = Ensemble(members)
    found = {group: judged(committee, group_of(options, group)) for group in GROUPS}
    maes = [found[group]["mae"] for group in GROUPS if "mae" in found[group]]
    times = [json.loads((f / "finished.json").read_text())["seconds"] for f in folders]
    return {
        "parameters": sum(p.numel() for p in members[0].parameters()),
        "seconds": times,
        "own": judged(committee, held),
        "groups": found,
        "mean": float(np.mean(maes)),
        "deviation": float(np.std(maes)),
    }


def group_of(options: argparse.Namespace, group: str) -> list[Data]:
    return read(options.data / f"{group}.extxyz.gz")


def heat_map(rows: dict[str, dict[str, Any]], path: Path) -> None:
    """Errors of the committees: a panel for each group, networks beside training sets."""
    import matplotlib.pyplot as plt

    asked = [one["asked"] for one in rows.values()]
    sets = [name for name in SETS if any(one["set"] == name for one in asked)]
    networks = [name for name in NETWORKS if any(one["network"] == name for one in asked)]
    figure, panels = plt.subplots(
        1, len(GROUPS), figsize=(3.2 * len(GROUPS), 1.0 + 0.4 * len(sets)), sharey=True
    )
    for panel, group in zip(panels, GROUPS, strict=True):
        values = np.full((len(sets), len(networks)), np.nan)
        for one in rows.values():
            place = sets.index(one["asked"]["set"]), networks.index(one["asked"]["network"])
            values[place] = one["groups"][group].get("mae", np.nan)
        panel.imshow(np.log10(values), cmap="viridis_r", vmin=-0.5, vmax=2)
        for (i, j), value in np.ndenumerate(values):
            if np.isfinite(value):
                colour = "white" if value > 5 else "black"
                panel.text(j, i, f"{value:.3g}", ha="center", va="center", color=colour, size=8)
        panel.set_title(group)
        panel.set_xticks(range(len(networks)), networks, rotation=45, ha="right")
        panel.set_yticks(range(len(sets)), sets)
    figure.suptitle("Mean absolute error, kcal/mol (GFN2-xTB energies)")
    figure.savefig(path, dpi=150, bbox_inches="tight")
    plt.close(figure)


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--data", type=Path, default=Path("runs/transfer"))
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--num", type=int, default=5_000, help="molecules to learn from")
    parser.add_argument("--test", type=int, default=500, help="of each set, to test on")
    parser.add_argument("--members", type=int, default=3, help="of a committee")
    add_training(parser, steps=10_000, learning_rate=1e-3)
    parser.add_argument("--out", type=Path, default=Path("runs/transfer/trained"))
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    record: dict[str, Any] = {"note": options.note, "threads": options.threads, "rows": {}}
    contents = {group: digest(group_of(options, group)) for group in GROUPS}
    for name in options.sets:
        learned, held = parts(options.data, name, options.num, options.test)
        content = {"train": digest(learned), "held": digest(held)} | contents
        for network in options.networks:
            asked = {"set": name, "network": network, "settings": NETWORKS[network]}
            asked |= {"num": options.num, "members": options.members, "data": content}
            asked |= {"config": asdict(training(options, 0))}
            title = f"{network}, {name}"
            folder = options.out / f"{network}-{name}-{digest_of(asked)}"
            record["rows"][title] = found = kept_row(
                options.out / "rows.json",
                title,
                asked,
                partial(row, name, network, folder, options),
            )
            print(title, json.dumps(found["groups"]), flush=True)
            save("transfer", record, 0, options.results)
            heat_map(record["rows"], options.results / "transfer.png")


if __name__ == "__main__":
    main()
