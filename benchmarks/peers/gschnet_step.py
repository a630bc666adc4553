"""Time a training step of G-SchNet as schnetpack-gschnet implements it.

The peer has its own environment; nothing of schnetgen_pyg is imported here:

    git clone https://github.com/atomistic-machine-learning/schnetpack-gschnet
    git -C schnetpack-gschnet checkout f60addf          # version 1.1.0
    pip install schnetpack==2.2.0 ./schnetpack-gschnet

schnetpack declares Python ≥ 3.12. With an older one install both with ``--no-deps
--ignore-requires-python``, then what they need without these options.

    OMP_NUM_THREADS=1 python benchmarks/peers/gschnet_step.py --data train.extxyz.gz

The batch is the first molecules of the file with every generation step of one sampled trajectory
each. Data, model and loss are the peer's own classes with the settings of its experiment
``gschnet_qm9``; of these only the numbers of molecules, interaction blocks and features can be
changed here. The model has no conditions.

Two times are measured, both without worker processes and without Lightning's own work:

- ``prepare_seconds``: reading the molecules from the database, neighbour lists, sampling and
  slicing of the trajectories, collation. The peer's default leaves this to six workers.
- ``step_seconds``: forward, loss, backward and the optimiser's step (AdamW without weight decay,
  the peer's default, which is Adam).

Every repeat prepares the same trajectories from a fixed seed: their number of nodes is random.
Two untimed steps come first. The result is one line of JSON.

With 20 molecules the messages of one layer take 78 MB. glibc takes so large a tensor from the
kernel anew each time, and the page faults can cost more than the arithmetic (``time`` shows them
as system time). `common.MEMORY_KEPT` has the variables that keep the memory in the process.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

import ase.io
import torch
from ase import Atoms
from schnetpack.data import AtomsDataFormat, AtomsLoader, BaseAtomsData, create_dataset
from schnetpack.nn.cutoff import CosineCutoff
from schnetpack.nn.radial import GaussianRBF
from schnetpack.transform import CastTo32, SubtractCenterOfMass
from schnetpack_gschnet import (
    ConditionalGenerativeSchNet,
    ConditionalGenerativeSchNetTask,
    SchNet,
    properties,
)
from schnetpack_gschnet.data import gschnet_collate_fn
from schnetpack_gschnet.transform import (
    BuildAtomsTrajectory,
    ConditionalGSchNetNeighborList,
    ConnectivityCheck,
    OrderByDistanceToOrigin,
)

#: Of the experiment ``gschnet_qm9``: radii in Å and the types of atoms and tokens.
CUTOFFS = {"model_cutoff": 10.0, "prediction_cutoff": 5.0, "placement_cutoff": 1.7}
COVALENT_RADII = {"use_covalent_radii": True, "covalent_radius_factor": 1.1}
TOKENS = {"origin_type": 121, "focus_type": 122, "stop_type": 123}
ATOM_TYPES = [1, 6, 7, 8, 9]

Batch = dict[str, torch.Tensor]


def database(molecules: list[Atoms], path: Path) -> BaseAtomsData:
    """The molecules in an ASE database, read through the peer's transforms."""
    dataset = create_dataset(str(path), AtomsDataFormat.ASE, "Ang", property_unit_dict={})
    bare = [Atoms(m.numbers, m.positions) for m in molecules]
    dataset.add_systems([{}] * len(bare), bare)
    connected = ConnectivityCheck(
        CUTOFFS["placement_cutoff"], *COVALENT_RADII.values(), return_inputs=False
    )
    if not all(connected(dataset[i]) for i in range(len(dataset))):
        raise SystemExit("a molecule is not connected; the peer cannot build a trajectory of it")
    dataset.transforms = [
        SubtractCenterOfMass(),
        OrderByDistanceToOrigin(),
        ConditionalGSchNetNeighborList(**CUTOFFS, **COVALENT_RADII),
        BuildAtomsTrajectory(centered=True, **TOKENS, draw_random_samples=0, sort_idx_i=False),
        CastTo32(),
    ]
    return dataset


