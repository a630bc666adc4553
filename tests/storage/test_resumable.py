import os
import signal
import subprocess
import sys
import time

import pytest

from schnetgen_pyg import InputError
from schnetgen_pyg.storage.resumable import ResumableFile, require_same_settings
from tests.conftest import full_disk

SCRIPT = """
import itertools, time
from schnetgen_pyg.storage.resumable import ResumableFile
file = ResumableFile({path!r}, "txt", {{"seed": 1}})
file.extend(f"{{k}}\\n" for k in itertools.count() if not time.sleep(0.01))
"""


def test_a_killed_run_continues(tmp_path):
    path = tmp_path / "x.out"
    process = subprocess.Popen([sys.executable, "-c", SCRIPT.format(path=str(path))])
    partial = tmp_path / "x.out.partial.txt"
    end = time.monotonic() + 60
    while not (partial.is_file() and partial.stat().st_size > 10) and time.monotonic() < end:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with partial.open("a") as file:
        file.write("torn off whi")
    again = ResumableFile(path, "txt", {"seed": 1})
    assert again.done >= 5
    again.extend([f"{again.done}\n"])
    again.publish()
    assert path.read_text().split() == [str(k) for k in range(again.done + 1)]
    assert sorted(p.name for p in tmp_path.iterdir()) == [".x.out.made.json", "x.out"]


def test_other_settings_are_named(tmp_path):
    path = tmp_path / "x.out"
    begun = {"seed": 1, "model": "a" * 64, "config": {"temperature": 0.5}}
    ResumableFile(path, "txt", begun).extend(["one\n"])
    now = {"seed": 2, "model": "b" * 64, "config": {"temperature": 0.5}}
    with pytest.raises(InputError, match=r"\(seed was 1, is now 2, other model\); remove it and"):
        ResumableFile(path, "txt", now)
    assert ResumableFile(path, "txt", begun).done == 1
    with pytest.raises(InputError, match=r"temperature was 0\.5, is now 1"):
        require_same_settings(path, begun, begun | {"config": {"temperature": 1}})


@pytest.mark.parametrize("text", ["", "{", "\x00"])
def test_damaged_settings(tmp_path, text):
    (tmp_path / "x.out.partial.json").write_text(text)
    (tmp_path / "x.out.partial.txt").write_text("5\n")
    with pytest.raises(InputError, match=r"partial.json: damaged.*remove both"):
        ResumableFile(tmp_path / "x.out", "txt", {})
    assert (tmp_path / "x.out.partial.txt").read_text() == "5\n"


def test_records_without_settings_are_begun_anew(tmp_path):
    (tmp_path / "x.out.partial.txt").write_text("of somebody\n")
    assert ResumableFile(tmp_path / "x.out", "txt", {}).done == 0


def test_a_full_disk_keeps_what_came_before(tmp_path):
    file = ResumableFile(tmp_path / "x.out", "txt", {})
    lines = [f"{k:99}\n" for k in range(50)]
    with full_disk(1050), pytest.raises(InputError, match=r"partial.txt: could not be written"):
        file.extend(lines)
    again = ResumableFile(tmp_path / "x.out", "txt", {})
    assert again.done == 10
    again.extend(lines[10:])
    again.publish()
    assert (tmp_path / "x.out").read_text() == "".join(lines)


def test_a_second_process_is_refused_while_the_first_lives(tmp_path):
    """And what the first has written is as it was; when it was killed, the next one goes on."""
    path = tmp_path / "x.txt"
    first = ResumableFile(path, "lines", {"seed": 1})
    first.extend(["a\n"])
    code = (
        "from schnetgen_pyg.storage.resumable import ResumableFile\n"
        "import sys, time\n"
        f"file = ResumableFile({str(path)!r}, 'lines', {{'seed': 1}}, overwrite=True)\n"
        "file.extend(['b\\n'])\n"
        "print(file.done, flush=True)\n"
        "time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code]
    second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "InputError" in second.stderr
    assert "x.txt.partial.json: another process is writing there" in second.stderr
    assert first.partial.read_text() == "a\n"
    assert ResumableFile(path, "lines", {"seed": 1}).done == 1  # in one process a cell is run again
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        # The one above has given it free: its file was closed.
        del first
        assert other.stdout.readline() == "1\n"
        with pytest.raises(InputError, match="another process"):
            ResumableFile(path, "lines", {"seed": 1})
        other.kill()
    again = ResumableFile(path, "lines", {"seed": 1})
    assert again.done == 2
