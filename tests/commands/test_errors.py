"""Whatever is wrong: one line that names it, status 2, and nothing left behind."""

import errno
import os
import sqlite3

import ase.io
import pytest

from schnetgen_pyg import InputError
from schnetgen_pyg.cli import main
from schnetgen_pyg.commands import table
from schnetgen_pyg.commands.table import COMMANDS
from tests.conftest import METHANE, full_disk, small_model

MODEL = ("--checkpoint", "model.safetensors")

#: What makes a command complete, but for its output.
COMPLETE = {
    "train": ["--data", "good.xyz"],
    "generate": ["--formula", "CH4", *MODEL, "--num", "1"],
    "evaluate": ["good.xyz", "--jobs", "1"],
    "report": ["good.xyz"],
    "view": ["good.xyz"],
    "fit-potential": ["--data", "good.xyz"],
    "fit-graph": ["--data", "good.csv", "--target", "logS"],
    "predict": ["good.xyz"],
    "label": ["good.xyz"],
    "relax": ["good.xyz"],
    "md": ["good.xyz", "--batch", "1", "--steps", "2"],
    "convert": ["good.xyz"],
    "complete": ["good.xyz", "--attach", "1", "--formula", "C2H6", *MODEL],
    "vary": ["good.xyz", "--remove", "0", *MODEL],
    "hydrogens": ["good.xyz", *MODEL],
    "conformers": ["good.smi", *MODEL],
    "probe": ["good.xyz"],
    "embed": ["good.smi", "--model", "model.safetensors"],
}

#: Outputs of these commands are files.
FILES = (
    *("generate", "complete", "vary", "hydrogens"),
    *("report", "view", "predict", "label", "relax", "md", "probe", "embed"),
)

#: Content of input files that cannot be used, by name.
FILES_OF_NO_USE = {
    "empty.xyz": b"",
    "words.xyz": b"these are\nno atoms\nat all\n",
    "nan.xyz": b"1\n\nC nan 0 0\n",
    "element.xyz": b"1\n\nXx 0 0 0\n",
    "binary.extxyz": b"\xff\xfe\x00\x01" * 50,
    "no.db": b"no database " * 50,
    "no.sdf": b"no\nrecord\n\n$$$$\n",
    "no.npz": b"no archive",
    "no.tar": b"no archive",
    "cut.xyz.gz": b"\x1f\x8b\x08\x00\x00",
    "no.suffix": b"what is this",
}

#: Configuration files that cannot be used, and what is said of them.
CONFIGS = {
    "scalar.yaml": (b"steps", "holds a str"),
    "list.yaml": (b"- steps\n", "holds a list"),
    "empty.yaml": (b"", "holds nothing"),
    "broken.yaml": (b"steps: [1\n", "is not YAML"),
    "binary.yaml": (b"\xff\xfe\x00", "is not YAML"),
    "unknown.yaml": (b"outt: x\n", "did you mean 'out'?"),
    "types.yaml": (b"out: [1, {a: 2}]\n", "out: "),
}


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ase.io.write("good.xyz", [METHANE] * 2)
    (tmp_path / "good.smi").write_text("C methane\n")
    (tmp_path / "good.csv").write_text("smiles,logS\nC,0.5\nCO,1.0\n")
    for name, content in FILES_OF_NO_USE.items():
        (tmp_path / name).write_bytes(content)
    for name, (content, _) in CONFIGS.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "lists.yaml").write_text("data: good.xyz\nfiles: good.xyz\n")
    small_model().save("model.safetensors")
    (tmp_path / "damaged.safetensors").write_bytes((b"\x10" + bytes(7)) + b"{no header here}")
    (tmp_path / "folder").mkdir()
    return tmp_path


@pytest.fixture
def refused(capfd, place):
    """The one line by which a command refuses its arguments."""

    def refused(*arguments, status=2, leaves=()):
        before = {*os.listdir(place)}
        try:
            found = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            found = stop.code
        captured = capfd.readouterr()
        lines = captured.err.splitlines()
        assert len(lines) == 1, captured.err
        assert lines[0].startswith(f"schnetgen {arguments[0]}: error: ")
        assert found == status
        assert {*os.listdir(place)} - before == {*leaves}
        return lines[0]

    return refused


def out_of(command):
    names = {"report": "x.html", "view": "x.png", "relax": "x.db", "evaluate": "x", "train": "x"}
    names |= {"convert": "x.safetensors", "probe": "x.ply", "embed": "x.csv"}
    return "x" if command == "fit-potential" else names.get(command, "x.extxyz")


