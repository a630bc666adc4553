"""What every benchmark shares: where results go and what is written with them."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
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
    """Write figures with commit, versions, machine and seed to ``NAME.json`` in a folder."""
    path = folder / f"{name}.json"
    record = {"commit": COMMIT, "processor": processor(), "seed": seed} | provenance() | figures
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n")
    print(f"wrote {path}")
    return path