def prepare(dataset: BaseAtomsData, seed: int = 0) -> Batch:
    """One batch of all generation steps of all molecules."""
    torch.manual_seed(seed)
    loader = AtomsLoader(dataset, batch_size=len(dataset), collate_fn=gschnet_collate_fn)
    return next(iter(loader))


def build_task(num_interactions: int, num_features: int) -> ConditionalGenerativeSchNetTask:
    """The peer's model and loss; its classes choose heads of 5 layers, 202 bins up to 6.7 Å."""
    cutoff = CUTOFFS["model_cutoff"]
    representation = SchNet(
        n_atom_basis=num_features,
        n_interactions=num_interactions,
        radial_basis=GaussianRBF(n_rbf=25, cutoff=cutoff),
        cutoff_fn=CosineCutoff(cutoff),
        max_z=130,
    )
    model = ConditionalGenerativeSchNet(
        representation,
        ATOM_TYPES,
        **TOKENS,
        **CUTOFFS,
        type_prediction_n_hidden=256,
        distance_prediction_n_hidden=256,
    )
    return ConditionalGenerativeSchNetTask(
        model,
        optimizer_cls=torch.optim.AdamW,
        optimizer_args={"lr": 1e-4, "weight_decay": 0.0},
    )


def train_step(
    task: ConditionalGenerativeSchNetTask, optimizer: torch.optim.Optimizer, batch: Batch
) -> float:
    """One optimiser step; returns the loss, for which a GPU is waited for."""
    optimizer.zero_grad()
    loss = task.loss_fn(task.predict_without_postprocessing(batch), batch)
    loss.backward()
    optimizer.step()
    return loss.item()


def measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The result of the benchmark; progress goes to stderr."""
    molecules = ase.io.read(args.data, index=f":{args.molecules}", format="extxyz")
    if len(molecules) < args.molecules:
        raise SystemExit(f"{args.data} holds only {len(molecules)} molecules")
    dataset = database(molecules, folder / "molecules.db")
    task = build_task(args.interactions, args.features).to(args.device)

    def prepared() -> Batch:
        return {key: value.to(args.device) for key, value in prepare(dataset).items()}

    optimizer = task.configure_optimizers()
    for _ in range(2):
        train_step(task, optimizer, prepared())

    prepare_seconds, step_seconds = [], []
    for repeat in range(args.repeats):
        start = perf_counter()
        batch = prepared()
        middle = perf_counter()
        loss = train_step(task, optimizer, batch)
        step_seconds.append(round(perf_counter() - middle, 4))
        prepare_seconds.append(round(middle - start, 4))
        print(
            f"{repeat + 1}/{args.repeats}: prepared in {prepare_seconds[-1]} s, step in "
            f"{step_seconds[-1]} s, loss {loss:.4f}; {len(batch[properties.idx_i])} directed "
            f"edges, {len(batch[properties.pred_r_ij])} distances",
            file=sys.stderr,
        )
    packages = ("schnetpack", "schnetpack_gschnet", "torch")
    return {
        "peer": "schnetpack-gschnet",
        "versions": {p: version(p) for p in packages} | {"python": platform.python_version()},
        "threads": torch.get_num_threads(),
        "molecules": args.molecules,
        "interactions": args.interactions,
        "features": args.features,
        "device": args.device,
        "parameters": sum(p.numel() for p in task.parameters()),
        "partial_molecules": len(batch[properties.n_atoms]),
        "nodes": len(batch[properties.Z]),
        "edges": len(batch[properties.idx_i]),
        "prepare_seconds": prepare_seconds,
        "step_seconds": step_seconds,
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="molecules, .extxyz or .extxyz.gz")
    parser.add_argument("--molecules", type=int, default=20, help="molecules of a batch")
    parser.add_argument("--interactions", type=int, default=9, help="interaction blocks")
    parser.add_argument("--features", type=int, default=128, help="features of an atom")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    if min(args.molecules, args.repeats, args.threads) < 1:
        parser.error("--molecules, --repeats and --threads must be at least 1")
    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        result = measure(args, Path(folder))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