@pytest.mark.parametrize("name", FILES_OF_NO_USE)
@pytest.mark.parametrize("command", [command for command in COMMANDS if command != "generate"])
def test_a_file_that_holds_no_structures(command, name, refused):
    good = ("good.xyz", "good.smi", "good.csv")
    given = [name if word in good else word for word in COMPLETE[command]]
    assert f"{name}: " in refused(command, *given, "--out", out_of(command))


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("command", ["generate", "train", "evaluate"])
def test_a_configuration_that_cannot_be_used(command, name, refused):
    said = refused(command, *COMPLETE[command], "--out", out_of(command), "--config", name)
    assert f"{name}: " in said
    assert CONFIGS[name][1] in said


@pytest.mark.parametrize("command", COMMANDS)
def test_bad_options(command, refused):
    complete = [*COMPLETE[command], "--out", out_of(command)]
    assert "--ot x.y" in refused(command, *COMPLETE[command], "--ot", "x.y")
    assert "none.yaml" in refused(command, *complete, "--config", "none.yaml")
    assert "required" in refused(command)


def test_a_list_in_a_configuration(refused):
    said = refused("train", "--out", "x", "--config", "lists.yaml")
    assert "lists.yaml: data must be a list" in said


@pytest.mark.parametrize("command", FILES)
@pytest.mark.parametrize("out", ["folder", ".", "nosuffix", "x.unknown", "good.xyz/x", ""])
def test_a_place_or_a_format_that_cannot_be_written(command, out, refused):
    name = f"{out}/{out_of(command)}" if out == "good.xyz/x" else out
    said = refused(command, *COMPLETE[command], "--out", name)
    assert f"error: {name or '.'}: " in said


@pytest.mark.parametrize("command", ["train", "fit-potential", "fit-graph", "evaluate"])
def test_a_folder_that_cannot_be_made(command, refused):
    assert "good.xyz" in refused(command, *COMPLETE[command], "--out", "good.xyz/run")


@pytest.mark.parametrize("command", FILES)
def test_a_file_of_somebody_else_is_not_written_over(command, refused, place):
    name = out_of(command)
    (place / name).write_bytes(b"of somebody else" * 9)
    assert f"{name}: " in refused(command, *COMPLETE[command], "--out", name)
    assert (place / name).read_bytes() == b"of somebody else" * 9


@pytest.mark.parametrize("name", ["damaged.safetensors", "good.xyz", "folder", "nothing"])
@pytest.mark.parametrize("command", ["generate", "predict"])
def test_a_checkpoint_that_is_none(command, name, refused):
    given = [*COMPLETE[command], "--checkpoint", name, "--out", "x.extxyz"]
    assert f"{name}: " in refused(command, *given)


@pytest.mark.parametrize(
    ("name", "room", "leaves"),
    [("x.extxyz", 300, []), ("x.db", 3000, ["x.db.partial.extxyz", "x.db.partial.json"])],
)
def test_a_full_disk(name, room, leaves, refused):
    given = [*COMPLETE["generate"], "--grid_extent", "2", "--out", name]
    with full_disk(room):
        said = refused("generate", *given, leaves=leaves)
    assert f"{name}" in said
    assert "could not be written" in said


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (InputError("x.xyz: two\nlines"), 2, "x.xyz: two lines"),
        (PermissionError(errno.EACCES, "Permission denied", "y.xyz"), 2, "y.xyz: Permission den"),
        (OSError(errno.ENOSPC, "No space left on device"), 2, "No space left on device"),
        (sqlite3.OperationalError("database is locked"), 2, "database is locked; is there room"),
        (MemoryError("of 3 GB"), 2, "lower batch_size or jobs"),
        (KeyboardInterrupt(), 130, "stopped; the same command continues"),
        (ZeroDivisionError("by zero"), 1, "unexpected ZeroDivisionError in cli.py"),
    ],
)
def test_what_a_command_raises(error, status, said, refused, monkeypatch):
    def broken(_):
        raise error

    monkeypatch.setitem(table.COMMANDS, "view", broken)
    assert said in refused("view", "x", status=status)


def test_a_fault_has_its_traceback_where_it_is_wanted(monkeypatch):
    def broken(_):
        raise ZeroDivisionError

    monkeypatch.setitem(table.COMMANDS, "view", broken)
    with pytest.raises(ZeroDivisionError):
        main(["view", "x", "--debug"])
