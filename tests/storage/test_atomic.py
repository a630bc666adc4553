import os
import sqlite3
import threading

import pytest

from schnetgen_pyg import InputError
from schnetgen_pyg.storage.atomic import is_stream, naming, replacing, require_writable


def write(path, text="new"):
    with replacing(path) as temporary:
        temporary.write_text(text)


def test_a_link_stays_and_its_file_is_replaced(tmp_path):
    (tmp_path / "there").mkdir()
    target = tmp_path / "there" / "real.txt"
    target.write_text("old")
    link, dangling = tmp_path / "link.txt", tmp_path / "dangling.txt"
    link.symlink_to(target)
    dangling.symlink_to(tmp_path / "there" / "later.txt")
    write(link)
    write(dangling, "first")
    assert link.is_symlink()
    assert dangling.is_symlink()
    assert target.read_text() == "new"
    assert (tmp_path / "there" / "later.txt").read_text() == "first"
    assert sorted(os.listdir(tmp_path / "there")) == ["later.txt", "real.txt"]


def test_a_pipe_gets_the_content_and_stays(tmp_path):
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
    reader.start()
    write(pipe, "through")
    reader.join(10)
    assert got == ["through"]
    assert is_stream(pipe)
    assert os.listdir(tmp_path) == ["pipe"]


def test_the_standard_output_is_written_after_what_is_there(capfd):
    print("before")
    write("/dev/stdout", "content\n")
    print("after")
    assert capfd.readouterr().out == "before\ncontent\nafter\n"


def test_a_device_stays_a_device(tmp_path):
    write("/dev/null")
    assert is_stream("/dev/null")
    assert not is_stream(tmp_path)
    assert not is_stream(tmp_path / "nothing")


def test_places_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a folder; name a file in it"):
        require_writable(tmp_path)
    with pytest.raises(InputError, match="is a folder"):
        require_writable(".")
    with pytest.raises(InputError, match=r"x.xyz: could not be written, as .*file is a file"):
        require_writable(tmp_path / "file" / "deeper" / "x.xyz")
    require_writable(tmp_path / "not" / "yet" / "there.xyz")
    assert os.listdir(tmp_path) == ["file"]


def test_errors_of_sqlite_are_those_of_a_file(tmp_path):
    (tmp_path / "x.db").write_text("no database " * 99)
    with (
        pytest.raises(InputError, match=r"x.db: could not be written \(file is not a database\)"),
        naming(tmp_path / "x.db"),
    ):
        sqlite3.connect(tmp_path / "x.db").execute("create table t (x)")
