"""Two commits are compared, and what got slower fails."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

COMPARE = Path(__file__).parents[2] / "benchmarks" / "compare.py"

#: In place of the true ones: tasks that take what the checkout's own ``pace.py`` says.
TASKS = """
import json, sys
import pace
print(json.dumps(list(pace.SECONDS)), flush=True)
for line in sys.stdin:
    print(json.dumps(pace.SECONDS.get(line.strip(), "KeyError")), flush=True)
"""


@pytest.fixture
def repository(tmp_path):
    """A folder under git, and a function that commits the seconds of its tasks."""

    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True)

    def commit(content):
        (tmp_path / "pace.py").write_text(content)
        git("add", "-A")
        git("commit", "--quiet", "--allow-empty", "-m", "pace")

    (tmp_path / "benchmarks").mkdir()
    shutil.copy(COMPARE, tmp_path / "benchmarks")
    (tmp_path / "benchmarks" / "compare_tasks.py").write_text(TASKS)
    git("init", "--quiet")
    return tmp_path, commit


def compare(folder, *options):
    script = folder / "benchmarks" / "compare.py"
    command = [sys.executable, str(script), "--fail-beyond", "1.25", "--rounds", "3", *options]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_what_got_slower_is_measured_again_and_fails(repository):
    folder, commit = repository
    commit("SECONDS = {'step': 1.0, 'call': 1.0}")
    commit("SECONDS = {'step': 1.2, 'call': 1.3}")
    status, told = compare(folder)
    assert status == 1
    assert "once more" in told
    assert "slower than allowed: call, 1.30 times" in told
    assert "slower than allowed: step" not in told
    commit("SECONDS = {'step': 1.2, 'call': 1.3}")
    assert compare(folder)[0] == 0


def test_a_slow_moment_is_no_failure(repository):
    folder, commit = repository
    commit("SECONDS = {'call': 1.0}")
    # Slow in the first process of this checkout, as where something else runs beside it.
    commit(
        "from pathlib import Path\n"
        "first = not Path('been').exists() and Path('.git').exists()\n"
        "Path('been').touch()\n"
        "SECONDS = {'call': 2.0 if first else 1.0}"
    )
    status, told = compare(folder)
    assert status == 0, told
    assert "once more" in told


def test_nothing_to_compare_with(repository, tmp_path):
    folder, commit = repository
    commit("SECONDS = {'call': 1.0}")
    status, told = compare(folder)
    assert status == 0
    assert "no commit HEAD~1 here" in told
    commit("SECONDS = {'call': 9.0}")
    shallow = tmp_path / "shallow"
    clone = ["git", "clone", "--quiet", "--depth", "1", f"file://{folder}", str(shallow)]
    subprocess.run(clone, check=True)
    assert compare(shallow)[0] == 0
    assert compare(folder, "--base", "no-such-branch")[0] == 2


def test_what_one_side_cannot_run(repository):
    folder, commit = repository
    commit("raise ImportError('an older world')")
    commit("SECONDS = {'call': 1.0}")
    status, told = compare(folder)
    assert status == 0
    assert "the base cannot run, so nothing is compared: ImportError: an older world" in told
    commit("SECONDS = {'call': 1.0, 'new': 1.0}")
    status, told = compare(folder)
    assert status == 0
    assert "new: left out, the base cannot run it (KeyError)" in told
    commit("SECONDS = {'call': 1.0, 'new': 'TypeError'}")
    status, told = compare(folder)
    assert status == 1
    assert "new: failed, TypeError" in told
