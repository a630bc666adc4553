"""The command line: ``schnetgen COMMAND``, one of `COMMANDS`."""

from __future__ import annotations

import contextlib
import difflib
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, Namespace

from . import __name__ as package
from .presets import PRESETS

DEFAULT_CHECKPOINT = "c7h10o2"
DEFAULT_POTENTIAL = "c7h10o2-painn-potential"


class Parser(ArgumentParser):
    """Flags and one flat YAML file; a misspelt key is answered with the nearest valid one."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        found = re.search(r"[Oo]ption '([\w.-]+)'|arguments: --([\w-]+)|Key '([\w.-]+)'", message)
        if found:
            wrong = next(group for group in found.groups() if group)
            known = [action.dest for action in self._actions]
            near = difflib.get_close_matches(wrong.replace("-", "_"), known, n=1)
            message += f" (did you mean {near[0]!r}?)" if near else ""
        print(f"{self.prog}: error: {message}\nSee {self.prog} --help", file=sys.stderr)
        sys.exit(2)


def _settings(kind: type, options: Namespace) -> Any:
    names = {field.name for field in fields(kind)}
    return kind(**{name: value for name, value in vars(options).items() if name in names})


def _parser(command: str, description: str) -> Parser:
    parser = Parser(prog=f"schnetgen {command}", description=description, version=None)
    parser.add_argument("--config", action="config", help="YAML file with any of the options")
    return parser


def train(arguments: Sequence[str]) -> None:
    """train a generator on structure files"""
    import torch
    import yaml

    from . import datasets, report
    from .generator import GeneratorConfig, SchNetGen
    from .structures import InputError, replacing
    from .training import TrainingConfig, fit

    parser = _parser("train", "Train a generator, or continue the run in --out.")
    parser.add_argument(
        "--data",
        nargs="+",
        type=str,
        required=True,
        help=f"structure files, or names: {', '.join(datasets.NAMES)}",
    )
    parser.add_argument(
        "--path",
        type=str | None,
        default=None,
        help="for a name: the published archive, if it is on the disk already",
    )
    parser.add_argument(
        "--preset",
        choices=sorted(PRESETS),
        default="paper",
        help="settings to start from; options and --config override them",
    )
    parser.add_argument("--out", type=str, required=True, help="folder of the run")
    parser.add_class_arguments(GeneratorConfig, skip={"elements"})
    parser.add_class_arguments(TrainingConfig)
    # The preset, which a file may name too, comes first: what the user says overrides it.
    preset = parser.parse_args(arguments).preset
    options = parser.parse_args(["--config", str(PRESETS[preset]), *arguments])

    data = datasets.load(*options.data, path=options.path)
    elements = tuple(sorted({int(n) for d in data for n in d.z}))
    settings = _settings(TrainingConfig, options)
    torch.manual_seed(settings.seed)
    model = SchNetGen(_settings(GeneratorConfig, options), elements=elements)
    out = Path(options.out)
    saved = {k: v for k, v in vars(options).items() if k != "config"}

    def write_config() -> None:
        with replacing(out / "config.yaml") as temporary:
            temporary.write_text(yaml.safe_dump(saved, sort_keys=False))

    print(f"{len(data)} structures; {sum(p.numel() for p in model.parameters()):,} parameters")
    # Before, so that a killed run has it; a run that continues keeps its own until it is through.
    if not (out / "config.yaml").is_file():
        write_config()
    fit(model, data, out, settings)
    write_config()
    print(f"wrote {out / 'model.safetensors'}")
    with contextlib.suppress(InputError):  # a run of a few steps has logged nothing
        report.draw_loss(out / "loss.png", out)
        print(f"wrote {out / 'loss.png'}")


def generate(arguments: Sequence[str]) -> None:
    """generate molecules of a formula"""
    from tqdm import tqdm

    from .building import SamplingConfig
    from .generator import SchNetGen
    from .streaming import generate_file
    from .structures import read

    parser = _parser("generate", "Generate molecules atom by atom.")
    parser.add_argument(
        "--checkpoint",
        type=str,
        default=DEFAULT_CHECKPOINT,
        help="name of a bundled checkpoint, or a model.safetensors",
    )
    parser.add_argument("--formula", type=str, default="C7H10O2")
    parser.add_argument("--num", type=int, default=100, help="how many molecules")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--fragment",
        type=str | None,
        default=None,
        help="structure file whose first structure is built upon",
    )
    parser.add_argument("--device", type=str, default="auto", help="cpu, cuda, cuda:1, …")
    parser.add_argument(
        "--out",
        type=str,
        required=True,
        help="structure file; the format follows the suffix (.extxyz, .xyz, .db)",
    )
    parser.add_class_arguments(SamplingConfig)
    options = parser.parse_args(arguments)

    model = SchNetGen.from_pretrained(options.checkpoint).to(_device(options.device))
    fragment = read(options.fragment)[0] if options.fragment else None
    generate_file(
        model,
        options.formula,
        options.num,
        options.out,
        seed=options.seed,
        fragment=fragment,
        config=_settings(SamplingConfig, options),
        progress=tqdm,
    )
    print(f"wrote {options.num} structures to {options.out}")


def _device(name: str) -> str:
    import torch

    from .structures import InputError

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {name!r} cannot be used: {str(error).splitlines()[0]}") from error
    return name


def evaluate(arguments: Sequence[str]) -> None:
    """judge structures: valid, unique, in the training or test set"""
    from tqdm import tqdm

    from . import datasets, report
    from .evaluation import evaluate_each
    from .repeats import Repeats
    from .structures import to_ase

    parser = _parser("evaluate", "Judge generated structures.")
    parser.add_argument("files", nargs="+", type=str, help="structure files")
    parser.add_argument(
        "--each",
        action="store_true",
        help="each file is a sample of its own: mean and standard deviation over them",
    )
    parser.add_argument(
        "--posebusters", action="store_true", help="run PoseBusters' tests on valid structures"
    )
    parser.add_argument(
        "--energy_tests",
        type=int,
        default=0,
        help="so many valid structures of each set undergo PoseBusters' energy test, too",
    )
    parser.add_argument(
        "--train", nargs="+", type=str, default=[], help="files or names of the training structures"
    )
    parser.add_argument(
        "--test", nargs="+", type=str, default=[], help="files or names of structures held out"
    )
    parser.add_argument("--json", type=str | None, default=None, help="write the figures here")
    parser.add_argument(
        "--out",
        type=str | None,
        default=None,
        help="folder for table.txt, figures.json, valid.sdf, best.png",
    )
    parser.add_argument(
        "--jobs", type=int | None, default=None, help="processes; by default one per core"
    )
    options = parser.parse_args(arguments)

    samples = [[file] for file in options.files] if options.each else [options.files]
    structures = [[to_ase(data) for data in datasets.load(*files)] for files in samples]
    references = {
        name: datasets.load(*files)
        for name, files in (("train", options.train), ("test", options.test))
        if files
    }
    results = evaluate_each(
        structures,
        train=references.get("train"),
        test=references.get("test"),
        poses=options.posebusters,
        energy_tests=options.energy_tests,
        jobs=options.jobs,
        progress=tqdm,
    )
    result = Repeats(results, options.files) if options.each else results[0]
    print(result.summary())
    if options.json:
        result.save(options.json)
    if options.out:
        folder = Path(options.out)
        result.save(folder / "figures.json")
        (folder / "table.txt").write_text(result.summary() + "\n")
        pairs = zip(structures, results, strict=True)
        found = [mol for pair in pairs for mol in report.valid_molecules(*pair)]
        mols = list({mol.GetProp("smiles"): mol for mol in reversed(found)}.values())[::-1]
        report.write_sdf(folder / "valid.sdf", mols)
        written = ["table.txt", "figures.json", f"valid.sdf ({len(mols)} different molecules)"]
        if mols:
            report.draw_molecules(folder / "best.png", mols[:16])
            written.append("best.png")
        print(f"wrote {', '.join(written)} to {folder}")


def report(arguments: Sequence[str]) -> None:
    """write one HTML file that shows a run"""
    from tqdm import tqdm

    from . import runs

    parser = _parser(
        "report",
        "Write one HTML file, which opens offline: figures beside the paper's, loss curves, "
        "distributions, molecules in 2-D and 3-D, and one of them being built atom by atom.",
    )
    parser.add_argument(
        "run", type=str, help="folder of a run, or a structure file (.extxyz, .xyz, .db)"
    )
    parser.add_argument(
        "--train",
        nargs="+",
        type=str,
        default=[],
        help="files or names of the training structures; by default those of the run's config.yaml",
    )
    parser.add_argument(
        "--test", nargs="+", type=str, default=[], help="files or names of structures held out"
    )
    parser.add_argument(
        "--checkpoint",
        type=str | None,
        default=None,
        help="generator that shows a molecule being built; by default the run's, or the bundled "
        f"{DEFAULT_CHECKPOINT}",
    )
    parser.add_argument("--num", type=int, default=1_000, help="most structures in the gallery")
    parser.add_argument("--title", type=str | None, default=None)
    parser.add_argument(
        "--posebusters", action="store_true", help="run PoseBusters' tests on valid structures"
    )
    parser.add_argument(
        "--jobs", type=int | None, default=None, help="processes; by default one per core"
    )
    parser.add_argument(
        "--out", type=str | None, default=None, help="by default report.html in the run's folder"
    )
    options = parser.parse_args(arguments)

    out = runs.report(
        options.run,
        options.out,
        train=options.train,
        test=options.test,
        checkpoint=options.checkpoint,
        default_checkpoint=DEFAULT_CHECKPOINT,
        title=options.title,
        max_molecules=options.num,
        poses=options.posebusters,
        jobs=options.jobs,
        progress=tqdm,
    )
    print(f"wrote {out} ({out.stat().st_size / 1e6:.1f} MB)")


def view(arguments: Sequence[str]) -> None:
    """look at structures, or draw them to a PNG file"""
    from . import datasets, report
    from .structures import InputError, require, to_ase

    parser = _parser("view", "Open ASE's viewer, or draw the first structures of a file.")
    parser.add_argument("file", type=str, help="structure file, or name of a data set")
    parser.add_argument("--num", type=int, default=12, help="how many structures to draw")
    parser.add_argument("--out", type=str | None, default=None, help="write a PNG file")
    options = parser.parse_args(arguments)

    require(options.num >= 1, "num", options.num, "at least 1")
    structures = [to_ase(data) for data in datasets.load(options.file)]
    if options.out:
        report.draw_structures(options.out, structures[: options.num])
        print(f"wrote {options.out}")
        return
    try:
        from ase.gui.gui import GUI
        from ase.gui.images import Images

        GUI(Images(structures)).run()
    except Exception as error:  # Tk's own, where tkinter is there at all
        if type(error).__name__ not in ("TclError", "ImportError", "ModuleNotFoundError"):
            raise
        raise InputError(
            f"ASE's viewer cannot open a window ({error}); write a picture with --out x.png"
        ) from error


def fit_potential(arguments: Sequence[str]) -> None:
    """train a potential on energies and forces"""
    import torch
    import yaml

    from . import datasets
    from .potential_training import PotentialTrainingConfig
    from .potential_training import fit_potential as fit
    from .potentials import Potential, PotentialConfig
    from .structures import replacing

    parser = _parser("fit-potential", "Train a potential, or continue the run in --out.")
    parser.add_argument(
        "--data",
        nargs="+",
        type=str,
        required=True,
        help="files with energies (eV) and, all or none, forces (eV/Å), or names: "
        + ", ".join(datasets.NAMES),
    )
    parser.add_argument(
        "--path",
        type=str | None,
        default=None,
        help="for a name: the published archive, if it is on the disk already",
    )
    parser.add_argument(
        "--test", nargs="+", type=str, default=[], help="more files, for the test errors"
    )
    parser.add_argument("--out", type=str, required=True, help="folder of the run")
    parser.add_class_arguments(PotentialConfig, skip={"elements"})
    parser.add_class_arguments(PotentialTrainingConfig)
    options = parser.parse_args(arguments)

    data = datasets.load(*options.data, path=options.path)
    test = datasets.load(*options.test)
    elements = tuple(sorted({int(n) for d in data for n in d.z}))
    settings = _settings(PotentialTrainingConfig, options)
    torch.manual_seed(settings.seed)
    model = Potential(PotentialConfig(options.representation, dict(options.settings), elements))
    out = Path(options.out)
    print(f"{len(data)} structures; {sum(p.numel() for p in model.parameters()):,} parameters")
    trained = fit(model, data, out, settings, test=test)
    saved = {k: v for k, v in vars(options).items() if k != "config"}
    saved["settings"] = dict(options.settings)
    with replacing(out / "config.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(saved, sort_keys=False))
    for name in ("metrics", "test"):
        for key, value in trained.provenance.get(name, {}).items():
            print(f"{key}: {value:.5g}")
    print(f"wrote {out / 'model.safetensors'}")


def predict(arguments: Sequence[str]) -> None:
    """energies and forces of structures by a potential"""
    from tqdm import tqdm

    from . import calculator, datasets
    from .potential_training import errors
    from .potentials import Ensemble, Potential
    from .structures import file_format, to_ase, write

    parser = _parser("predict", "Energies (eV) and forces (eV/Å) of structures by a potential.")
    parser.add_argument("files", nargs="+", type=str, help="structure files")
    parser.add_argument(
        "--checkpoint",
        nargs="+",
        type=str,
        default=[DEFAULT_POTENTIAL],
        help="name of a bundled potential, or model.safetensors; several are an ensemble, whose "
        "standard deviation is energy_std and forces_std in the file",
    )
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--device", type=str, default="auto", help="cpu, cuda, cuda:1, …")
    parser.add_argument("--out", type=str, required=True, help="structure file, such as .extxyz")
    options = parser.parse_args(arguments)

    file_format(options.out)
    members = [Potential.from_pretrained(name) for name in options.checkpoint]
    potential = (members[0] if len(members) == 1 else Ensemble(members)).to(_device(options.device))
    data = datasets.load(*options.files)
    found = calculator.predict(potential, data, options.batch_size, progress=tqdm)
    structures = []
    for single in found:
        atoms = to_ase(single)
        if single.get("energy_variance") is not None:
            atoms.info["energy_std"] = float(single.energy_variance.sqrt())
            atoms.arrays["forces_std"] = single.forces_variance.sqrt().numpy()
        structures.append(atoms)
    write(options.out, structures)
    if all(single.get("energy") is not None for single in data):
        for key, value in errors(found, data).items():
            print(f"{key}: {value:.5g}")
    print(f"wrote {len(structures)} structures to {options.out}")


def label(arguments: Sequence[str]) -> None:
    """energies and forces of perturbed structures by quantum chemistry"""
    from tqdm import tqdm

    from . import datasets
    from .labelling import LabelConfig, label_file

    parser = _parser(
        "label",
        "Compute energies and forces of structures and of configurations from short trajectories.",
    )
    parser.add_argument("files", nargs="+", type=str, help="structure files")
    parser.add_argument("--out", type=str, required=True, help="structure file, such as .extxyz")
    parser.add_argument(
        "--jobs", type=int | None, default=None, help="processes; by default one per core"
    )
    parser.add_class_arguments(LabelConfig)
    options = parser.parse_args(arguments)

    failures = label_file(
        datasets.load(*options.files),
        options.out,
        _settings(LabelConfig, options),
        jobs=options.jobs,
        progress=tqdm,
    )
    for failure in failures:
        print(f"left out: {failure}", file=sys.stderr)
    print(f"wrote {options.out}")


def relax(arguments: Sequence[str]) -> None:
    """relax structures, those of lowest predicted energy first"""
    from tqdm import tqdm

    from . import datasets, relaxation
    from .methods import METHODS
    from .optimizers import RelaxConfig

    parser = _parser("relax", "Rank structures by predicted energy and relax them.")
    parser.add_argument("files", nargs="+", type=str, help="structure files")
    parser.add_class_arguments(RelaxConfig)
    parser.add_argument(
        "--top", type=int | None, default=None, help="only so many, of lowest predicted energy"
    )
    parser.add_argument(
        "--rank",
        type=str | None,
        default=None,
        help=f"method that predicts it; by default --method where cheap, else gfn2-xtb ({METHODS})",
    )
    parser.add_argument(
        "--valid_only", action="store_true", help="leave out what is not a valid molecule"
    )
    parser.add_argument(
        "--jobs",
        type=int | None,
        default=None,
        help="structures at a time; by default one per core",
    )
    parser.add_argument(
        "--out",
        type=str,
        required=True,
        help="ASE database (.db); the same command continues there what was stopped",
    )
    parser.add_argument(
        "--table", type=str | None, default=None, help="write the table here (.csv or .json)"
    )
    options = parser.parse_args(arguments)

    result = relaxation.relax(
        datasets.load(*options.files),
        _settings(RelaxConfig, options),
        top=options.top,
        rank=options.rank,
        valid_only=options.valid_only,
        jobs=options.jobs,
        out=options.out,
        progress=tqdm,
    )
    print(result.summary())
    if options.table:
        result.save(options.table)
    print(f"wrote {', '.join(filter(None, (options.out, options.table)))}")


COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    "train": train,
    "generate": generate,
    "evaluate": evaluate,
    "report": report,
    "view": view,
    "fit-potential": fit_potential,
    "predict": predict,
    "label": label,
    "relax": relax,
}


def _usage() -> str:
    lines = [f"  {name:14} {command.__doc__}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: schnetgen COMMAND [options]",
            "",
            *lines,
            "",
            "schnetgen COMMAND --help lists the options of a command.",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments[:1] == ["--version"]:
        from importlib.metadata import version

        print(version(package))
        return 0
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage())
        return 0 if arguments else 2
    if arguments[0] not in COMMANDS:
        near = difflib.get_close_matches(arguments[0], COMMANDS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        print(f"schnetgen: error: no command {arguments[0]!r}{hint}\n{_usage()}", file=sys.stderr)
        return 2
    from .structures import InputError

    try:
        COMMANDS[arguments[0]](arguments[1:])
    except InputError as error:
        print(f"schnetgen {arguments[0]}: error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"schnetgen {arguments[0]}: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return 0
