"""What the commands share: the parser, devices, the configuration that a run keeps."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import fields
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from schnetgen_pyg.commands.parser import Parser

DEFAULT_CHECKPOINT = "qm9"
DEFAULT_POTENTIAL = "c7h10o2-painn-potential"

#: Options that do not change what is written.
COSMETIC = ("batch_size", "config", "device", "jobs", "overwrite")


def command_parser(command: str, description: str) -> Parser:
    """Parser of the command, with ``--config``; the caller adds its options."""
    parser = Parser(
        prog=f"schnetgen {command}", description=description, version=None, allow_abbrev=False
    )
    parser.add_argument("--config", action="config", help="YAML file with any of the options")
    return parser


def given(arguments: Sequence[str], *names: str) -> dict[str, str]:
    """What the command line, or a file that it names, says of options that decide which others
    there are. The last word counts; what is wrong is left for the parser to refuse."""
    import yaml

    found: dict[str, str] = {}

    class Say(argparse.Action):
        def __call__(self, scan: Any, space: Any, value: Any, option: str | None = None) -> None:
            if self.dest != "config":
                found[self.dest] = value
                return
            with contextlib.suppress(OSError, TypeError, ValueError, yaml.YAMLError):
                content = yaml.safe_load(Path(value).read_text())
                found.update({name: content[name] for name in names if name in content})

    scan = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("config", *names):
        scan.add_argument(f"--{name}", action=Say, nargs="?")
    scan.parse_known_args(list(arguments))
    return found


def add_network(parser: Parser, name: str) -> list[str]:
    """Settings of a representation as options of their own, but for those whose names are taken;
    their names."""
    from schnetgen_pyg.representations import REPRESENTATIONS

    network = REPRESENTATIONS[name]
    taken = {action.dest for action in parser._actions}
    parser.add_class_arguments(network.Settings, skip=taken & {*network.setting_names()})
    return [action.dest for action in parser._actions if action.dest not in taken]


def add_data(parser: Parser, files: str) -> None:
    """Options ``--data`` and ``--path`` of a training; ``files`` says what the files hold."""
    from schnetgen_pyg.data.datasets import DATASETS

    parser.add_argument(
        "--data",
        nargs="+",
        type=str,
        required=True,
        help=f"{files}, or names: {', '.join(DATASETS)}",
    )
    parser.add_argument(
        "--path",
        type=str | None,
        default=None,
        help="for a name: the published archive, if it is on the disk already",
    )


def add_out(parser: Parser, help: str, required: bool = True) -> None:
    """Options ``--out`` and ``--overwrite``; ``help`` says what is written there."""
    parser.add_argument("--out", type=str if required else str | None, required=required, help=help)
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace what is there of other settings, of other input or of unknown origin",
    )


def add_smiles(parser: Parser) -> None:
    """Option ``--smiles`` of commands that read tables of molecules."""
    parser.add_argument(
        "--smiles",
        type=str | None,
        default=None,
        help="column of the SMILES in a .csv; by default the one that is called so",
    )


def require_suffix(path: str, *suffixes: str) -> None:
    """Refuse a path of an option whose suffix names none of the formats that are written."""
    from schnetgen_pyg.errors import InputError

    if Path(path).suffix.lower() not in suffixes:
        raise InputError(
            f"{Path(path)}: is written as {' or '.join(suffixes)}; give it such a suffix"
        )


def claim(options: Namespace, *paths: str | Path | None) -> AbstractContextManager[None]:
    """Refuse, before anything is computed, files that cannot be written or that hold results of
    another command line. They are written within what it returns
    (`schnetgen_pyg.storage.finished.recording`)."""
    from schnetgen_pyg.storage.finished import is_finished, recording

    said = options.as_dict()
    settings = {name: value for name, value in said.items() if name not in COSMETIC}
    files = [Path(path) for path in paths if path is not None]
    for file in files:
        is_finished(file, settings, options.overwrite)
    return recording(files, settings)


def add_init(parser: Parser, also: str = "") -> None:
    """Option ``--init`` of a training; ``also`` says what else it may be."""
    parser.add_argument(
        "--init",
        type=str | None,
        default=None,
        help="trained model to start from, the name of a bundled one or a model.safetensors; its "
        "settings are the defaults, and what the data hold of other elements is learned anew"
        f"{also}",
    )


def elements_of(structures: Sequence[Any], init: str | None, kind: Any) -> tuple[int, ...]:
    """Elements of a new model of this ``kind``: those of the model that its training starts from,
    if there is one, and those of the structures."""
    from schnetgen_pyg.data.stored import elements_in
    from schnetgen_pyg.training.fine_tuning import trained

    known = [] if init is None else list(trained(kind, init).config.elements)
    found = elements_in(structures)
    return (*known, *sorted(found - {*known}))


def add_labels(parser: Parser) -> None:
    """Options ``--keys`` and ``--units`` of commands that read structure files."""
    parser.add_argument(
        "--keys",
        type=str | None,
        default=None,
        help="names of labels in the files, such as energy=REF_energy,forces=REF_forces",
    )
    parser.add_argument(
        "--units",
        type=str | None,
        default=None,
        help="units that the files do not state, such as energy=kcal/mol,pos=Bohr",
    )


def reading(options: Namespace) -> dict[str, Any]:
    """Keyword arguments of `schnetgen_pyg.data.datasets.load` of the options of `add_labels`.

    Raises:
        InputError: naming a part that is no pair.
    """
    from schnetgen_pyg.errors import InputError

    found: dict[str, dict[str, str]] = {"keys": {}, "units": {}}
    for option, pairs in found.items():
        for part in filter(None, (options[option] or "").split(",")):
            name, equals, value = (word.strip() for word in part.partition("="))
            if not (name and equals and value):
                raise InputError(
                    f"--{option}: {part!r} is no pair NAME=VALUE; write several with commas between"
                )
            pairs[name] = value
    return found


def chosen(kind: type, options: Namespace) -> Any:
    """The configuration of this ``kind`` (a dataclass) with the values of the options."""
    names = {field.name for field in fields(kind)}
    return kind(**{name: value for name, value in vars(options).items() if name in names})


def add_device(parser: Parser) -> None:
    """Option ``--device``, for `usable_device`."""
    parser.add_argument("--device", type=str, default="auto", help="cpu, cuda, cuda:1, …")


def usable_device(name: str) -> str:
    """The device of this name, which is tried; ``auto`` is a GPU where there is one.

    Raises:
        InputError: if it cannot be used.
    """
    import torch

    from schnetgen_pyg.errors import InputError

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {name!r} cannot be used: {str(error).splitlines()[0]}") from error
    return name


@contextlib.contextmanager
def recorded(options: Namespace, out: Path) -> Iterator[None]:
    """The options of a run as ``config.yaml`` in its folder.

    They are written before the run, so that one that is killed has them; a run that continues
    keeps its own until it is through. What is refused leaves nothing.
    """
    import yaml

    from schnetgen_pyg.errors import InputError
    from schnetgen_pyg.storage.atomic import replacing

    path = out / "config.yaml"
    saved = {name: value for name, value in options.as_dict().items() if name != "config"}

    def write() -> None:
        with replacing(path) as temporary:
            temporary.write_text(yaml.safe_dump(saved, sort_keys=False))

    fresh = not path.is_file()
    if fresh:
        write()
    try:
        yield
    except InputError:
        if fresh and [*out.iterdir()] == [path]:
            path.unlink()
            out.rmdir()
        raise
    write()
