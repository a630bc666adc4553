"""Molecular dynamics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from schnetgen_pyg.commands.options import (
    DEFAULT_POTENTIAL,
    add_device,
    add_labels,
    add_out,
    chosen,
    command_parser,
    reading,
    usable_device,
)
from schnetgen_pyg.commands.predicted import one_or_ensemble

if TYPE_CHECKING:
    from schnetgen_pyg.dynamics.run import Result


def md(arguments: Sequence[str]) -> None:
    """molecular dynamics with a potential, classical or of ring polymers"""
    from schnetgen_pyg.accelerated.radial_tables import serves
    from schnetgen_pyg.commands.output import say
    from schnetgen_pyg.commands.progress import progress
    from schnetgen_pyg.data import datasets
    from schnetgen_pyg.dynamics.config import DynamicsConfig
    from schnetgen_pyg.dynamics.run import run_dynamics
    from schnetgen_pyg.errors import InputError
    from schnetgen_pyg.potentials.model import Potential

    parser = command_parser(
        "md",
        "Move structures by a potential: one by ASE, several together by torch-sim, ring polymers "
        "by i-PI. The same command continues what was stopped.",
    )
    parser.add_argument("files", nargs="+", type=str, help="structure files")
    add_labels(parser)
    parser.add_argument(
        "--potential",
        nargs="+",
        type=str,
        default=[DEFAULT_POTENTIAL],
        help="name of a bundled potential, or model.safetensors; several are an ensemble",
    )
    parser.add_class_arguments(DynamicsConfig)
    parser.add_argument(
        "--batch",
        type=int,
        default=64,
        help="structures that are moved together; 1: one after the other, as npt and beads are",
    )
    add_device(parser)
    add_out(parser, "trajectory: .extxyz, .traj or .db; beside it NAME.log.csv, NAME.summary.json")
    options = parser.parse_args(arguments)

    members = [Potential.from_pretrained(name).double() for name in options.potential]
    members = [one.tabulate() if serves(one.representation) else one for one in members]
    result = run_dynamics(
        one_or_ensemble(members).to(usable_device(options.device)),
        datasets.load(*options.files, **reading(options)),
        options.out,
        chosen(DynamicsConfig, options),
        batch=options.batch,
        progress=progress,
        overwrite=options.overwrite,
    )
    if not result.new:
        say(f"{options.out} holds this trajectory already: nothing to do")
    for line in _figures(result):
        say(line, options.out)
    if result.stopped and len(result.stopped) == len(result.summary["structures"]):
        more = f" (and {len(result.stopped) - 1} others)" if len(result.stopped) > 1 else ""
        raise InputError(
            f"{result.stopped[0]}{more}; what came before is in {options.out}. Take a shorter "
            "--timestep, relax the structure first, or train on such configurations"
        )
    say(f"wrote {options.out}", options.out)


def _figures(result: Result) -> list[str]:
    """What is worth knowing of the trajectories, in lines."""
    lines = []
    for one in result.summary["structures"][:10]:
        error = one["temperature_error_K"]
        text = f"{one['name']}: {one['steps']} steps, {one['temperature_K']:.1f}"
        text += " K" if error is None else f" ± {error:.1f} K"
        moved = one["drift_meV_per_atom_ps"]
        lines.append(text if moved is None else f"{text}, drift {moved:.3g} meV per atom and ps")
        if one["velocities"] == "of the file":
            lines[-1] += ", velocities of the file"
    hidden = len(result.summary["structures"]) - len(lines)
    lines += [f"… and {hidden} more, in the summary"] * (hidden > 0)
    if len(result.stopped) < len(result.summary["structures"]):
        lines += result.stopped
    return lines
