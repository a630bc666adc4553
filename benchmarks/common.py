"""What every benchmark shares: where results go, what is written with them, and when a row that was
stored serves again."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from schnetgen_pyg.storage.atomic import replacing
from schnetgen_pyg.storage.provenance import provenance

#: What the tables are made of.
RESULTS = Path(__file__).parent / "results"
#: Where a benchmark writes unless it is told otherwise: not over figures that are committed.
NEW_RESULTS = Path("runs/benchmarks")


def commit() -> str:
    """The commit that is measured; ``+`` marks changes that are not in it."""
    if known := os.environ.get("BENCHMARK_COMMIT"):  # where there are files, but no repository
        return known
    folder = Path(__file__).parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", "../schnetgen_pyg", ".", ":!results")
        return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


#: Asked once at the start: what runs is what was there then.
COMMIT = commit()
START = time.perf_counter()


def command_line() -> str:
    """How this process was called; of absolute paths, which mean nothing elsewhere, the names."""
    words = [Path(word).name if Path(word).is_absolute() else word for word in sys.argv]
    return shlex.join(["python", *words])


#: The C library gives large blocks back to the kernel and takes, and faults, them anew at every
#: use. These settings keep them in the process. Ours and the peers are run with and without.
MEMORY_KEPT = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_TOP_PAD_": "268435456",
}


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def run(command: list[str], threads: int = 1, **environment: str) -> Any:
    """What a process prints last, as JSON."""
    variables = os.environ | environment | {"OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, capture_output=True, text=True, env=variables)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def benchmark_parser(description: str | None) -> argparse.ArgumentParser:
    """Of a benchmark with this docstring: its first line, and the option ``--results``."""
    first = (description or "").split("\n")[0]
    made = argparse.ArgumentParser(description=first)
    made.add_argument(
        "--results", type=Path, default=NEW_RESULTS, help=f"folder for the JSON ({NEW_RESULTS})"
    )
    return made


def save(name: str, figures: dict[str, Any], seed: int, folder: Path) -> Path:
    """Write figures to ``NAME.json`` in a folder, with commit, command line, versions, machine,
    seed and the seconds since the benchmark began."""
    path = folder / f"{name}.json"
    record = {"commit": COMMIT, "command": command_line(), "processor": processor(), "seed": seed}
    record |= {"seconds": round(time.perf_counter() - START, 1)} | provenance() | figures
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n")
    print(f"wrote {path}")
    return path


def kept_row(
    path: Path, name: str, asked: dict[str, Any], measure: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """The row of this name in a file of rows, or where it is not there, or of something else, anew.

    Args:
        path: JSON file with rows by their names.
        name: of the row.
        asked: all that decides its figures: settings, amounts, data.
        measure: makes its figures.

    Returns:
        the figures with ``asked``, commit, command line, machine, date and seconds of this row.
    """
    rows: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.is_file() else {}
    wanted = json.loads(json.dumps(asked))  # as it comes back from the file
    if name in rows:
        before = rows[name].get("asked", {})
        changed = sorted(k for k in before | wanted if before.get(k) != wanted.get(k))
        if not changed:
            return rows[name]
        told = [f"{key} was {before.get(key)}, is now {wanted.get(key)}" for key in changed]
        print(f"{name}: measured anew ({'; '.join(told)})", flush=True)
    start = time.perf_counter()
    row = measure()
    rows[name] = now(start) | {"command": command_line(), "processor": processor()}
    rows[name] |= provenance() | {"asked": wanted} | row
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(rows, indent=1))
    return rows[name]


def digest_of(asked: dict[str, Any]) -> str:
    """Eight digits that stand for all that decides a row: of the folder of its training."""
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:8]


def now(start: float) -> dict[str, Any]:
    """What every row of a table has: its commit, and the seconds that measuring it took."""
    return {"commit": COMMIT, "seconds": round(time.perf_counter() - start, 3)}
