"""Pre-train an encoder by GraphMVP's objective: the relative of the Boltzmann GNN in the tables.

    OMP_NUM_THREADS=1 python benchmarks/contrastive.py --data ensembles.sdf --out runs/contrastive

The run's ``model.safetensors`` is an encoder that ``fit-graph --init`` takes. The same command
continues what was stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from schnetgen_pyg import load
from schnetgen_pyg.training.contrastive import ContrastiveConfig, fit_contrastive


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", nargs="+", required=True, help="ensembles of conformers")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--num_validation", type=int, default=300)
    parser.add_argument("--precision", default="32-true")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    names = ("steps", "batch_size", "num_validation", "precision", "seed")
    config = ContrastiveConfig(**{name: getattr(options, name) for name in names})
    model = fit_contrastive(list(load(*options.data)), options.out, config)
    print(f"wrote {options.out / 'model.safetensors'}: {model.provenance.get('metrics', {})}")


if __name__ == "__main__":
    main()
