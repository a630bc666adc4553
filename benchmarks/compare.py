"""This checkout against another commit: the same steps and calls in turn, and their ratios.

    python benchmarks/compare.py --base HEAD~1 --rounds 5
    python benchmarks/compare.py --base HEAD~1 --fail-beyond 1.25     # as CI does

Both run in processes of their own and take turns, so that a machine that is faster at one moment
than at another favours neither. Ratios are medians over the rounds of this checkout's time by the
other's: below 1 is faster. What is beyond the limit is measured once more, in new processes and
twice as many rounds, and fails only if it is beyond it again. What the other commit cannot run is
left out, and said; what this one cannot run is a failure. The tasks are in `compare_tasks.py`.

Where there is no such commit before this one (a shallow clone, the first commit, no repository)
there is nothing to compare: that is said, and is no failure.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TASKS = Path(__file__).with_name("compare_tasks.py")


class Side:
    """A checkout, in a process that waits for tasks."""

    def __init__(self, folder: Path):
        environment = os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  (lives as long as the process)
        self.process = subprocess.Popen(
            [sys.executable, str(TASKS)],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )
        self.tasks = self.answer()

    def answer(self) -> Any:
        """The next line as JSON.

        Raises:
            EOFError: with the last words of a process that has ended.
        """
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.errors.seek(0)
            raise EOFError((self.errors.read().splitlines() or ["it ended"])[-1])
        return json.loads(line)

    def run(self, task: str) -> Any:
        """Seconds of a task, or what went wrong."""
        assert self.process.stdin is not None
        print(task, file=self.process.stdin, flush=True)
        return self.answer()

    def close(self) -> None:
        self.process.communicate()  # at the end of its tasks it ends


def measure(base: Path, rounds: int, only: Sequence[str] = ()) -> dict[str, Any]:
    """By task, medians of both and of the ratios of every round, or what ``failed``."""
    here = Side(ROOT)
    try:
        there = Side(base)
    except EOFError as error:
        print(f"the base cannot run, so nothing is compared: {error}")
        here.close()
        return {}
    figures: dict[str, Any] = {}
    for task in only or here.tasks:
        pairs = []
        for turn in range(rounds):
            order = (here, there) if turn % 2 else (there, here)
            seconds = {side: side.run(task) for side in order}
            pairs.append((seconds[here], seconds[there]))
        ours, theirs = zip(*pairs, strict=True)
        wrong = [next((s for s in side if isinstance(s, str)), None) for side in (ours, theirs)]
        if wrong[0]:
            print(f"{task}: failed, {wrong[0]}")
            figures[task] = {"failed": wrong[0]}
        elif wrong[1]:
            print(f"{task}: left out, the base cannot run it ({wrong[1]})")
        else:
            ratio = statistics.median(a / b for a, b in pairs)
            medians = statistics.median(ours), statistics.median(theirs)
            figures[task] = {"seconds": medians[0], "base_seconds": medians[1], "ratio": ratio}
            print(f"{task}: {medians[0]:.4f} s, base {medians[1]:.4f} s, ratio {ratio:.2f}")
    here.close()
    there.close()
    return figures


def git(*arguments: str) -> str:
    """What git says of this checkout; nothing where it fails."""
    command = ["git", "-C", str(ROOT), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """The files of a commit, as long as they are needed."""
    with tempfile.TemporaryDirectory() as folder:
        archive = ["git", "-C", str(ROOT), "archive", commit]
        with subprocess.Popen(archive, stdout=subprocess.PIPE) as process:
            subprocess.run(["tar", "-x", "-C", folder], stdin=process.stdout, check=True)
        if process.returncode:
            raise SystemExit(f"git could not read the files of {commit}")
        yield Path(folder)


def beyond(figures: dict[str, Any], limit: float) -> list[str]:
    return [task for task, row in figures.items() if row.get("ratio", 0.0) > limit]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--base", default="HEAD~1", help="commit to compare with")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--fail-beyond", type=float, help="largest ratio that is no failure")
    parser.add_argument("--results", type=Path, help="folder for compare.json")
    options = parser.parse_args()
    commit = git("rev-parse", "--short", "--verify", "--quiet", f"{options.base}^{{commit}}")
    if not commit:
        print(f"no commit {options.base} here: nothing to compare with")
        return 0 if options.base.startswith("HEAD") else 2
    limit = options.fail_beyond or float("inf")
    with checked_out(commit) as base:
        figures = measure(base, options.rounds)
        if again := beyond(figures, limit):
            print(f"beyond {limit:g}, so once more:")
            figures |= measure(base, 2 * options.rounds, again)
    if options.results:
        from common import save

        compared = {task: row for task, row in figures.items() if "ratio" in row}
        record = {"base": commit, "rounds": options.rounds, "tasks": compared}
        save("compare", record, 0, options.results)
    slower = beyond(figures, limit)
    for task in slower:
        print(f"slower than allowed: {task}, {figures[task]['ratio']:.2f} times", file=sys.stderr)
    return int(bool(slower) or any("failed" in row for row in figures.values()))


if __name__ == "__main__":
    sys.exit(main())
