"""Time the placing of atoms by schnetpack-gschnet, in the environment of `gschnet_step.py`.

The model has the peer's settings for QM9 and random weights, so what it makes are no molecules:
what is measured is the time per placed atom, and molecules of 19 atoms per second follow from it.
The stop type, which the peer predicts once more for every atom, is left out, in its favour.
The grid and the temperature are the defaults of its configuration. The result is one line of JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import sys
from importlib.metadata import version
from time import perf_counter

import torch
from gschnet_step import build_task
from schnetpack_gschnet import properties
from schnetpack_gschnet.generate_molecules import generate_molecules

ATOMS = 19


def without_stop(model: torch.nn.Module) -> None:
    """Never sample the stop type."""
    predict = model.predict_type
    device = next(model.parameters()).device
    stop = model.types_to_classes(torch.tensor([model.stop_type], device=device))

    def predict_type(inputs: dict, use_log_probabilities: bool = True) -> dict:
        inputs = predict(inputs, use_log_probabilities=use_log_probabilities)
        inputs[properties.distribution_Z][:, stop] = 0.0
        return inputs

    model.predict_type = predict_type


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--molecules", type=int, default=32, help="built at once")
    parser.add_argument("--interactions", type=int, default=6)
    parser.add_argument("--features", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    rates = []
    with contextlib.redirect_stdout(sys.stderr), torch.no_grad():
        model = build_task(args.interactions, args.features).model.eval().to(args.device)
        without_stop(model)
        for repeat in range(args.repeats + 1):
            start = perf_counter()
            generate_molecules(
                model,
                args.molecules,
                ATOMS,
                grid_distance_min=0.7,
                grid_spacing=0.05,
                conditions={"trajectory": {}, "step": {}, "atom": {}},
                device=torch.device(args.device),
                t=0.1,
            )
            atoms = args.molecules * ATOMS
            seconds = perf_counter() - start
            if repeat:
                rates.append(atoms / seconds)
            print(f"{atoms} atoms in {seconds:.1f} s", file=sys.stderr)
    packages = ("schnetpack", "schnetpack_gschnet", "torch")
    result = {
        "peer": "schnetpack-gschnet",
        "versions": {p: version(p) for p in packages} | {"python": platform.python_version()},
        "atoms_per_second": rates,
        "molecules_per_second": sorted(rates)[len(rates) // 2] / ATOMS,
        "batch": args.molecules,
        "device": args.device,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
