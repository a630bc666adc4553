import os

import pytest

from schnetgen_pyg import InputError
from schnetgen_pyg.storage.finished import finish, is_finished, made_of
from schnetgen_pyg.storage.resumable import ResumableFile

SETTINGS = {"formula": "CH4", "config": {"temperature": 0.5}}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("result")
    finish(path, SETTINGS)
    return path


def test_the_same_result_is_known(path):
    assert is_finished(path, SETTINGS)
    assert made_of(path) == SETTINGS
    assert not is_finished(path, SETTINGS, overwrite=True)
    assert not is_finished(path.with_name("other.txt"), SETTINGS)


def test_another_result_is_not_written_over(path):
    other = {"formula": "C2H6", "config": {"temperature": 0.5}}
    with pytest.raises(InputError, match=r'formula was "CH4", is now "C2H6"\); .*--overwrite'):
        is_finished(path, other)
    assert not is_finished(path, other, overwrite=True)


@pytest.mark.parametrize("spoil", ["content", "record", "no record"])
def test_what_is_of_unknown_origin_is_not_written_over(path, spoil):
    record = path.with_name(".x.txt.made.json")
    if spoil == "content":
        path.write_text("something of the user")
    elif spoil == "record":
        record.write_text("{")
    else:
        record.unlink()
    assert made_of(path) is None
    with pytest.raises(InputError, match=r"x.txt: is there already, and not known to be of this"):
        is_finished(path, SETTINGS)


def test_a_link_to_a_result_is_that_result(path, tmp_path):
    link = tmp_path / "link.txt"
    link.symlink_to(path)
    assert is_finished(link, SETTINGS)


def test_a_finished_file_is_not_begun_again(tmp_path):
    path = tmp_path / "x.txt"
    file = ResumableFile(path, "txt", SETTINGS, result={"num": 1})
    assert not file.finished
    file.extend(["one\n"])
    file.publish()
    assert ResumableFile(path, "txt", SETTINGS, result={"num": 1}).finished
    assert sorted(os.listdir(tmp_path)) == [".x.txt.made.json", "x.txt"]
    with pytest.raises(InputError, match="num was 1, is now 2"):
        ResumableFile(path, "txt", SETTINGS, result={"num": 2})


def test_overwriting_begins_records_of_other_settings_anew(tmp_path):
    path = tmp_path / "x.txt"
    ResumableFile(path, "txt", SETTINGS).extend(["one\n"])
    assert ResumableFile(path, "txt", SETTINGS, overwrite=True).done == 1
    again = ResumableFile(path, "txt", {"formula": "C2H6"}, overwrite=True)
    assert again.done == 0
    again.extend(["two\n"])
    again.publish()
    assert path.read_text() == "two\n"


def test_records_behind_a_link_lie_where_it_points_to(tmp_path):
    (tmp_path / "there").mkdir()
    link = tmp_path / "link.txt"
    link.symlink_to(tmp_path / "there" / "real.txt")
    file = ResumableFile(link, "txt", SETTINGS)
    file.extend(["one\n"])
    file.publish()
    assert link.is_symlink()
    assert link.read_text() == "one\n"


def test_records_for_a_device_leave_nothing(capfd):
    file = ResumableFile("/dev/stdout", "txt", SETTINGS)
    file.extend(["one\n"])
    file.publish()
    assert capfd.readouterr().out == "one\n"
    assert not [name for name in os.listdir("/dev") if "partial" in name or "made" in name]
