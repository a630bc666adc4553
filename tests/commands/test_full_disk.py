"""A disk that is full: one line with the file, nothing half-made, and the same command goes on."""

import os
import sqlite3

import ase.io
import pytest
from ase.build import molecule

from schnetgen_pyg import InputError
from schnetgen_pyg.cli import main
from schnetgen_pyg.relaxation.store import Store, stored
from schnetgen_pyg.storage.finished import is_finished, recording
from schnetgen_pyg.storage.resumable import ResumableFile
from tests.conftest import full_disk

SETTINGS = {"seed": 1}


def converged(number):
    return {"status": "converged", "energy_after": -float(number), "rmsd": 0.1}


def test_a_relaxation_that_could_not_begin_leaves_nothing(tmp_path):
    path, structures = tmp_path / "r.db", [molecule("H2O")] * 30
    for room in (0, 2_000, 20_000):
        with full_disk(room), pytest.raises(InputError, match=r"^\S*r.db: could not be written"):
            Store(path, structures, SETTINGS)
        assert os.listdir(tmp_path) == []
    Store(path, structures, SETTINGS)
    assert list(stored(path)) == []


def test_a_relaxation_goes_on_after_its_last_result(tmp_path):
    path, structures = tmp_path / "r.db", [molecule("H2O")] * 60
    store, done = Store(path, structures, SETTINGS), 0

    def write_all() -> None:
        nonlocal done
        while done < 60:
            store.write(done, converged(done), structures[0].positions, "gfn2-xtb")
            done += 1

    room = full_disk(path.stat().st_size + 8_192)
    with room, pytest.raises(InputError, match=r"r.db: could not be written .*the same command"):
        write_all()
    assert 1 <= done < 60
    again = Store(path, structures, SETTINGS)
    assert sorted(again.results()) == list(range(done))
    with sqlite3.connect(path) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    for number in range(done, 60):
        again.write(number, converged(number), structures[0].positions, "gfn2-xtb")
    found = {number: record["energy_after"] for number, record, _ in stored(path)}
    assert found == {number: -float(number) for number in range(60)}


def test_records_stay_where_there_is_no_room_for_the_last_word(tmp_path):
    """The result and what it is made of come together, or the records stay."""
    for end in ("publish", "close"):
        path = tmp_path / end / "x.txt"
        path.parent.mkdir()
        file = ResumableFile(path, "txt", SETTINGS)
        file.extend(["one\n", "two\n"])
        if end == "close":
            path.write_text("ONE TWO")
        with full_disk(20), pytest.raises(InputError, match=r"made.json: could not be written"):
            getattr(file, end)()
        assert not path.exists()
        again = ResumableFile(path, "txt", SETTINGS)
        assert (again.done, again.finished) == (2, False)
        if end == "close":
            path.write_text("ONE TWO")
        getattr(again, end)()
        assert ResumableFile(path, "txt", SETTINGS).finished
        assert sorted(os.listdir(path.parent)) == [".x.txt.made.json", "x.txt"]


def test_what_was_there_before_stays(tmp_path):
    old, new = tmp_path / "old.txt", tmp_path / "folder" / "new.txt"
    old.write_text("old")

    def stopped() -> None:
        with recording([old, new], SETTINGS):
            new.parent.mkdir()
            new.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert os.listdir(tmp_path) == ["old.txt"]
    with recording([old, new], SETTINGS):
        old.write_text("whole")
    assert is_finished(old, SETTINGS)


@pytest.mark.parametrize("room", [300, 1_200, 10_000])
def test_an_evaluation_can_be_repeated(tmp_path, capsys, room):
    """Its table, its figures or its picture do not fit: the folder is as it was."""
    made = [molecule(name) for name in ("CH4", "CH3OH", "CH3CH2OH", "H2O")]
    ase.io.write(tmp_path / "a.extxyz", made)
    command = ["evaluate", str(tmp_path / "a.extxyz"), "--judges", "edm", "--jobs", "1"]
    command += ["--out", str(tmp_path / "judged")]
    with full_disk(room):
        assert main(command) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert "could not be written" in line
    assert os.listdir(tmp_path) == ["a.extxyz"]
    assert main(command) == 0
    assert (tmp_path / "judged" / "best.png").is_file()
